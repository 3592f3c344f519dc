"""Concurrency groups: who is under way in each, who queues, and who may begin.

Slots are not stored. A run is under way in its group while it is live, not `queued` and not `held`; that
follows from the run itself, so a run that ended cannot hold a slot. (A child that has done its steps and
waits for its parent is held. It gives its slot up, else a parent could not run two such children one after
another; should it be undone later it does not ask for the slot again, since an undo must never wait.)

A queue goes by priority (higher first), then by age, and nobody is passed over: while its first run has no
room, none behind it begins, and neither does a new run of no higher priority.

`Groups` is what is committed. A batch decides on a `GroupsInBatch` of its own, which is thrown away should
the batch fail.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from orchestrator.core.definition import ConcurrencyDef, Definition
from orchestrator.core.expressions import ExpressionError
from orchestrator.core.inputs import CancelRun, Signal
from orchestrator.core.model import Run, RunHead
from orchestrator.core.scope import head_scope
from orchestrator.starting.circles import stuck
from orchestrator.store.starting import GroupMember
from schemas.errors import BatonError, Conflict, InvalidInput
from schemas.workflow import MAX_PRIORITY

__all__ = ["MAX_GROUP", "GroupBusy", "GroupCircle", "GroupDeadlock", "Groups", "GroupsInBatch", "group_of"]

MAX_GROUP = 512
"""Longest name of a group, in characters."""

Place = Literal["active", "queued"]


class GroupBusy(Conflict):
    """The group has no room, and the workflow says `reject`; `details` has the ids of who is in it."""

    code = "group_busy"


class GroupDeadlock(BatonError):
    """A run above this one is in the group, and would wait for itself."""

    code = "group_deadlock"


class GroupCircle(GroupDeadlock):
    """The groups of the runs above this one, and its own, would wait for each other."""

    code = "group_circle"


class _Seat(Struct, frozen=True):
    """A live run in a group; `version` is what says how many may be in it.

    `above`: the runs in groups that wait for it, of a child that queues.
    """

    group: str
    place: Place
    priority: int
    version: str
    above: tuple[str, ...] = ()


@dataclass(slots=True)
class _Group:
    """Who is under way, and who queues: by priority, in the order in which they came."""

    active: dict[str, None] = field(default_factory=dict)
    queues: dict[int, dict[str, str]] = field(default_factory=dict)

    def queue(self) -> Iterator[tuple[str, str]]:
        """Those that queue, who is first first, as (run id, version)."""
        for priority in sorted(self.queues, reverse=True):
            yield from self.queues[priority].items()


class Groups:
    """The live runs of every group, as committed. `limit_of` gives the limit of a definition's version."""

    def __init__(self, limit_of: Callable[[str], int]) -> None:
        self.limit_of = limit_of
        self._seats: dict[str, _Seat] = {}
        self._groups: dict[str, _Group] = {}
        self._touched: set[str] = set()
        self._awaited: dict[str, Counter[str]] = {}
        """By run the groups that children of it queue for, and how many of them."""
        self.queued = 0

    def load(self, members: Iterable[GroupMember]) -> None:
        """Take up what the database holds, oldest run first."""
        for one in members:
            self._set(one.run_id, _Seat(one.group, _place(one.queued), one.priority, one.version, one.above))

    def begin(self) -> "GroupsInBatch":
        """What a batch decides on."""
        return GroupsInBatch(self)

    def commit(self, batch: "GroupsInBatch") -> None:
        """The batch was committed: what it changed is so."""
        for run_id, seat in batch.changes.items():
            self._set(run_id, seat)

    def admissible(self) -> list[str]:
        """The queued runs that have room now, of the groups that changed since this was asked last."""
        names, self._touched = self._touched, set()
        return [run_id for name in sorted(names) for run_id in self._with_room(name)]

    def look_again(self) -> None:
        """Let `admissible` look at every group that has a queue."""
        self._touched.update(name for name, group in self._groups.items() if group.queues)

    def seat(self, run_id: str) -> _Seat | None:
        """Where a run is in its group; None for one that has ended, is held, or is in none."""
        return self._seats.get(run_id)

    def busy(self, name: str) -> int:
        """How many runs are under way in a group."""
        group = self._groups.get(name)
        return 0 if group is None else len(group.active)

    def waiting(self, name: str, priority: int) -> int:
        """How many runs of one priority queue for a group."""
        group = self._groups.get(name)
        return 0 if group is None else len(group.queues.get(priority, ()))

    def members(self, name: str) -> tuple[list[str], list[str]]:
        """Ids of the runs that are under way in a group, and of those that queue for it, in order."""
        group = self._groups.get(name)
        return ([], []) if group is None else (list(group.active), [run_id for run_id, _ in group.queue()])

    def active(self, name: str) -> Iterable[str]:
        """Ids of the runs that are under way in a group."""
        group = self._groups.get(name)
        return () if group is None else group.active

    def awaited(self, run_id: str) -> Counter[str]:
        """The groups that children of a run queue for, and how many of them."""
        return self._awaited.get(run_id, Counter())

    def queue(self, name: str) -> Iterator[tuple[str, str]]:
        """Those that queue for a group, who is first first, as (run id, version)."""
        group = self._groups.get(name)
        return iter(()) if group is None else group.queue()

    def has_room(self, name: str) -> bool:
        """Whether the first run that queues for a group may begin."""
        return next(self._with_room(name), None) is not None

    def stranded(self) -> list[str]:
        """Ids of the runs that queue for groups that wait for each other; any is an alarm."""
        groups = stuck({name for awaited in self._awaited.values() for name in awaited}, self)
        return [run_id for name in sorted(groups) for run_id in self.members(name)[1]]

    def _with_room(self, name: str) -> Iterator[str]:
        group = self._groups.get(name)
        if group is None:
            return
        busy = len(group.active)
        for run_id, version in group.queue():
            if busy >= self.limit_of(version):
                return
            busy += 1
            yield run_id

    def _set(self, run_id: str, seat: _Seat | None) -> None:
        """Move a run to its seat, or out of its group. Who only gets another version keeps its place."""
        was = self._seats.pop(run_id, None)
        if was is not None and (seat is None or replace(was, version=seat.version) != seat):
            self._leave(run_id, was)
        if seat is None:
            return
        self._seats[run_id] = seat
        self._touched.add(seat.group)
        group = self._groups.setdefault(seat.group, _Group())
        if seat.place == "active":
            group.active[run_id] = None
        else:
            queue = group.queues.setdefault(seat.priority, {})
            if run_id not in queue:
                self.queued += 1
                self._count_awaited(seat, 1)
            queue[run_id] = seat.version

    def _leave(self, run_id: str, seat: _Seat) -> None:
        group = self._groups[seat.group]
        self._touched.add(seat.group)
        if seat.place == "active":
            del group.active[run_id]
        else:
            self.queued -= 1
            self._count_awaited(seat, -1)
            del group.queues[seat.priority][run_id]
            if not group.queues[seat.priority]:
                del group.queues[seat.priority]
        if not group.active and not group.queues:
            del self._groups[seat.group]

    def _count_awaited(self, seat: _Seat, by: int) -> None:
        for run_id in seat.above:
            awaited = self._awaited.setdefault(run_id, Counter())
            awaited[seat.group] += by
            if not awaited[seat.group]:
                del awaited[seat.group]
            if not awaited:
                del self._awaited[run_id]


class GroupsInBatch:
    """The groups as they are on top of what was decided in this batch so far."""

    def __init__(self, base: Groups) -> None:
        self._base = base
        self.changes: dict[str, _Seat | None] = {}
        self._active: Counter[str] = Counter()
        self._queued: Counter[tuple[str, int]] = Counter()

    def note(self, run: Run) -> None:
        """A run of a group has started or changed."""
        seat, was = _seat_of(run), self._seat(run.head.id)
        if seat == was:
            return
        self._count(was, -1)
        self._count(seat, 1)
        self.changes[run.head.id] = seat

    def must_queue(self, head: RunHead, limits: ConcurrencyDef) -> bool:
        """Whether a new run has to wait.

        Raises `GroupDeadlock` when a run above it is in the group, `GroupCircle` when those above it hold
        what the group's runs wait for, and `GroupBusy` when the workflow wants no second run, not a queue.
        """
        name = head.group
        if head.parent is not None and name in head.parent.groups:
            raise GroupDeadlock(
                f"concurrency group '{name}' is held by a run above this one, which would wait for it",
                hint="give the child workflow another group than its parent's",
            )
        if self.busy(name) < limits.limit and not self._is_behind(name, head.priority):
            return False
        if limits.on_conflict == "reject":
            ids = self.members(name)
            raise GroupBusy(
                f"concurrency group '{name}' has no room: {', '.join(ids[:3])}{' …' if ids[3:] else ''}",
                hint="wait for them, cancel them, or let the workflow queue its runs",
                details={"group": name, "runs": ids[:100]},
            )
        if limits.on_conflict == "queue":  # who replaces the others has room once they have ended
            self._check_circle(head)
        return True

    def _check_circle(self, head: RunHead) -> None:
        """Raise `GroupCircle` when the run would queue for ever."""
        if head.parent is None or not head.parent.holders:
            return
        with_it = GroupsInBatch(self._base)
        with_it._active = self._active
        seat = _Seat(head.group, "queued", head.priority, head.version, head.parent.holders)
        with_it.changes = {**self.changes, head.id: seat}
        circle = stuck([head.group], with_it)
        if head.group in circle:
            names = ", ".join(f"'{name}'" for name in sorted(circle)[:5])
            raise GroupCircle(
                f"concurrency groups {names} would wait for each other: the runs in '{head.group}' wait for "
                "what the runs above this one hold",
                hint="let the parents be in one group, or the children in groups of their own",
            )

    def replaced_by(self, head: RunHead) -> list[Signal]:
        """What cancels everybody in a new run's group, for whom that takes the place of all."""
        given = CancelRun(
            who=f"run {head.id}", reason=f"run {head.id} takes its place in concurrency group '{head.group}'"
        )
        return [Signal(run_id, given) for run_id in self.members(head.group)]

    def may_begin(self, run_id: str) -> bool:
        """Whether a queued run, which `Groups.admissible` named, still queues and still has room."""
        seat = self._seat(run_id)
        if seat is None or seat.place != "queued":
            return False
        return self.busy(seat.group) < self._base.limit_of(seat.version)

    def busy(self, name: str) -> int:
        """How many runs are under way in a group."""
        return self._base.busy(name) + self._active[name]

    def active(self, name: str) -> Iterator[str]:
        """Ids of the runs that are under way in a group."""
        for run_id in self._base.active(name):
            if run_id not in self.changes:
                yield run_id
        for run_id, seat in self.changes.items():
            if seat is not None and seat.group == name and seat.place == "active":
                yield run_id

    def awaited(self, run_id: str) -> Counter[str]:
        """The groups that children of a run queue for, and how many of them."""
        awaited = Counter(self._base.awaited(run_id))
        for changed, seat in self.changes.items():
            was = self._base.seat(changed)
            for one, by in ((was, -1), (seat, 1)):
                if one is not None and one.place == "queued" and run_id in one.above:
                    awaited[one.group] += by
        return +awaited

    def has_room(self, name: str) -> bool:
        """Whether the first run that queues for a group may begin."""
        first: tuple[int, str] | None = None
        for run_id, version in self._base.queue(name):
            seat = self._base.seat(run_id)
            if seat is not None and run_id not in self.changes:
                first = (seat.priority, version)
                break
        for seat in self.changes.values():
            if seat is not None and (seat.group, seat.place) == (name, "queued"):
                first = max(first or (-1, ""), (seat.priority, seat.version), key=itemgetter(0))
        return first is not None and self.busy(name) < self._base.limit_of(first[1])

    def members(self, name: str) -> list[str]:
        """Ids of the runs that are under way in a group or queue for it, those under way first."""
        active, queued = (
            [run_id for run_id in ids if run_id not in self.changes] for ids in self._base.members(name)
        )
        for run_id, seat in self.changes.items():
            if seat is not None and seat.group == name:
                (active if seat.place == "active" else queued).append(run_id)
        return active + queued

    def _is_behind(self, name: str, priority: int) -> bool:
        """Whether somebody queues whom a new run of this priority must not overtake."""
        return any(
            self._base.waiting(name, level) + self._queued[name, level] > 0
            for level in range(priority, MAX_PRIORITY + 1)
        )

    def _seat(self, run_id: str) -> _Seat | None:
        return self.changes[run_id] if run_id in self.changes else self._base.seat(run_id)

    def _count(self, seat: _Seat | None, by: int) -> None:
        if seat is None:
            return
        if seat.place == "active":
            self._active[seat.group] += by
        else:
            self._queued[seat.group, seat.priority] += by


def group_of(definition: Definition, head: RunHead) -> str:
    """The name of a new run's group; empty for none. Raises `InvalidInput` when the template gives none."""
    if definition.concurrency is None:
        return ""
    try:
        name: Any = definition.concurrency.group.render(head_scope(head, head.version))
    except ExpressionError as error:
        raise InvalidInput(
            f"concurrency.group: {error.message}", code=error.code, hint="correct the workflow or the input"
        ) from None
    if isinstance(name, int) and not isinstance(name, bool):
        name = str(name)
    if not isinstance(name, str) or not 0 < len(name) <= MAX_GROUP:
        raise InvalidInput(
            f"concurrency.group: gives no text of 1 to {MAX_GROUP} characters",
            code="bad_group",
            hint="correct the workflow or the input",
        )
    return name


def _place(queued: bool) -> Place:  # noqa: FBT001 - the database says it so
    return "queued" if queued else "active"


def _seat_of(run: Run) -> _Seat | None:
    if run.ended is not None or run.held:
        return None
    parent = run.head.parent
    above = parent.holders if run.queued and parent is not None else ()
    return _Seat(run.head.group, _place(run.queued), run.head.priority, run.version, above)

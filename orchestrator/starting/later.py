"""When runs start, other than at once: room in a group, a schedule's time, the end of a debounce.

`Starting` is what is committed of it, with what the loop has to look at and when. `StartingInBatch` is what a
batch decides on; it is thrown away should the batch fail.
"""

from typing import Final

from orchestrator.core.definition import ConcurrencyDef
from orchestrator.definitions import Definitions
from orchestrator.starting.due import AdmitQueued, DebounceDue, PlanSchedules, ScheduleDue
from orchestrator.starting.groups import Groups
from orchestrator.starting.pacing import LoadedPace, Pace
from orchestrator.starting.schedules import Schedules, SchedulesInBatch, schedule_event
from orchestrator.store.starting import StartingChanges, StartingStore
from schemas.times import Micros

__all__ = ["Due", "Starting", "StartingInBatch"]

FAULT_PAUSE: Micros = 10_000_000
NO_LIMIT = 2**31
"""For a queued run that was moved to a version without a group."""


Due = AdmitQueued | ScheduleDue | DebounceDue | PlanSchedules

FOR_EVER: Final[Micros] = 2**62
MAX_SET_BACK: Final = 1_000
"""How many debounced events are looked at when the clock has been set back."""


class StartingInBatch:
    """Groups, schedules, debounces and throttles on top of what was decided in this batch so far."""

    def __init__(
        self,
        groups: Groups | None = None,
        schedules: Schedules | None = None,
        pace: LoadedPace | None = None,
    ) -> None:
        self.changes = StartingChanges()
        self.groups = (Groups(lambda _: NO_LIMIT) if groups is None else groups).begin()
        self.schedules = SchedulesInBatch((Schedules() if schedules is None else schedules).of, self.changes)
        self.pace = Pace(LoadedPace() if pace is None else pace, self.changes)


class Starting:
    """What decides when runs start, for the coordinator's loop. `load` before anything else."""

    def __init__(self, store: StartingStore, definitions: Definitions, namespace: str) -> None:
        self._store = store
        self._definitions = definitions
        self._namespace = namespace
        self.groups = Groups(self._limit_of)
        self._schedules = Schedules()
        self._next_debounced: Micros | None = None
        self._not_before: Micros = 0
        self._seen: Micros = FOR_EVER
        """The time when this was asked last; at first any, as the clock may have been set back meanwhile."""

    async def load(self, now: Micros) -> list[Due]:
        """Take up what the database holds; returns what is to be looked at first."""
        members = await self._store.group_members()
        await self._definitions.ensure(one.version for one in members if one.queued)
        known = self._definitions.by_version
        self.groups.load(one for one in members if not one.queued or one.version in known)
        self._schedules.load(await self._store.schedules())
        self._next_debounced = await self._store.next_debounced()
        return self.look_again(now)

    def look_again(self, now: Micros) -> list[Due]:
        """Look at everything anew: who has room, and whether the clock has been set back."""
        self.groups.look_again()
        plans = self._schedules.out_of_step(self._definitions.current.values(), now)
        return [*self._admit(), *(PlanSchedules(definition.name) for definition in plans)]

    def next_at(self, *, has_room: bool) -> Micros | None:
        """When something is due next. Debounced events are not while there is no room for new runs."""
        times = [self._schedules.next_at]
        if has_room:
            times.append(self._next_debounced)
        at = min((at for at in times if at is not None), default=None)
        return at if at is None else max(at, self._not_before)

    async def due(self, now: Micros, room: int) -> list[Due]:
        """What is due: every schedule, and at most `room` debounced events."""
        if now < self._not_before <= now + FAULT_PAUSE:
            return []
        found: list[Due] = [
            ScheduleDue(one, schedule_event(one, self._namespace)) for one in self._schedules.due(now)
        ]
        set_back, self._seen = now < self._seen, now
        if set_back and self._next_debounced is not None:
            # Their time may be far ahead now; that they were first seen in the future shows which these are.
            waiting = await self._store.due_debounced(FOR_EVER, MAX_SET_BACK)
            return [*found, *(DebounceDue(one) for one in waiting if one.first_at > now)]
        if room > 0 and self._next_debounced is not None and self._next_debounced <= now:
            waiting = await self._store.due_debounced(now, room)
            found += [DebounceDue(one) for one in waiting]
            if not waiting:
                self._next_debounced = await self._store.next_debounced()
        return found

    def put_off(self, now: Micros) -> None:
        """What is due could not be done, by a fault of ours: look at nothing for a while."""
        self._not_before = now + FAULT_PAUSE

    def begin(self, loaded: LoadedPace) -> StartingInBatch:
        """What a batch decides on."""
        return StartingInBatch(self.groups, self._schedules, loaded)

    async def committed(self, batch: StartingInBatch) -> list[Due]:
        """The batch was committed: what it changed is so; returns what is to be looked at because of it."""
        self.groups.commit(batch.groups)
        self._schedules.commit(batch.changes.schedules)
        changes = batch.changes.debounced
        if None in changes.values():
            self._next_debounced = await self._store.next_debounced()
        else:
            times = [one.due_at for one in changes.values() if one is not None]
            known = [] if self._next_debounced is None else [self._next_debounced]
            self._next_debounced = min((*times, *known), default=None)
        return self._admit()

    def _admit(self) -> list[Due]:
        return [AdmitQueued(run_id) for run_id in self.groups.admissible()]

    def _limit_of(self, version: str) -> int:
        """How many runs a version lets its group have; none if it cannot be read."""
        definition = self._definitions.by_version.get(version)
        if definition is None:
            return 0
        limits: ConcurrencyDef | None = definition.concurrency
        return NO_LIMIT if limits is None else limits.limit

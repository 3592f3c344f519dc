"""What the store keeps about when runs start: groups, schedules, debounces and throttles.

Part of the port (`orchestrator.store.port`), whose contract holds here too.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from msgspec import Struct

from schemas.events import Event
from schemas.times import Micros

__all__ = [
    "DebouncedEvent",
    "GroupMember",
    "PaceKey",
    "StartingChanges",
    "StartingStore",
    "StoredSchedule",
    "ThrottledStart",
]

PaceKey = tuple[str, int, str]
"""What events are debounced and throttled by: (workflow, number of the trigger, key)."""


class GroupMember(Struct, frozen=True):
    """A live run of a concurrency group. `version`: the definition that it keeps to.

    `above`: the runs in groups that wait for it, of a child that queues (`ParentRef.holders`).
    """

    run_id: str
    group: str
    queued: bool
    priority: int
    version: str
    above: tuple[str, ...] = ()


class StoredSchedule(Struct, frozen=True):
    """A schedule trigger, by its number (from 1) among the workflow's triggers, and when it is due next."""

    workflow: str
    number: int
    cron: str
    timezone: str
    next_at: Micros


class DebouncedEvent(Struct, frozen=True):
    """The last event of a debounce, with the input that the trigger made of it, until it is due.

    `first_at`: when the first of the events came whose place it took.
    """

    workflow: str
    number: int
    key: str
    first_at: Micros
    due_at: Micros
    input: Any
    event: Event
    traceparent: str

    @property
    def pace_key(self) -> PaceKey:
        """The debounce that it is in, which has one event."""
        return (self.workflow, self.number, self.key)


class ThrottledStart(Struct, frozen=True):
    """A run that a throttled trigger started, which counts until `expires_at`."""

    workflow: str
    number: int
    key: str
    expires_at: Micros


@dataclass(slots=True)
class StartingChanges:
    """The part of a batch that is about when runs start."""

    schedules: dict[str, Sequence[StoredSchedule]] = field(default_factory=dict)
    """All schedules of a workflow, in place of those it had."""
    debounced: dict[PaceKey, DebouncedEvent | None] = field(default_factory=dict)
    """The event of a debounce from now on; None: there is none."""
    starts: list[ThrottledStart] = field(default_factory=list)

    def __bool__(self) -> bool:
        """Whether there is anything to write."""
        return bool(self.schedules or self.debounced or self.starts)


class StartingStore(Protocol):
    """The part of the store that is about when runs start."""

    async def group_members(self) -> list[GroupMember]:
        """Every live run of a concurrency group, oldest first; without those that wait for their parent."""

    async def schedules(self) -> list[StoredSchedule]:
        """Every schedule."""

    async def debounced_events(self, keys: Iterable[PaceKey]) -> list[DebouncedEvent]:
        """The events of these debounces."""

    async def due_debounced(self, now: Micros, limit: int) -> list[DebouncedEvent]:
        """The debounced events that are due, soonest first, at most `limit`."""

    async def next_debounced(self) -> Micros | None:
        """When the first debounced event is due."""

    async def throttled_starts(
        self, keys: Iterable[tuple[PaceKey, Micros]], now: Micros
    ) -> dict[PaceKey, int]:
        """How many starts count for these keys, each with the length of time that its throttle looks at."""

    async def prune_starts(self, now: Micros, limit: int) -> int:
        """Forget starts that count no longer, at most `limit`; return how many."""

"""Debounce and throttle: events that a trigger does not let start a run at once, or at all.

Both count per (workflow, trigger, key). Of events in quick succession the last one counts: what it asks for
is stored until it is due, and each further event takes its place. A throttle remembers each run that it let
start for as long as that counts.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from orchestrator.core.definition import DebounceDef, Definition, ThrottleDef, TriggerDef
from orchestrator.starting.triggers import Wanted
from orchestrator.store.starting import (
    DebouncedEvent,
    PaceKey,
    StartingChanges,
    StartingStore,
    ThrottledStart,
)
from schemas.events import Event
from schemas.times import Micros

__all__ = ["LoadedPace", "Pace", "load_pace", "pace_key", "trigger_of"]


@dataclass(slots=True)
class LoadedPace:
    """What the store has for the keys that a batch is about: debounced events, and starts that count."""

    debounced: dict[PaceKey, DebouncedEvent] = field(default_factory=dict)
    starts: dict[PaceKey, int] = field(default_factory=dict)


class Pace:
    """Debounces and throttles on top of what was decided in this batch so far; changes go to `changes`."""

    def __init__(self, loaded: LoadedPace, changes: StartingChanges) -> None:
        self._debounced = dict(loaded.debounced)
        self._starts = Counter(loaded.starts)
        self._changes = changes

    def hold(
        self, want: Wanted, how: DebounceDef, event: Event, traceparent: str, now: Micros
    ) -> DebouncedEvent:
        """Let an event wait, in the place of the one that waited before."""
        key = pace_key(want)
        before = self._debounced.get(key)
        first_at = now if before is None else before.first_at
        due_at = now + how.wait
        if how.longest is not None:
            due_at = min(due_at, first_at + how.longest)
        one = DebouncedEvent(*key, first_at, due_at, want.input, event, traceparent)
        self._set(key, one)
        return one

    def take(self, one: DebouncedEvent) -> bool:
        """Take an event out of its wait; False if it does not wait any more."""
        if self._debounced.get(one.pace_key) != one:
            return False
        self._set(one.pace_key, None)
        return True

    def has_room(self, key: PaceKey, throttle: ThrottleDef) -> bool:
        """Whether a throttle lets one more run start."""
        return self._starts[key] < throttle.limit

    def count(self, key: PaceKey, throttle: ThrottleDef, now: Micros) -> None:
        """A run has started that a throttle counts."""
        self._starts[key] += 1
        self._changes.starts.append(ThrottledStart(*key, now + throttle.per))

    def _set(self, key: PaceKey, one: DebouncedEvent | None) -> None:
        self._changes.debounced[key] = one
        if one is None:
            self._debounced.pop(key, None)
        else:
            self._debounced[key] = one


def pace_key(want: Wanted) -> PaceKey:
    """What the events of a trigger are counted by."""
    return (want.definition.name, want.number, want.key)


def trigger_of(definition: Definition, number: int) -> TriggerDef | None:
    """A definition's trigger by its number (from 1); None if it has no such trigger."""
    return definition.triggers[number - 1] if 0 < number <= len(definition.triggers) else None


async def load_pace(store: StartingStore, wants: Iterable[Wanted], now: Micros) -> LoadedPace:
    """What the store has for what events ask for; nothing, and no query, for triggers without pace."""
    debounced: set[PaceKey] = set()
    throttled: set[tuple[PaceKey, Micros]] = set()
    for want in wants:
        trigger = trigger_of(want.definition, want.number)
        if trigger is not None and trigger.debounce is not None:
            debounced.add(pace_key(want))
        if trigger is not None and trigger.throttle is not None:
            throttled.add((pace_key(want), trigger.throttle.per))
    loaded = LoadedPace()
    if debounced:
        loaded.debounced = {one.pace_key: one for one in await store.debounced_events(debounced)}
    if throttled:
        loaded.starts = await store.throttled_starts(throttled, now)
    return loaded

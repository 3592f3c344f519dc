"""Debounce and throttle of a trigger's events, by key."""

from typing import Any, cast

from orchestrator.core.definition import DebounceDef, Definition, ThrottleDef
from orchestrator.document import read_workflow
from orchestrator.starting.pacing import LoadedPace, Pace, load_pace, pace_key, trigger_of
from orchestrator.starting.triggers import Wanted
from orchestrator.store.starting import DebouncedEvent, PaceKey, StartingChanges, StartingStore
from schemas.events import Event, new_event

NOW = 1_700_000_000_000_000
SECOND = 1_000_000


def workflow(*triggers: str) -> Definition:
    """A workflow with these triggers."""
    text = f"workflow: w\ntriggers: [{', '.join(triggers)}]\nsteps: [{{id: a, action: x.y, target: h}}]\n"
    return read_workflow(text.encode(), "test.yaml")


DEBOUNCED = "{event: a.b, debounce: {wait: 10s, max: 25s}}"
THROTTLED = "{event: a.c, throttle: {limit: 2, per: 1m}}"
PLAIN = "{event: a.d}"


def want(number: int = 1, key: str = "k", value: Any = None) -> Wanted:
    """What an event asks for by one of the three triggers."""
    return Wanted(workflow(DEBOUNCED, THROTTLED, PLAIN), key, {"value": value}, number)


def event(event_id: str) -> Event:
    """An event."""
    return new_event(id=event_id, source="/s", type="a.b", at=NOW)


def batch(loaded: LoadedPace | None = None) -> tuple[Pace, StartingChanges]:
    """A batch, and what it changes."""
    changes = StartingChanges()
    return Pace(LoadedPace() if loaded is None else loaded, changes), changes


def hold(pace: Pace, event_id: str, seconds: float, key: str = "k", how: DebounceDef | None = None) -> float:
    """An event comes so many seconds after the first; returns when it is due, likewise."""
    how = DebounceDef(10 * SECOND, 25 * SECOND) if how is None else how
    one = pace.hold(want(key=key, value=event_id), how, event(event_id), "", int(NOW + seconds * SECOND))
    return (one.due_at - NOW) / SECOND


def test_the_last_event_counts_and_each_puts_the_start_off() -> None:
    """`wait` after the last one, with the last one's input."""
    pace, changes = batch()
    assert hold(pace, "1", 0) == 10
    assert hold(pace, "2", 9) == 19
    (one,) = changes.debounced.values()
    assert one is not None
    assert (one.event.id, one.input, one.first_at) == ("2", {"value": "2"}, NOW)


def test_at_the_latest_max_after_the_first() -> None:
    """However fast they come. Without `max` there is no latest."""
    pace, _ = batch()
    assert [hold(pace, str(n), n * 8) for n in range(4)] == [10, 18, 25, 25]
    pace, _ = batch()
    endless = DebounceDef(10 * SECOND, None)
    assert [hold(pace, str(n), n * 8, how=endless) for n in range(4)] == [10, 18, 26, 34]


def test_keys_wait_by_themselves() -> None:
    """An event of one key does not put off another's."""
    pace, changes = batch()
    hold(pace, "1", 0, key="a")
    hold(pace, "2", 5, key="b")
    assert [one.due_at for one in changes.debounced.values() if one] == [NOW + 10 * SECOND, NOW + 15 * SECOND]


def test_what_was_stored_goes_on_waiting() -> None:
    """A later batch knows the first one's time."""
    pace, changes = batch()
    hold(pace, "1", 0)
    stored = {key: one for key, one in changes.debounced.items() if one is not None}
    pace, _ = batch(LoadedPace(debounced=stored))
    assert hold(pace, "2", 20) == 25


def test_an_event_is_taken_once() -> None:
    """And not at all if another one has taken its place."""
    pace, changes = batch()
    hold(pace, "1", 0)
    (first,) = changes.debounced.values()
    hold(pace, "2", 1)
    (second,) = changes.debounced.values()
    assert first is not None
    assert second is not None
    assert not pace.take(first)
    assert pace.take(second)
    assert not pace.take(second)
    assert changes.debounced == {second.pace_key: None}
    assert hold(pace, "3", 90) == 100, "it is the first one again"


def test_a_throttle_counts_starts_by_key() -> None:
    """Those that were stored and those of this batch."""
    key, other, throttle = ("w", 2, "k"), ("w", 2, "other"), ThrottleDef(2, 60 * SECOND)
    pace, changes = batch(LoadedPace(starts={key: 1}))
    assert pace.has_room(key, throttle)
    pace.count(key, throttle, NOW)
    assert not pace.has_room(key, throttle)
    assert pace.has_room(other, throttle)
    assert [one.expires_at for one in changes.starts] == [NOW + 60 * SECOND]


async def test_only_what_is_paced_is_looked_up() -> None:
    """A trigger without debounce and throttle costs no query."""
    asked: list[object] = []

    class Asked:
        async def debounced_events(self, keys: set[PaceKey]) -> list[DebouncedEvent]:
            asked.append(keys)
            return []

        async def throttled_starts(self, keys: set[Any], now: int) -> dict[PaceKey, int]:
            asked.append((keys, now))
            return {("w", 2, "k"): 1}

    store = cast(StartingStore, Asked())
    assert await load_pace(store, [want(3), want(0)], NOW) == LoadedPace()
    assert asked == []
    loaded = await load_pace(store, [want(1), want(2), want(3)], NOW)
    assert asked == [{pace_key(want(1))}, ({(("w", 2, "k"), 60 * SECOND)}, NOW)]
    assert loaded.starts == {("w", 2, "k"): 1}


def test_triggers_by_number() -> None:
    """Counted from 1; there is none beyond the last."""
    definition = workflow(DEBOUNCED, PLAIN)
    assert [trigger_of(definition, number) for number in range(4)] == [None, *definition.triggers, None]

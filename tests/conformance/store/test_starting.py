"""What every store must do for groups, schedules, debounces and throttles (`orchestrator.store.starting`)."""

from msgspec.structs import replace

from orchestrator.core.facts import RunEnded, RunHeld, RunQueued, RunStarted
from orchestrator.core.model import Run, RunStatus
from orchestrator.store.port import Batch, InboxRecord, Reader, Store
from orchestrator.store.starting import (
    DebouncedEvent,
    GroupMember,
    StartingChanges,
    StoredSchedule,
    ThrottledStart,
)
from schemas.events import new_event
from tests.support.sagas import NOW, Saga, head


def grouped(run_id: str, group: str, priority: int = 5) -> Saga:
    """A run in a group, of which nothing has happened yet."""
    saga = Saga(run_id)
    saga.run = Run(head=replace(head(run_id), group=group, priority=priority), steps={})
    return saga


def queue(saga: Saga, batch: Batch) -> None:
    """The run waits for room in its group."""
    saga.add(batch, RunQueued(at=NOW, group=saga.run.head.group))
    batch.started.append(saga.run)


def debounced(key: str, due_at: int, data: object = None, event_id: str = "1") -> DebouncedEvent:
    """A debounced event."""
    event = new_event(id=event_id, source="/shop", type="a.b", at=NOW, data={"x": data})
    return DebouncedEvent("ship", 1, key, NOW, due_at, {"x": data}, event, "00-ab-cd-01")


async def test_the_members_of_groups(store: Store) -> None:
    """Live runs that are in a group, oldest first: not those that have ended, and not those in no group."""
    running, queued, ended, other = grouped("r1", "g"), grouped("r2", "g", 9), grouped("r3", "h"), Saga("r4")
    batch = Batch()
    for saga in (running, ended, other):
        saga.start(batch)
    queue(queued, batch)
    await store.commit(batch)
    batch = Batch()
    ended.end(batch)
    await store.commit(batch)
    assert await store.group_members() == [
        GroupMember("r1", "g", queued=False, priority=5, version="v1"),
        GroupMember("r2", "g", queued=True, priority=9, version="v1"),
    ]
    batch = Batch()
    queued.add(batch, RunStarted(at=NOW, steps=["one"]))
    running.add(batch, RunEnded(at=NOW, status=RunStatus.CANCELLED))
    await store.commit(batch)
    assert await store.group_members() == [GroupMember("r2", "g", queued=False, priority=9, version="v1")]


async def test_a_run_that_waits_for_its_parent_is_no_member(store: Store) -> None:
    """It has done its steps; who waits for the slot may have it."""
    saga, batch = grouped("r1", "g"), Batch()
    saga.start(batch)
    saga.add(batch, RunHeld(at=NOW))
    await store.commit(batch)
    assert await store.group_members() == []


async def test_schedules_of_a_workflow_are_replaced_as_a_whole(store: Store) -> None:
    """What is written is all that the workflow has; others keep theirs."""
    first = StoredSchedule("a", 1, "0 * * * *", "UTC", NOW + 1)
    second, other = (
        StoredSchedule("a", 3, "5 4 * * *", "Europe/Berlin", NOW),
        StoredSchedule("b", 1, "", "", 7),
    )
    changes = StartingChanges(schedules={"a": (first, second), "b": (other,)})
    assert Batch(starting=changes)
    await store.commit(Batch(starting=changes))
    assert await store.schedules() == [first, second, other]
    moved = replace(second, next_at=NOW + 99)
    await store.commit(Batch(starting=StartingChanges(schedules={"a": (moved,)})))
    assert await store.schedules() == [moved, other]
    await store.commit(Batch(starting=StartingChanges(schedules={"a": (), "b": ()})))
    assert await store.schedules() == []


async def test_one_event_for_each_debounce(store: Store) -> None:
    """A later one takes the place of the earlier, comes back equal, and is found by key and by time."""
    assert await store.next_debounced() is None
    early, late = debounced("k", NOW + 5), debounced("k2", NOW + 9, "é\u2028")
    both = {one.pace_key: one for one in (early, late)}
    await store.commit(Batch(starting=StartingChanges(debounced=dict(both))))
    assert await store.debounced_events([("ship", 1, "k2"), ("ship", 2, "k2")]) == [late]
    assert await store.next_debounced() == NOW + 5
    assert await store.due_debounced(NOW + 4, 10) == []
    assert await store.due_debounced(NOW + 9, 10) == [early, late]
    assert await store.due_debounced(NOW + 9, 1) == [early]
    later = debounced("k", NOW + 11, [1, None], "2")
    await store.commit(Batch(starting=StartingChanges(debounced={later.pace_key: later})))
    assert await store.due_debounced(NOW + 99, 10) == [late, later]
    await store.commit(Batch(starting=StartingChanges(debounced={late.pace_key: None})))
    assert await store.due_debounced(NOW + 99, 10) == [later]


async def test_what_became_of_a_debounced_event(store: Store, reader: Reader) -> None:
    """Its record says so; one that was forgotten is not brought back."""
    waits = InboxRecord("/shop", "1", "debounced", NOW, type="a.b", reason="waits")
    await store.commit(Batch(inbox=[waits]))
    started = replace(waits, outcome="started", reason="", runs=["r1"])
    gone = replace(started, id="forgotten")
    await store.commit(Batch(settled=[started, gone]))
    assert (await reader.inbox()).items == [started]


async def test_starts_count_as_long_as_they_say(store: Store) -> None:
    """Of one key only, until they expire; and not at all when they lie beyond what the throttle looks at."""
    key, other = ("ship", 1, "k"), ("ship", 1, "other")
    starts = [
        ThrottledStart(*key, NOW + 10),
        ThrottledStart(*key, NOW + 20),
        ThrottledStart(*other, NOW + 10),
    ]
    await store.commit(Batch(starting=StartingChanges(starts=starts)))
    asked = [(key, 30), (other, 30), (("ship", 2, "k"), 30)]
    assert await store.throttled_starts(asked, NOW) == {key: 2, other: 1, ("ship", 2, "k"): 0}
    assert await store.throttled_starts([(key, 30)], NOW + 10) == {key: 1}
    assert await store.throttled_starts([(key, 30)], NOW + 20) == {key: 0}
    assert await store.throttled_starts([(key, 30)], NOW - 5) == {key: 2}
    assert await store.throttled_starts([(key, 30)], NOW - 1_000) == {key: 0}, "the clock was set back"
    assert await store.prune_starts(NOW + 10, 1) == 1
    assert await store.prune_starts(NOW + 10, 10) == 1
    assert await store.prune_starts(NOW + 10, 10) == 0
    assert await store.throttled_starts([(key, 30)], NOW + 5) == {key: 1}

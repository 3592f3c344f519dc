"""Signals, waiting tasks and kept events: what every store must do with them, in the words of its port."""

from typing import Any

import pytest

from orchestrator.core.facts import (
    RunHeld,
    RunMoved,
    RunPaused,
    RunQueued,
    RunStarted,
    TaskInDoubt,
    TaskWaiting,
)
from orchestrator.core.inputs import CancelRun, ChildEnded, ReleaseRun, SignalInput, UndoRun
from orchestrator.core.model import ParentRef, RunStatus, Wait, WaitOn
from orchestrator.store.port import (
    Batch,
    Inconsistent,
    KeptEvent,
    Reader,
    RunFilter,
    Store,
    StoredSignal,
    WaitingTask,
)
from tests.support.sagas import NOW, Saga

PARENT = ParentRef("parent", "one", 0, 1, 1)


def waiting(saga: Saga, batch: Batch, on: WaitOn, due: int | None = None) -> None:
    """The run's one step waits for something that is no agent."""
    saga.add(batch, RunStarted(at=NOW, steps=["one"]))
    batch.started.append(saga.run)
    saga.add(batch, TaskWaiting(NOW, "one", 0, 1, Wait(on, topic="t", value="v", child="c"), due))


# Signals


async def test_signals_stay_until_they_are_delivered(store: Store) -> None:
    """Every kind comes back whole and in order; delivered in a batch, it is gone with it."""
    given: list[SignalInput] = [
        CancelRun("run p", "its parent goes back", by_parent=True),
        ChildEnded("one", 2, "c", "failed", RunStatus.FAILED, {"n": [1]}, "child_failed", "why"),
        UndoRun("it failed"),
        ReleaseRun(),
    ]
    signals = [StoredSignal(f"p/{n}/0", "r1", one, NOW + n) for n, one in enumerate(given)]
    await store.commit(Batch(signals=signals))
    assert await store.signals() == signals
    assert Batch(signals_done=["x"])
    await store.commit(Batch(signals_done=[signals[0].id, signals[2].id]))
    assert await store.signals() == [signals[1], signals[3]]


async def test_a_signal_is_given_once_and_delivered_once(store: Store) -> None:
    """A second one of its id, and a second delivery, contradict what is stored; the batch is not written."""
    signal = StoredSignal("p/1/0", "r1", ReleaseRun(), NOW)
    await store.commit(Batch(signals=[signal]))
    with pytest.raises(Inconsistent):
        await store.commit(Batch(signals=[signal]))
    await store.commit(Batch(signals_done=[signal.id]))
    saga, batch = Saga("r1"), Batch(signals_done=[signal.id])
    saga.start(batch)
    with pytest.raises(Inconsistent, match="twice"):
        await store.commit(batch)
    assert await store.load_runs(["r1"]) == {}


# Waiting for events


async def test_waiting_tasks_are_found_by_their_place(store: Store) -> None:
    """By topic and value, the longest waiting first; a task waits at one place, or nowhere any more."""
    tasks = [WaitingTask("r1", "b", 0, "t", "1", NOW), WaitingTask("r1", "a", 1, "t", "1", NOW + 5)]
    other = WaitingTask("r2", "a", 0, "t", "2", NOW)
    await store.commit(Batch(waits={one.key: one for one in (*tasks, other)}))
    places = [("t", "1"), ("t", "2"), ("u", "1")]
    assert await store.waiting_at(places) == {("t", "1"): tasks, ("t", "2"): [other]}
    moved = WaitingTask("r2", "a", 0, "t", "1", NOW + 9)
    await store.commit(Batch(waits={tasks[0].key: None, moved.key: moved}))
    assert await store.waiting_at(places) == {("t", "1"): [tasks[1], moved]}


async def test_kept_events_are_given_in_the_order_in_which_they_came(store: Store) -> None:
    """Of one place, page by page; those that had expired when the wait began are left out."""
    kept = [KeptEvent("t", "v", {"id": str(n), "data": {"n": None}}, NOW + n) for n in range(4)]
    await store.commit(
        Batch(kept=[*kept, KeptEvent("t", "w", {}, NOW), KeptEvent("u", "v", {}, NOW)], keep_at_most=100)
    )
    found = await store.kept_at(("t", "v"), NOW, 0, 100)
    assert [one.event for one in found] == [one.event for one in kept[1:]]
    assert [(one.topic, one.value, one.expires_at) for one in found] == [
        ("t", "v", NOW + n) for n in (1, 2, 3)
    ]
    assert await store.kept_at(("t", "v"), NOW, found[0].num, 1) == [found[1]]
    assert await store.kept_at(("t", "v"), NOW, found[-1].num, 1) == []


async def test_kept_events_are_bounded_in_time_and_number(store: Store) -> None:
    """Of too many the oldest go; the rest goes when it has expired."""
    for first in (0, 4):
        batch = Batch(keep_at_most=5)
        batch.kept = [KeptEvent("t", "v", {"n": n}, NOW + n) for n in range(first, first + 4)]
        await store.commit(batch)
    kept = await store.kept_at(("t", "v"), 0, 0, 100)
    assert [one.event["n"] for one in kept] == [3, 4, 5, 6, 7]
    assert await store.prune_kept(NOW + 6) == 2
    assert [one.event["n"] for one in await store.kept_at(("t", "v"), 0, 0, 100)] == [6, 7]


async def test_waits_that_a_kept_event_may_fit_are_found_at_the_start(store: Store) -> None:
    """Only those at whose very place something is kept, each once."""
    one, two = (WaitingTask("r1", step, 0, "t", step, NOW) for step in ("one", "two"))
    batch = Batch(waits={one.key: one, two.key: two}, keep_at_most=9)
    batch.kept = [KeptEvent("t", "one", {"n": n}, NOW) for n in range(3)] + [KeptEvent("u", "two", {}, NOW)]
    await store.commit(batch)
    assert await store.waits_to_look_up() == [one]


# Runs in motion, runs that wait, and runs that nothing would move


async def test_rule_12_a_stranded_run_is_found(store: Store) -> None:
    """Rule 12: nothing due and nothing awaited is stranded; who waits for somebody, or ended, is not."""
    names = ("stranded", "moving", "asking", "paused", "ended", "queued", "event", "approval")
    stranded, moving, asking, paused, ended, queued, event, approval = (Saga(name) for name in names)
    batch = Batch()
    stranded.start(batch, due=None)
    for saga in (moving, asking, ended):
        saga.start(batch)
    asking.add(batch, TaskInDoubt(NOW, "one", 0, "c", "silence"))
    ended.end(batch)
    paused.start(batch, due=None)
    paused.add(batch, RunPaused(NOW, "eva"))
    queued.add(batch, RunQueued(NOW, "g"))
    batch.started.append(queued.run)
    waiting(event, batch, WaitOn.EVENT, NOW + 5)
    waiting(approval, batch, WaitOn.APPROVAL)
    await store.commit(batch)
    assert await store.stranded(10) == ["stranded"]
    assert sorted(await store.in_motion()) == ["moving", "stranded"]


async def test_rule_12_a_parent_and_a_child_that_wait_for_each_other(store: Store) -> None:
    """Rule 12: a parent waits for a live child, or a signal is on its way to it."""
    parent, child, batch = Saga("parent"), Saga("child", parent=PARENT), Batch()
    waiting(parent, batch, WaitOn.CHILD)
    child.start(batch)
    await store.commit(batch)
    assert await store.stranded(10) == []
    assert await store.in_motion() == ["child"]
    batch = Batch(signals=[StoredSignal("s", "parent", ReleaseRun(), NOW)])
    child.end(batch)
    await store.commit(batch)
    assert await store.stranded(10) == []
    await store.commit(Batch(signals_done=["s"]))
    assert await store.stranded(10) == ["parent"]


async def test_rule_12_a_held_child_whose_parent_has_ended(store: Store) -> None:
    """Rule 12: nobody would ever release it, unless a signal is on its way."""
    parent, child, batch = Saga("parent"), Saga("child", parent=PARENT), Batch()
    parent.start(batch)
    child.start(batch, due=None)
    child.add(batch, RunHeld(NOW))
    await store.commit(batch)
    assert await store.stranded(10) == []
    batch = Batch(signals=[StoredSignal("s", "child", ReleaseRun(), NOW)])
    parent.end(batch)
    await store.commit(batch)
    assert await store.stranded(10) == []
    await store.commit(Batch(signals_done=["s"]))
    assert await store.stranded(10) == ["child"]


@pytest.mark.parametrize(
    ("more", "names"),
    [
        ({}, ["c3", "c2", "c1"]),
        ({"workflow": "other"}, ["c3"]),
        ({"statuses": [RunStatus.SUCCEEDED]}, ["c2"]),
    ],
)
async def test_the_children_of_a_run_are_listed(
    store: Store, reader: Reader, more: dict[str, Any], names: list[str]
) -> None:
    """Newest first, and each says whose child it is."""
    batch = Batch()
    sagas = {
        name: Saga(name, workflow="other" if name == "c3" else "release", parent=parent)
        for name, parent in (("parent", None), ("c1", PARENT), ("c2", PARENT), ("c3", PARENT))
    }
    for saga in sagas.values():
        saga.start(batch)
    sagas["c2"].end(batch)
    await store.commit(batch)
    page = await reader.runs(RunFilter(parent="parent", **more))
    assert [run.id for run in page.items] == names
    assert {run.parent for run in page.items} == {"parent"}
    first = await reader.runs(RunFilter(parent="parent", **more), limit=1)
    assert [run.id for run in first.items] == names[:1]
    assert (await reader.runs(RunFilter(parent="nobody"))).items == []


async def test_the_versions_of_live_runs(store: Store, reader: Reader) -> None:
    """A run that is moved is listed by the version that it keeps to; one that has ended keeps to none."""
    moved, ended, batch = Saga("moved"), Saga("ended"), Batch()
    moved.start(batch)
    ended.start(batch)
    await store.commit(batch)
    assert await store.live_versions() == ["v1"]
    batch = Batch()
    moved.add(batch, RunMoved(NOW, "v2", ["one"], "eva"))
    ended.end(batch)
    await store.commit(batch)
    assert await store.live_versions() == ["v2"]
    assert {run.id: run.version for run in (await reader.runs()).items} == {"moved": "v2", "ended": "v1"}

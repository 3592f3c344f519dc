"""What every store must do, in the words of `orchestrator/store/port.py`."""

import asyncio
from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from orchestrator.core.facts import ResultIgnored, RunStarted, TaskInDoubt
from orchestrator.core.model import RunStatus
from orchestrator.store.port import (
    AgentRecord,
    Batch,
    InboxRecord,
    Inconsistent,
    OutboxMessage,
    Reader,
    Store,
    StoredDefinition,
)
from schemas.messages import ActionInfo, Presence
from tests.support.sagas import NOW, Saga


def message(store: Store, body: bytes = b"{}") -> OutboxMessage:
    """A message with an id of its own."""
    return OutboxMessage(store.next_outbox_id(), "baton.commands", "agent.web-1", body, NOW)


async def test_an_empty_batch_is_nothing_to_write(store: Store) -> None:
    """A batch is true only when there is something in it; committing an empty one changes nothing."""
    assert not Batch()
    assert Batch(telemetry_cursor=0)
    await store.commit(Batch())
    assert await store.facts_after(0, 10) == []


async def test_a_run_is_loaded_as_it_was_stored(store: Store) -> None:
    """Head, state and status come back equal after every move; unknown ids are left out."""
    saga = Saga("r1", key="k")
    for move in (saga.start, saga.send, saga.end):
        batch = Batch()
        move(batch)
        await store.commit(batch)
        assert await store.load_runs(["r1", "r2"]) == {"r1": saga.run}


async def test_a_started_run_may_have_moved_on_in_the_same_batch(store: Store) -> None:
    """`changed` wins over `started`; a run may start and end in one batch."""
    saga, batch = Saga("r1", key="k"), Batch()
    saga.start(batch)
    saga.end(batch)
    assert batch.started[0] != batch.changed["r1"]
    await store.commit(batch)
    assert (await store.load_runs(["r1"]))["r1"].status is RunStatus.SUCCEEDED


async def test_started_alone_is_enough(store: Store) -> None:
    """A run that is only in `started` is stored."""
    saga, batch = Saga("r1"), Batch()
    saga.start(batch)
    batch.changed.clear()
    batch.started = [saga.run]
    await store.commit(batch)
    assert await store.load_runs(["r1"]) == {"r1": saga.run}


async def test_rule_1_one_live_run_per_key(store: Store) -> None:
    """Rule 1: a second live run of one (workflow, key) is refused with its whole batch."""
    first, other, batch = Saga("r1", key="k"), Saga("r2", workflow="other", key="k"), Batch()
    first.start(batch)
    other.start(batch)
    await store.commit(batch)
    keys = [("release", "k"), ("other", "k"), ("release", "free")]
    assert await store.live_keys(keys) == {("release", "k"): "r1", ("other", "k"): "r2"}

    second, batch = Saga("r3", key="k"), Batch(outbox=[message(store)], sent=[1])
    second.start(batch)
    batch.inbox.append(InboxRecord("shop", "e1", "started", NOW, runs=["r3"]))
    with pytest.raises(Inconsistent):
        await store.commit(batch)
    assert await store.load_runs(["r3"]) == {}
    assert await store.unsent(0, 10) == []
    assert await store.seen_events([("shop", "e1")]) == {}


async def test_rule_1_the_key_is_free_again_after_the_end(store: Store) -> None:
    """Rule 1: a run that ends gives its key to one that starts in the very same batch."""
    first, batch = Saga("r1", key="k"), Batch()
    first.start(batch)
    await store.commit(batch)
    second, batch = Saga("r2", key="k"), Batch()
    second.start(batch)
    first.end(batch)
    await store.commit(batch)
    assert await store.live_keys([("release", "k")]) == {("release", "k"): "r2"}


async def test_an_ended_run_has_one_live_retry(store: Store) -> None:
    """It is found by the run that it goes on from; a second one is refused until the first has ended."""
    first, batch = Saga("r2", retry_of="r1"), Batch()
    first.start(batch)
    Saga("r0").start(batch)
    await store.commit(batch)
    assert await store.live_retries(["r1", "r2", ""]) == {"r1": "r2"}
    second, batch = Saga("r3", retry_of="r1"), Batch()
    second.start(batch)
    first.end(batch)
    await store.commit(batch)
    assert await store.live_retries(["r1"]) == {"r1": "r3"}
    batch = Batch()
    Saga("r4", retry_of="r1").start(batch)
    with pytest.raises(Inconsistent):
        await store.commit(batch)


async def test_the_empty_key_is_no_key(store: Store) -> None:
    """Any number of live runs may have no key, and nobody owns the empty one."""
    batch = Batch()
    for number in range(3):
        Saga(f"r{number}").start(batch)
    await store.commit(batch)
    assert await store.live_keys([("release", "")]) == {}


async def test_rule_1_an_event_is_taken_in_once(store: Store) -> None:
    """Rule 1: (source, id) is found again with what became of it, and a second row for it is refused."""
    record = InboxRecord(
        "shop", "e\x001", "started", NOW, type="com.example.order", reason="", runs=["r1", "r2"]
    )
    await store.commit(Batch(inbox=[record]))
    assert await store.seen_events([("shop", "e\x001"), ("shop", "e"), ("other", "e\x001")]) == {
        ("shop", "e\x001"): record
    }
    with pytest.raises(Inconsistent):
        await store.commit(Batch(inbox=[record]))


async def test_refused_results_may_be_alike(store: Store) -> None:
    """Rule 8: every refused result is recorded, also one just like another, and is not taken for an event."""
    record = InboxRecord("web-1", "r1/one/0/1/execute", "rejected", NOW, kind="result", reason="no such run")
    await store.commit(Batch(inbox=[record, record]))
    assert await store.seen_events([(record.source, record.id)]) == {}


@pytest.mark.parametrize("wrong", ["missing", "early", "twice", "of nobody", "start cut off"])
async def test_a_history_has_no_gaps(store: Store, wrong: str) -> None:
    """Facts that do not lead from the stored seq to the new one are refused, whatever is wrong with them."""
    saga, batch = Saga("r1"), Batch()
    saga.start(batch)
    if wrong == "start cut off":
        del batch.facts[0]
    else:
        await store.commit(batch)
        batch = Batch()
        saga.send(batch)
        saga.send(batch)
        if wrong == "missing":
            del batch.facts[0]
        elif wrong == "early":
            batch.facts[0] = ("r1", 2, batch.facts[0][2])
        elif wrong == "twice":
            batch.facts.append(batch.facts[-1])
        else:
            batch.facts.append(("r2", 1, RunStarted(at=NOW, steps=[])))
    stored = await store.load_runs(["r1"])
    with pytest.raises(Inconsistent):
        await store.commit(batch)
    assert await store.load_runs(["r1"]) == stored


async def test_a_change_stands_on_the_stored_state(store: Store) -> None:
    """A change made from an outdated state is refused, and so is one of a run that does not exist."""
    saga, batch = Saga("r1"), Batch()
    saga.start(batch)
    outdated = saga.run
    await store.commit(batch)
    batch = Batch()
    saga.send(batch)
    await store.commit(batch)
    other = Saga("r1")
    other.run = outdated
    for stale in (other, Saga("r9")):
        batch = Batch()
        stale.facts.clear()
        batch.changed[stale.id] = replace(stale.run, seq=stale.run.seq + 1)
        batch.facts.append((stale.id, stale.run.seq + 1, TaskInDoubt(NOW, "one", 0, "c", "silence")))
        with pytest.raises(Inconsistent):
            await store.commit(batch)
    assert await store.load_runs(["r1"]) == {"r1": saga.run}


async def test_ends_are_final(store: Store) -> None:
    """A run that has ended takes late facts (rule 8) but neither another end nor a new life."""
    saga, batch = Saga("r1"), Batch()
    saga.start(batch)
    saga.end(batch)
    await store.commit(batch)
    batch = Batch()
    saga.add(batch, ResultIgnored(NOW, "one", 0, "c", "succeeded", "web-1", "late"))
    await store.commit(batch)
    kept = saga.run
    assert await store.load_runs(["r1"]) == {"r1": kept}
    for change in ({"ended": RunStatus.FAILED}, {"ended": None, "ended_at": None}, {"ended_at": NOW + 9}):
        with pytest.raises(Inconsistent):
            await store.commit(Batch(changed={"r1": replace(kept, **change)}))
    assert await store.load_runs(["r1"]) == {"r1": kept}


async def test_the_outbox_keeps_what_is_not_sent(store: Store) -> None:
    """Messages come back whole and in order until they are sent; ids grow."""
    whole = OutboxMessage(
        store.next_outbox_id(),
        "baton.lifecycle",
        "run.started.release",
        b'{"a": "\xc5\xbe"}',
        NOW,
        headers={"traceparent": "00-…", "n": 1},
        content_type="application/cloudevents+json",
        expires_at=NOW + 60,
        mandatory=True,
    )
    messages = [whole, *(message(store, b"%d" % number) for number in range(5))]
    await store.commit(Batch(outbox=messages))
    assert await store.unsent(0, 100) == messages
    assert await store.unsent(messages[1].id, 2) == messages[2:4]
    await store.commit(Batch(sent=[messages[0].id, messages[3].id, 999]))
    assert await store.unsent(0, 100) == [messages[1], messages[2], messages[4], messages[5]]
    assert store.next_outbox_id() > messages[-1].id


async def test_wakes_come_soonest_first(store: Store) -> None:
    """Runs that are due by a time are found, soonest first, up to a limit; an ended run has no timer."""
    sagas = {due: Saga(f"r{due}") for due in (50, 10, 30, 20)}
    batch = Batch()
    for due, saga in sagas.items():
        saga.start(batch, due=NOW + due)
    Saga("idle").start(batch, due=None)
    await store.commit(batch)
    assert await store.wakes(NOW + 30, 10) == [("r10", NOW + 10), ("r20", NOW + 20), ("r30", NOW + 30)]
    assert await store.wakes(NOW + 99, 1) == [("r10", NOW + 10)]
    batch = Batch()
    sagas[10].end(batch)
    sagas[20].send(batch, due=NOW + 40)
    await store.commit(batch)
    assert await store.wakes(NOW + 45, 10) == [("r30", NOW + 30), ("r20", NOW + 40)]


async def test_definitions_are_kept_by_version(store: Store, reader: Reader) -> None:
    """Every version stays as it was first applied; the current one is what was last said; names sort."""
    one = StoredDefinition("release", "v1", b"{1}", NOW)
    two = StoredDefinition("release", "v2", b"{2}", NOW + 1)
    other = StoredDefinition("audit", "v3", b"{3}", NOW)
    await store.commit(Batch(definitions=[one, two, other], current={"release": "v2", "audit": "v3"}))
    assert await store.current_definitions() == [other, two] == await reader.definitions()
    await store.commit(Batch(definitions=[replace(one, at=NOW + 9)], current={"release": "v1"}))
    assert await store.current_definitions() == [other, one]
    assert await store.definition("v2") == two
    assert await store.definition("v9") is None
    assert await reader.definition("release") == one
    assert await reader.definition("release", "v2") == two
    assert await reader.definition("audit", "v2") is None
    assert await reader.definition("nothing") is None


async def test_agents_are_remembered(store: Store, reader: Reader) -> None:
    """The last announcement of each agent is kept whole, by name, and when its instance first came."""
    presence = Presence(
        "web-2",
        "i1",
        "0.1",
        datetime(2026, 1, 1, tzinfo=UTC),
        pools=["p"],
        labels={"role": "web"},
        actions=[ActionInfo("file.write", idempotent=True, args={"type": "object"})],
    )
    other = replace(presence, name="web-1")
    records = {name: AgentRecord(one, NOW) for name, one in (("web-2", presence), ("web-1", other))}
    await store.commit(Batch(presence=records))
    rebuilt = AgentRecord(replace(presence, instance_id="i2", stopping=True), NOW + 5)
    again = AgentRecord(replace(other, labels={}), NOW + 5)
    await store.commit(Batch(presence={"web-2": rebuilt, "web-1": again}))
    expected = [replace(again, first_seen_at=NOW), replace(rebuilt, first_seen_at=NOW + 5)]
    assert await store.agents() == expected == await reader.agents()


async def test_telemetry_follows_the_history_of_all_runs(store: Store) -> None:
    """Facts come in the order of commits, after a cursor that is kept with them."""
    one, two = Saga("r1"), Saga("r2")
    for saga in (one, two):
        batch = Batch()
        saga.start(batch)
        await store.commit(batch)
    tail = await store.facts_after(0, 100)
    assert [(fact.run_id, fact.seq) for fact in tail] == [("r1", 1), ("r1", 2), ("r2", 1), ("r2", 2)]
    assert [fact.fact for fact in tail] == one.facts + two.facts
    assert await store.facts_after(tail[0].id, 2) == tail[1:3]
    assert await store.telemetry_cursor() == 0
    await store.commit(Batch(telemetry_cursor=tail[1].id))
    assert await store.telemetry_cursor() == tail[1].id


async def test_the_inbox_is_pruned_by_age_in_bites(store: Store) -> None:
    """Only rows older than the horizon go, and no call looks at more than its limit."""
    ages = [NOW - 10, NOW - 9, NOW - 8, NOW, NOW + 1]
    await store.commit(Batch(inbox=[InboxRecord("s", str(n), "no_trigger", at) for n, at in enumerate(ages)]))
    assert [await store.prune_inbox(NOW, 2) for _ in range(3)] == [2, 1, 0]
    assert {key[1] for key in await store.seen_events([("s", str(n)) for n in range(5)])} == {"3", "4"}


async def test_a_cancelled_commit_is_whole(store: Store) -> None:
    """Cancelling who waits for a commit neither undoes it nor blocks the next one."""
    saga, batch = Saga("r1"), Batch()
    saga.start(batch)
    task = asyncio.create_task(store.commit(batch))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    batch = Batch()
    saga.send(batch)
    await store.commit(batch)
    assert await store.load_runs(["r1"]) == {"r1": saga.run}

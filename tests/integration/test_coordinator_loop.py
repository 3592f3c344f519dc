"""The coordinator's loop on a bus in memory and a real database: bad input, admission, faults of our own."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from orchestrator.core.facts import AttemptFailed, ResultIgnored
from orchestrator.core.inputs import CancelRun, ResolveTask
from orchestrator.core.model import RunStatus
from orchestrator.loop.intake import InputForRun, StartRun
from orchestrator.store.port import EpochLost
from runtime.bus.port import Message
from schemas.codec import encode
from schemas.errors import NotFound
from schemas.messages import Command, CommandKind
from schemas.names import REASON_HEADER
from tests.support.loop import EVENT, FAILED, PLAIN, TOPOLOGY, Loop, data, works
from tests.support.waiting import until


@pytest.fixture
async def loop(tmp_path: Path) -> AsyncIterator[Loop]:
    """One that knows the workflow `plain`."""
    async with Loop(tmp_path) as running:
        await running.apply(PLAIN)
        yield running


# Events


async def test_rule_1_an_event_delivered_again_starts_nothing(loop: Loop) -> None:
    """Twice in one batch, once more later, once more in the next life: one run."""
    await asyncio.gather(*(loop.event(EVENT, data(), event_id="one") for _ in range(3)))
    asked = await loop.command()
    await loop.event(EVENT, data(), event_id="one")
    await until(lambda: loop.waiting(TOPOLOGY.events_inbox) == 0)
    await loop.crash()
    await loop.start()
    await loop.event(EVENT, data(), event_id="one")
    await works(loop)
    records = [record for record in await loop.inbox(2) if record.id == "one"]
    assert [(record.outcome, record.runs) for record in records] == [("started", [asked.run_id])]


async def test_rule_1_another_event_with_a_live_runs_key_is_a_duplicate(loop: Loop) -> None:
    """Also in one batch; once the run has ended, the key is free."""
    await asyncio.gather(*(loop.event(EVENT, data(), event_id=str(number)) for number in range(2)))
    records = await loop.inbox(2)
    assert sorted(record.outcome for record in records) == ["duplicate", "started"]
    assert records[0].runs == records[1].runs
    first = await loop.command()
    await loop.answer(first)
    await loop.answer(await loop.command())
    await loop.status(first.run_id, "succeeded")
    await loop.event(EVENT, data(), event_id="2")
    assert (await loop.inbox(3))[0].outcome == "started"


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"size": 1, "key": "k"}, "wanted"),
        (data(key=["a", "list"]), "not text"),
        (data(key=""), "key: has 0 characters"),
        (data(key="k" * 513), "key: has 513 characters"),
        (data(size="large"), "size"),
        ({"key": "k", "wanted": True}, "size"),
        ("no object", "wanted"),
    ],
)
async def test_an_event_that_cannot_start_its_run_is_rejected_with_the_reason(
    given: Any, reason: str, loop: Loop
) -> None:
    """An `if`, `key` or `input` that fails, an input beside the schema: no run, and it is seen why."""
    await loop.event(EVENT, given)
    [record] = await loop.inbox(1)
    assert record.outcome == "rejected"
    assert record.reason.startswith("plain: ")
    assert reason in record.reason
    assert (await loop.reader.runs()).items == []


async def test_rule_1_a_late_result_does_not_free_the_key_of_another_run(loop: Loop) -> None:
    """Of a run that ended long ago, in one batch with an event that has the key of one that is live."""
    await loop.event(EVENT, data(), event_id="first")
    ended = await loop.command()
    await loop.answer(ended, "failed", error=FAILED)
    await loop.status(ended.run_id, "failed")
    await loop.event(EVENT, data(), event_id="second")
    live = await loop.command()
    await asyncio.gather(loop.answer(ended), loop.event(EVENT, data(), event_id="third"))
    [third] = [record for record in await loop.inbox(3) if record.id == "third"]
    assert (third.outcome, third.runs) == ("duplicate", [live.run_id])


async def test_an_event_that_nobody_wants_is_recorded(loop: Loop) -> None:
    """No trigger for its type, or its `if` is false."""
    await loop.event("com.example.other", {}, event_id="other")
    await loop.event(EVENT, data(wanted=False), event_id="unwanted")
    assert {record.outcome for record in await loop.inbox(2)} == {"no_trigger"}


async def test_events_wait_on_the_broker_while_enough_runs_are_active(tmp_path: Path) -> None:
    """Never more runs than the limit and what was on its way; every event gets its run in the end."""
    limit, events = 3, 30
    async with Loop(tmp_path, max_active_runs=limit) as loop:
        await loop.apply(PLAIN)
        await asyncio.gather(*(loop.event(EVENT, data(str(n)), event_id=str(n)) for n in range(events)))
        most = 0
        for _ in range(2 * events):
            asked = await loop.command()
            most = max(most, len(await loop.store.wakes(2**62, 1_000)))
            await loop.answer(asked)
        await until(lambda: _ended(loop) == events)
        assert limit <= most <= 2 * limit


def _ended(loop: Loop) -> int:
    return sum(key.startswith("run.succeeded.") for key, _ in loop.lifecycle)


# Results


async def test_rule_8_results_that_have_no_say_are_recorded_and_change_nothing(loop: Loop) -> None:
    """Of another host, of an attempt that never was, twice, for a step or run that is none, after the end."""
    await loop.event(EVENT, data())
    asked = await loop.command()
    await loop.answer(asked, agent="stranger")
    await loop.answer(asked, attempt=7)
    await loop.answer(asked, step="z")
    await loop.answer(asked, host_index=1)
    await loop.answer(asked, run_id="nobody")
    await loop.answer(asked)
    more = await loop.command()
    assert more.step == "b"
    await loop.answer(asked, "failed", error=FAILED)
    await loop.answer(more)
    await loop.status(asked.run_id, "succeeded")
    await loop.answer(more, "failed", error=FAILED)
    await until(lambda: loop.waiting(TOPOLOGY.results_queue("0")) == 0)
    await works(loop)
    assert (await loop.run(asked.run_id)).status is RunStatus.SUCCEEDED
    facts = [entry.fact for entry in await loop.history(asked.run_id)]
    assert [fact.why for fact in facts if isinstance(fact, ResultIgnored)] == [
        "from another agent",
        "another attempt",
        "the run has no such step",
        "the run has no such step",
        "not the outstanding attempt",
        "the run has ended",
    ]
    [refused] = [record for record in await loop.inbox(3) if record.kind == "result"]
    assert (refused.outcome, refused.reason, refused.source) == ("rejected", "no such run", "h1")


async def test_a_step_whose_output_is_too_large_fails_and_is_undone(tmp_path: Path) -> None:
    """The action had its effect, so its undo is sent."""
    async with Loop(tmp_path, max_output_bytes=2_000) as loop:
        await loop.apply(PLAIN)
        await loop.event(EVENT, data())
        asked = await loop.command()
        await loop.answer(asked, output="x" * 1_999)  # in quotes
        undo = await loop.command()
        assert (undo.kind, undo.step) == (CommandKind.COMPENSATE, "a")
        await loop.answer(undo)
        run = await loop.status(asked.run_id, "compensated")
        assert run.failure is not None
        assert run.failure.code == "output_too_large"


async def test_an_output_may_be_as_large_as_the_limit_whatever_else_is_in_the_result(tmp_path: Path) -> None:
    """What stands around it is not counted."""
    async with Loop(tmp_path, max_output_bytes=2_000) as loop:
        await loop.apply(PLAIN)
        await loop.event(EVENT, data())
        await loop.answer(await loop.command(), output="x" * 1_998)
        assert (await loop.command()).step == "b"


async def test_garbage_by_the_thousand_and_good_events_among_it(loop: Loop) -> None:
    """Two thousand messages that are nothing, two hundred events: every one ends where it belongs."""
    garbage = [b"", b"{", b"\xff\xfe", b"[]", b"[" * 10_000, b'{"specversion":"1.0"}', b"null", b"x" * 70_000]
    for number in range(200):
        for place in range(10):
            await loop.send(TOPOLOGY.events, EVENT, garbage[(number + place) % len(garbage)])
        await loop.event(EVENT, data(str(number)), event_id=str(number))
    letters = await loop.letters(2_000)
    assert len(letters) == 2_000
    assert all(letter.headers[REASON_HEADER] for letter in letters)
    assert {record.outcome for record in await loop.inbox(200)} == {"started"}
    assert len({(await loop.command()).run_id for _ in range(200)}) == 200
    assert 'baton_dead_letters_total{queue="baton.events.inbox"} 2000.0' in loop.metrics.render().decode()


# Commands that reach nobody


async def test_an_unknown_agent_fails_the_step_at_once_and_is_named(loop: Loop) -> None:
    """The broker returns the command; nothing is tried again."""
    await loop.apply(PLAIN.replace("target: h1", "target: nobody", 1))
    await loop.event(EVENT, data())
    run_id = (await loop.inbox(1))[0].runs[0]
    run = await loop.status(run_id, "failed")
    assert run.failure is not None
    assert run.failure.code == "agent_unknown"
    assert "nobody" in run.failure.message
    assert run.steps["a"][0].attempt == 1


async def test_a_run_outlives_any_number_of_lives(loop: Loop) -> None:
    """Crashes before every answer, connections cut in between: the story goes on, and is told once."""
    await loop.event(EVENT, data())
    first = await loop.command()
    for _ in range(3):
        await loop.crash()
        await loop.start()
    await loop.answer(first)
    second = await loop.command()
    loop.broker.drop_connections()
    await loop.crash()
    await loop.answer(second, "failed", error=FAILED)
    await loop.start()
    undo = await loop.command()
    assert (undo.kind, undo.step) == (CommandKind.COMPENSATE, "a")
    await loop.answer(undo)
    await loop.status(first.run_id, "compensated")
    await until(lambda: loop.lifecycle[-1][0] == "run.compensated.plain")
    told = {event["id"]: key for key, event in loop.lifecycle if key.startswith("run.")}
    assert list(told.values()) == ["run.started.plain", "run.compensated.plain"]


async def test_a_broker_that_goes_away_loses_nothing(loop: Loop) -> None:
    """Requests are still decided; their commands and events go out when it is back, each once."""
    loop.broker.go_away()
    run_id = await loop.coordinator.submit(StartRun("plain", "k", {"size": 1}))
    assert not loop.coordinator.ready
    loop.broker.come_back()
    asked = await loop.command()
    assert asked.run_id == run_id
    await loop.answer(asked)
    await loop.answer(await loop.command())
    await loop.status(run_id, "succeeded")
    assert len(loop.commands) == 2


# Operators


async def test_rule_9_cancel_undoes_what_was_done(loop: Loop) -> None:
    """The running step is asked to stop, then the one before is undone."""
    await loop.event(EVENT, data())
    await loop.answer(await loop.command())
    running = await loop.command()
    cancel = InputForRun(running.run_id, CancelRun(who="ops", reason="enough"))
    await loop.coordinator.submit(cancel)
    asked = await loop.command()
    assert (asked.kind, asked.args["command_id"]) == (CommandKind.CANCEL, running.id)
    with pytest.raises(Exception, match="already being undone"):
        await loop.coordinator.submit(cancel)
    await loop.answer(running, "cancelled")
    undo = await loop.command()
    assert (undo.kind, undo.step) == (CommandKind.COMPENSATE, "a")
    await loop.answer(undo)
    run = await loop.status(running.run_id, "cancelled")
    assert run.reason == "enough"
    with pytest.raises(Exception, match="already ended"):
        await loop.coordinator.submit(cancel)
    with pytest.raises(NotFound):
        await loop.coordinator.submit(InputForRun("nobody", CancelRun(who="ops", reason="")))


async def test_rule_5_a_person_decides_about_a_failed_undo(loop: Loop) -> None:
    """Retried, it fails again; skipped, the run ends `failed` and says what was given up."""
    await loop.event(EVENT, data())
    await loop.answer(await loop.command())
    await loop.answer(await loop.command(), "failed", error=FAILED)
    undo = await loop.command()
    await loop.answer(undo, "failed", error=FAILED)
    await loop.status(undo.run_id, "attention")
    await until(
        lambda: loop.coordinator._live.active == 0, what="a run that waits for a person to take up no room"
    )
    await loop.coordinator.submit(InputForRun(undo.run_id, ResolveTask("a", "retry", who="ops")))
    again = await loop.command()
    assert (again.kind, again.attempt) == (CommandKind.COMPENSATE, 2)
    await loop.answer(again, "failed", error=FAILED)
    await loop.status(undo.run_id, "attention")
    await loop.coordinator.submit(InputForRun(undo.run_id, ResolveTask("a", "skip", who="ops")))
    run = await loop.status(undo.run_id, "failed")
    assert "given up: undo of a" in run.reason
    keys = [key for key, _ in loop.lifecycle if key.startswith("run.")]
    assert keys == [f"run.{status}.plain" for status in ("started", "attention", "attention", "failed")]


async def test_rule_7_no_answer_is_a_doubt_and_a_late_answer_ends_it(loop: Loop) -> None:
    """Past every limit the agent is asked; if in vain, a person is called. An answer is always taken."""
    await loop.event(EVENT, data())
    asked = await loop.command()
    loop.world.skip(3_600)
    query = await loop.command()
    assert (query.kind, query.args["command_id"]) == (CommandKind.QUERY, asked.id)
    loop.world.skip(60)
    await loop.status(asked.run_id, "attention")
    await until(
        lambda: loop.coordinator._live.active == 0, what="a run that waits for a person to take up no room"
    )
    await loop.answer(asked)
    assert (await loop.command()).step == "b"


async def test_a_command_that_expired_on_the_broker_is_tried_again(loop: Loop) -> None:
    """A dead letter of the broker's that no agent ever held proves that it never started."""
    await loop.apply(PLAIN.replace("target: h1,", "target: h1, retry: {attempts: 2, delay: 10ms},", 1))
    await loop.event(EVENT, data())
    asked = await loop.command()
    expired = {"x-death": [{"reason": "expired", "queue": TOPOLOGY.agent_queue("h1")}]}
    for headers in ({}, {"x-death": "no list"}, {**expired, "x-delivery-count": 1}, expired):
        await _bury(loop, asked, headers)
    again = await loop.command()
    assert (again.step, again.attempt) == ("a", 2)
    facts = [entry.fact for entry in await loop.history(asked.run_id)]
    failures = [fact for fact in facts if isinstance(fact, AttemptFailed)]
    assert [(fact.status, fact.error.code) for fact in failures] == [("expired", "agent_unavailable")]


async def test_whose_epoch_is_over_acknowledges_nothing(loop: Loop) -> None:
    """Not even what says nothing to it: it does not know what its successor has sent."""
    await loop.event(EVENT, data())
    asked = await loop.command()
    with closing(sqlite3.connect(loop._path)) as db, db:
        await until(lambda: db.execute("SELECT count(*) FROM outbox").fetchone() == (0,), what="no outbox")
        db.execute("UPDATE shards SET epoch = epoch + 1")
    await _bury(loop, msgspec.structs.replace(asked, id="another"), {})
    await until(loop.running.done, what="the coordinator to end")
    assert isinstance(loop.running.exception(), EpochLost)
    await loop.bus.stop()
    assert loop.waiting(TOPOLOGY.expired_queue("0")) == 1


async def _bury(loop: Loop, command: Command, headers: dict[str, Any]) -> None:
    """Put a command where the broker puts what it dead-letters."""
    await loop.agent.publish([Message(TOPOLOGY.dead, "", encode(command), headers=headers)])


# What the world is told


async def test_lifecycle_events_tell_of_runs_and_steps(loop: Loop) -> None:
    """CloudEvents with the run's id as subject, one id each, under keys that name status and workflow."""
    await loop.event(EVENT, data())
    asked = await loop.command()
    await loop.answer(asked)
    await loop.answer(await loop.command())
    await until(lambda: _ended(loop))
    keys = [key for key, _ in loop.lifecycle]
    assert keys == [
        "run.started.plain",
        "step.succeeded.plain",
        "step.succeeded.plain",
        "run.succeeded.plain",
    ]
    events = [event for _, event in loop.lifecycle]
    assert [event["type"] for event in events] == [f"baton.{key.removesuffix('.plain')}" for key in keys]
    assert {(event["specversion"], event["source"], event["subject"]) for event in events} == {
        ("1.0", "/baton/baton", asked.run_id)
    }
    assert len({event["id"] for event in events}) == 4
    assert [event["data"].get("step") for event in events] == [None, "a", "b", None]


@pytest.mark.parametrize(("detail", "count"), [("off", 0), ("runs", 2), ("steps", 4)])
async def test_how_much_is_told_is_a_setting(detail: str, count: int, tmp_path: Path) -> None:
    """Nothing, runs, or runs and steps."""
    async with Loop(tmp_path, lifecycle=detail) as loop:
        await loop.apply(PLAIN)
        await works(loop)
        await until(lambda: loop.coordinator._publisher.depth == 0)
        await until(lambda: loop.waiting("watch") == 0)
        assert len(loop.lifecycle) == count

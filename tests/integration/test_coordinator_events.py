"""Steps that wait for events, and that emit them, in the coordinator's loop, whatever dies in between."""

from pathlib import Path
from typing import Any

import pytest

from orchestrator.core.inputs import PauseRun, RetryFrom
from orchestrator.core.model import Run, StepStatus
from orchestrator.loop.intake import InputForRun, StartRun
from orchestrator.starting import outcomes
from schemas.messages import Command
from tests.support.loop import Loop
from tests.support.waiting import eventually, until

ORDERED, PAID, LIVE = "com.example.ordered", "com.example.paid", "com.example.live"

SHOP = f"""
workflow: shop
triggers:
  - {{event: {ORDERED}, key: string(event.data.order), input: {{order: "${{{{ event.data.order }}}}"}}}}
steps:
  - {{id: reserve, action: reserve, target: h1}}
  - id: paid
    wait_for:
      event: {PAID}
      correlate: {{from: event.data.order, expect: input.order}}
      if: event.data.amount > 0
      timeout: 1h
  - id: announce
    emit:
      type: {LIVE}
      subject: shop
      data: {{order: "${{{{ input.order }}}}", by: "${{{{ steps.paid.output.id }}}}"}}
"""
MAIL = f"""
workflow: mail
triggers: [{{event: {LIVE}, input: {{order: "${{{{ event.data.order }}}}"}}}}]
steps: [{{id: send, action: send, target: h1, with: {{order: "${{{{ input.order }}}}"}}}}]
"""


def succeed(_: Command) -> str:
    """Whatever is asked of it, the agent does."""
    return "succeeded"


async def paid(loop: Loop, event_id: str, order: Any = 7, amount: int = 5) -> None:
    """The order is paid."""
    await loop.event(PAID, {"order": order, "amount": amount}, event_id=event_id)


async def waiting(loop: Loop, run_id: str) -> Run:
    """The run, once it waits for its event."""

    async def look() -> Run | None:
        run = await loop.run(run_id)
        return run if run.waits else None

    return await eventually(look, what="the run to wait", every=0.005)


async def outcome(loop: Loop, event_id: str) -> tuple[str, list[str]]:
    """What became of an event, once it is known."""

    async def look() -> tuple[str, list[str]] | None:
        found = await loop.store.seen_events([("/tests", event_id)])
        return next(((record.outcome, record.runs) for record in found.values()), None)

    return await eventually(look, what=f"event {event_id} to be taken in", every=0.005)


async def nobody_waits(loop: Loop) -> bool:
    """Whether the table of waiting tasks is empty."""
    return await loop.store.waiting_at([(f"{PAID}\nevent.data.order", str(n)) for n in range(10)]) == {}


async def test_an_event_finds_the_task_that_waits_for_it(tmp_path: Path) -> None:
    """By its value; another value, or one whose `if` is false, is not meant. Text and number are alike."""
    async with Loop(tmp_path) as loop:
        loop.reply = succeed
        await loop.apply(SHOP)
        run_id = await loop.coordinator.submit(StartRun("shop", "", {"order": 7}))
        await waiting(loop, run_id)
        await until(lambda: loop.coordinator._live.active == 0, what="a run that waits to take up no room")
        await paid(loop, "other", order=8)
        await paid(loop, "nothing", amount=0)
        assert await outcome(loop, "other") == ("no_trigger", [])
        assert await outcome(loop, "nothing") == ("no_trigger", [])
        await paid(loop, "right", order="7")
        assert await outcome(loop, "right") == ("delivered", [run_id])
        run = await loop.status(run_id, "succeeded")
        assert run.steps["paid"][0].output["id"] == "right"
        assert await nobody_waits(loop)


BUSY = """
workflow: busy
input: {type: object}
steps:
  - {id: paid, needs: [], wait_for: {event: com.example.paid, if: event.data.amount > 0, timeout: 1h}}
  - {id: each, needs: [], foreach: input.items, emit: {type: it.is, data: 1}}
"""


async def test_an_event_is_delivered_only_to_who_takes_it(tmp_path: Path) -> None:
    """Not to a run that has other things to do just then, and whose `if` is false of it."""
    async with Loop(tmp_path, max_move=1) as loop:
        await loop.apply(BUSY)
        run_id = await loop.coordinator.submit(StartRun("busy", "", {"items": list(range(200))}))
        await paid(loop, "nothing", amount=0)
        assert await outcome(loop, "nothing") == ("no_trigger", [])
        run = await loop.run(run_id)
        assert any(task.status is StepStatus.PENDING for task in run.steps["each"])
        await paid(loop, "right", amount=1)
        assert await outcome(loop, "right") == ("delivered", [run_id])


async def test_a_wait_that_is_done_again_is_not_given_the_same_event(tmp_path: Path) -> None:
    """Nor does the inbox say that it was; the next that fits is taken."""
    async with Loop(tmp_path, keep_events=3_600) as loop:
        await loop.apply(BUSY.replace("steps:", "steps:\n  - {id: hold, needs: [], sleep: 1h}"))
        run_id = await loop.coordinator.submit(StartRun("busy", "", {"items": []}))
        await paid(loop, "one")
        assert await outcome(loop, "one") == ("delivered", [run_id])
        await loop.coordinator.submit(InputForRun(run_id, PauseRun("eva")))
        await loop.coordinator.submit(InputForRun(run_id, RetryFrom("paid", "eva", "once more")))
        assert (await loop.run(run_id)).steps["paid"][0].status is StepStatus.RUNNING
        await paid(loop, "two")
        assert await outcome(loop, "two") == ("delivered", [run_id])
        assert await outcome(loop, "one") == ("delivered", [run_id])


async def test_an_event_that_came_before_the_wait_counts(tmp_path: Path) -> None:
    """It is kept for a while; the first that fits is taken, and what has expired is not."""
    async with Loop(tmp_path, keep_events=60) as loop:
        await loop.apply(SHOP)
        await paid(loop, "expired")
        await outcome(loop, "expired")
        loop.world.skip(61)
        for event_id, amount in (("nothing", 0), ("first", 1), ("second", 2)):
            await paid(loop, event_id, amount=amount)
            assert await outcome(loop, event_id) == ("no_trigger", [])
        loop.reply = succeed
        run_id = await loop.coordinator.submit(StartRun("shop", "", {"order": 7}))
        run = await loop.status(run_id, "succeeded")
        assert run.steps["paid"][0].output["id"] == "first"
        assert await outcome(loop, "first") == ("delivered", [run_id])
        assert (await loop.store.seen_events([("/tests", "first")]))["/tests", "first"].reason == ""
        for event_id in ("expired", "nothing", "second"):
            assert await outcome(loop, event_id) == ("no_trigger", [])


async def test_one_event_serves_many_runs_but_each_once(tmp_path: Path) -> None:
    """Two runs that wait for it both get it; a run that waits again needs another one."""
    twice = """
workflow: twice
steps:
  - {id: one, wait_for: {event: com.example.paid}, output: "${{ steps.one.output.id }}"}
  - {id: two, wait_for: {event: com.example.paid}}
"""
    async with Loop(tmp_path) as loop:
        await loop.apply(twice)
        runs = [await loop.coordinator.submit(StartRun("twice")) for _ in range(2)]
        await paid(loop, "1")
        assert await outcome(loop, "1") == ("delivered", runs)
        await loop.crash()
        await loop.start()
        await paid(loop, "2")
        assert await outcome(loop, "2") == ("delivered", runs)
        for run_id in runs:
            run = await loop.status(run_id, "succeeded")
            assert run.steps["one"][0].output == "1"
            assert run.steps["two"][0].output["id"] == "2"


async def test_the_event_that_starts_a_run_is_not_one_that_it_waits_for(tmp_path: Path) -> None:
    """Even if it fits; it can start a run and be delivered to others. One that came before does count."""
    document = """
workflow: chain
triggers: [{event: com.example.paid}]
steps: [{id: more, wait_for: {event: com.example.paid}}]
"""
    async with Loop(tmp_path) as loop:
        await loop.apply(document)
        await paid(loop, "1")
        _, [first] = await outcome(loop, "1")
        await waiting(loop, first)
        await paid(loop, "2")
        found, runs = await outcome(loop, "2")
        assert found == "started"
        await loop.status(first, "succeeded")
        [second] = [run.head.id for run in await loop.runs() if run.head.id != first]
        assert second in runs
        run = await loop.status(second, "succeeded")
        assert run.steps["more"][0].output["id"] == "1"


async def test_more_wait_for_an_event_than_one_batch_takes(tmp_path: Path) -> None:
    """All of them get it, a batch after the other."""
    document = "workflow: many\nsteps: [{id: hear, wait_for: {event: com.example.paid}}]\n"
    async with Loop(tmp_path, max_batch=3) as loop:
        await loop.apply(document)
        runs = [await loop.coordinator.submit(StartRun("many")) for _ in range(10)]
        await paid(loop, "1")
        for run_id in runs:
            await loop.status(run_id, "succeeded")
        found, named = await outcome(loop, "1")
        assert (found, sorted(named)) == ("delivered", sorted(map(str, runs)))


async def test_of_very_many_runs_the_inbox_names_some_and_counts_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether they got the event in its own batch or in a later one."""
    monkeypatch.setattr(outcomes, "NAMED", 4)
    document = "workflow: many\nsteps: [{id: hear, wait_for: {event: com.example.paid}}]\n"
    for at_once in (3, 6):
        (directory := tmp_path / str(at_once)).mkdir()
        async with Loop(directory, max_batch=at_once) as loop:
            await loop.apply(document)
            runs = [await loop.coordinator.submit(StartRun("many")) for _ in range(10)]
            await paid(loop, "1")
            for run_id in runs:
                await loop.status(run_id, "succeeded")
            record = (await loop.store.seen_events([("/tests", "1")]))["/tests", "1"]
            assert (record.outcome, len(set(record.runs)), record.more) == ("delivered", 4, 6)
            assert set(record.runs) < set(runs)


async def test_only_so_many_events_are_kept(tmp_path: Path) -> None:
    """Of more than `max_kept_events` the oldest are forgotten."""
    async with Loop(tmp_path, max_kept_events=3) as loop:
        loop.reply = succeed
        await loop.apply(SHOP)
        for number in range(5):
            await paid(loop, str(number))
            await outcome(loop, str(number))
        run_id = await loop.coordinator.submit(StartRun("shop", "", {"order": 7}))
        run = await loop.status(run_id, "succeeded")
        assert run.steps["paid"][0].output["id"] == "2"


async def test_an_old_version_still_hears_its_events_after_a_restart(tmp_path: Path) -> None:
    """A live run's kinds of waiting are known, though its workflow has changed since; also ones to come."""
    async with Loop(tmp_path) as loop:
        await loop.apply(SHOP)
        run_id = await loop.coordinator.submit(StartRun("shop", "", {"order": 7}))
        asked = await loop.command()
        await loop.apply("workflow: shop\nsteps: [{id: other, sleep: 1h}]\n")
        await loop.crash()
        await loop.start()
        await paid(loop, "early")
        assert (await outcome(loop, "early"))[0] == "no_trigger"
        await loop.answer(asked)
        await loop.status(run_id, "succeeded")


async def test_what_a_step_emits_starts_another_workflow(tmp_path: Path) -> None:
    """In the same trace; the event's id says which attempt of which step of which run it is of."""
    async with Loop(tmp_path) as loop:
        loop.reply = succeed
        await loop.apply(SHOP)
        await loop.apply(MAIL)
        run_id = await loop.coordinator.submit(StartRun("shop", "", {"order": 7}))
        await paid(loop, "1")
        run = await loop.status(run_id, "succeeded")
        await until(lambda: any(command.action == "send" for command in loop.commands), what="the mail")
        [mail] = await loop.runs(workflow="mail")
        assert mail.head.trace.trace_id == run.head.trace.trace_id
        assert mail.head.trace.parent_id == run.head.trace.span_of("announce", 0, undo=False)
        event = mail.head.event
        assert event is not None
        assert (event["id"], event["source"]) == (f"{run_id}/announce/0/1", "/baton/baton/shop")
        assert (event["subject"], event["data"]) == ("shop", {"order": 7, "by": "1"})


async def settled(loop: Loop, keys: list[str], early: bool, sent: set[str]) -> bool | None:  # noqa: FBT001
    """Drive everything to its end, with a new life when this one ends; None while it is not there."""
    if loop.running.done():
        await loop.crash()
        await loop.start()
    shops = {run.head.key: run for run in await loop.runs(workflow="shop")}
    for key in keys:
        run = shops.get(key)
        if key not in sent and (early or (run is not None and run.waits)):
            sent.add(key)
            await paid(loop, f"paid {key}", order=key)
    done = [run for run in shops.values() if run.ended]
    mails = [run for run in await loop.runs(workflow="mail") if run.ended]
    return len(done) == len(mails) == len(keys) or None


@pytest.mark.parametrize("when", ["before the commit", "after the commit"])
@pytest.mark.parametrize("early", [True, False], ids=["paid before", "paid after"])
async def test_whatever_dies_each_event_is_taken_once(early: bool, when: str, tmp_path: Path) -> None:  # noqa: FBT001
    """The coordinator dies at each commit in turn: every order is paid, announced and mailed once."""
    async with Loop(tmp_path) as loop:
        loop.reply = succeed
        await loop.apply(SHOP)
        await loop.apply(MAIL)
        number, died = 1, True
        keys: list[str] = []
        sent: set[str] = set()
        while died:
            keys.append(str(number))
            life = loop.running
            loop.break_commit(number, written=when == "after the commit")
            await loop.event(ORDERED, {"order": str(number)}, event_id=f"ordered {number}")
            await eventually(lambda: settled(loop, keys, early, sent), what="all to be done", every=0.005)
            died = loop.running is not life
            number += 1
        assert number > 5
        runs = await loop.runs(workflow="shop")
        assert {run.head.key: run.steps["paid"][0].output["id"] for run in runs} == {
            key: f"paid {key}" for key in keys
        }
        assert sorted(command.action for command in loop.commands) == sorted(["reserve", "send"] * len(keys))
        assert await nobody_waits(loop)


ECHO = """
workflow: echo
triggers: [{event: com.example.echo}]
steps: [{id: again, emit: {type: com.example.echo}}]
"""


async def test_a_workflow_that_starts_itself_by_its_own_event_comes_to_an_end(tmp_path: Path) -> None:
    """After so many in a row the event starts nothing, and the inbox says why; a new event begins anew."""
    async with Loop(tmp_path, max_event_hops=3) as loop:
        await loop.apply(ECHO)
        await loop.event("com.example.echo", {})
        records = await loop.inbox(5)
        assert [record.outcome for record in records] == ["rejected", *["started"] * 4]
        assert "max_event_hops" in records[0].reason
        await loop.event("com.example.echo", {}, event_id="2")
        assert [record.outcome for record in (await loop.inbox(10))[:5]] == ["rejected", *["started"] * 4]

"""Concurrency groups in the coordinator's loop: who begins, who waits, what a crash leaves."""

import re
from pathlib import Path

import pytest

from orchestrator.core.inputs import CancelRun, MoveRun
from orchestrator.loop.intake import InputForRun, StartRun
from orchestrator.starting.groups import GroupsInBatch
from schemas.errors import Conflict, InvalidInput, Unreachable
from tests.support.loop import EVENT, Loop
from tests.support.waiting import eventually, until


def document(concurrency: str, name: str = "deploy", more: str = "") -> str:
    """A workflow of one step on h1, started by events of a host."""
    return f"""
workflow: {name}
triggers:
  - {{event: {EVENT}, key: event.id, input: {{host: "${{{{ event.data.host }}}}"}}}}
concurrency: {concurrency}
steps:
  - {{id: a, action: do.it, target: h1, compensate: {{action: undo.it}}}}
{more}"""


QUEUE = document('{group: "${{ input.host }}"}')


async def deploy(loop: Loop, event_id: str, host: object = "web") -> str:
    """An event that asks for a deployment; returns the run's id."""
    await loop.event(EVENT, {"host": host}, event_id=event_id)

    async def started() -> str | None:
        for record in (await loop.reader.inbox(limit=1_000)).items:
            if record.id == event_id:
                return record.runs[0] if record.runs else ""
        return None

    return await eventually(started, what=f"event {event_id} in the inbox", every=0.005)


async def finish(loop: Loop, run_id: str) -> None:
    """The next command is this run's, and it succeeds."""
    command = await loop.command()
    assert command.run_id == run_id
    await loop.answer(command)
    await loop.status(run_id, "succeeded")


def names(metrics: bytes, name: str) -> float:
    """A figure of the metrics."""
    found = re.search(rf"^{name} (\S+)$", metrics.decode(), re.MULTILINE)
    assert found is not None
    return float(found[1])


async def test_one_after_another(tmp_path: Path) -> None:
    """Of one group one run is under way; the others are queued, send nothing, and begin by age."""
    async with Loop(tmp_path) as loop:
        await loop.apply(QUEUE)
        runs = [await deploy(loop, str(n)) for n in range(3)]
        other = await deploy(loop, "other", "db")
        assert [str((await loop.run(run)).status) for run in runs] == ["running", "queued", "queued"]
        assert (await loop.run(runs[1])).reason == "waits for room in group web"
        assert (await loop.run(other)).status == "running"
        first, free = await loop.command(), await loop.command()
        assert [first.run_id, free.run_id] == [runs[0], other]
        await until(lambda: names(loop.metrics.render(), "baton_runs_queued") == 2)
        await loop.answer(first)
        await finish(loop, runs[1])
        await finish(loop, runs[2])
        await until(lambda: names(loop.metrics.render(), "baton_runs_queued") == 0)
        assert len(loop.commands) == 4


async def test_higher_priority_is_admitted_first(tmp_path: Path) -> None:
    """Two workflows share a group; the urgent one goes first although it came last."""
    async with Loop(tmp_path) as loop:
        await loop.apply(document("{group: shared}"))
        runs = [await deploy(loop, str(n)) for n in range(2)]
        await loop.apply(
            document("{group: shared}", "urgent", "priority: 9\n").replace(EVENT, "com.example.now")
        )
        urgent = await loop.coordinator.submit(StartRun("urgent", input={}))
        assert (await loop.run(urgent)).status == "queued"
        await finish(loop, runs[0])
        await finish(loop, urgent)
        await finish(loop, runs[1])


async def test_reject(tmp_path: Path) -> None:
    """The event is `rejected` and says by whom; the API gets a conflict with the ids."""
    async with Loop(tmp_path) as loop:
        await loop.apply(document("{group: all, on_conflict: reject}"))
        run = await deploy(loop, "1")
        await loop.event(EVENT, {"host": "web"}, event_id="2")
        record = (await loop.inbox(2))[0]
        assert record.outcome == "rejected"
        assert "group 'all'" in record.reason
        assert run in record.reason
        with pytest.raises(Conflict) as caught:
            await loop.coordinator.submit(StartRun("deploy", input={}))
        assert caught.value.code == "group_busy"
        assert caught.value.details == {"group": "all", "runs": [run]}
        await finish(loop, run)
        assert await deploy(loop, "3")


async def test_cancel_running(tmp_path: Path) -> None:
    """Who is under way is undone, who queues is replaced; the newest begins when both have ended."""
    async with Loop(tmp_path) as loop:
        await loop.apply(document("{group: all, on_conflict: cancel_running}"))
        running = await deploy(loop, "1")
        command = await loop.command()
        replaced = await deploy(loop, "2")
        newest = await deploy(loop, "3")
        await loop.status(replaced, "cancelled")
        assert (await loop.run(newest)).status == "queued"
        assert (await loop.command()).kind == "cancel"
        await loop.answer(command, "cancelled")
        await loop.answer(await loop.command())  # its undo: it was killed after it had started
        ended = await loop.status(running, "cancelled")
        assert newest in ended.reason or replaced in ended.reason
        await finish(loop, newest)
        assert all(command.run_id != replaced for command in loop.commands)


async def test_a_queued_run_can_be_cancelled(tmp_path: Path) -> None:
    """It ends `cancelled`, having done nothing, and its key is free."""
    async with Loop(tmp_path) as loop:
        await loop.apply(QUEUE)
        runs = [await deploy(loop, str(n)) for n in range(3)]
        await loop.coordinator.submit(InputForRun(runs[1], CancelRun(who="me", reason="no longer")))
        assert (await loop.run(runs[1])).status == "cancelled"
        await finish(loop, runs[0])
        await finish(loop, runs[2])


@pytest.mark.parametrize("host", [None, "", ["a"]])
async def test_what_names_no_group_is_refused(tmp_path: Path, host: object) -> None:
    """Like an input that does not fit, with the reason."""
    async with Loop(tmp_path) as loop:
        await loop.apply(QUEUE)
        await loop.event(EVENT, {"host": host})
        (record,) = await loop.inbox(1)
        assert record.outcome == "rejected"
        assert "concurrency.group" in record.reason
        with pytest.raises(InvalidInput, match=r"concurrency\.group"):
            await loop.coordinator.submit(StartRun("deploy", input={"host": host}))


async def test_after_a_crash_the_order_is_the_same(tmp_path: Path) -> None:
    """Who queued still queues; who has room is admitted, also if the crash came between the two."""
    async with Loop(tmp_path) as loop:
        await loop.apply(QUEUE)
        runs = [await deploy(loop, str(n)) for n in range(3)]
        command = await loop.command()
        await loop.crash()
        await loop.start()
        assert [str((await loop.run(run)).status) for run in runs] == ["running", "queued", "queued"]
        await loop.answer(command)
        await loop.status(runs[0], "succeeded")
        await loop.crash()  # perhaps before the next one was admitted
        await loop.start()
        await finish(loop, runs[1])
        await finish(loop, runs[2])


async def test_room_left_by_a_former_life_is_given_away(tmp_path: Path) -> None:
    """The run ended, and the crash came before anybody was admitted."""
    async with Loop(tmp_path) as loop:
        await loop.apply(QUEUE)
        runs = [await deploy(loop, str(n)) for n in range(2)]
        loop.coordinator._starting.groups.admissible = list  # type: ignore[method-assign]
        await finish(loop, runs[0])
        assert (await loop.run(runs[1])).status == "queued"
        await loop.crash()
        await loop.start()
        await finish(loop, runs[1])


async def test_queued_runs_are_bounded_but_not_counted_as_active(tmp_path: Path) -> None:
    """Many may queue while few may be active; past their own limit events wait on the broker."""
    async with Loop(tmp_path, max_active_runs=2, max_queued_runs=4) as loop:
        await loop.apply(QUEUE)
        runs = [await deploy(loop, str(n)) for n in range(5)]
        assert (await loop.run(runs[4])).status == "queued"
        with pytest.raises(Unreachable) as caught:
            await loop.coordinator.submit(StartRun("deploy", input={"host": "db"}))
        assert caught.value.code == "too_many_runs"
        assert "queued" in caught.value.message
        await loop.event(EVENT, {"host": "db"}, event_id="late")
        await until(lambda: loop.waiting("baton.events.inbox") == 1, what="the event to wait on the broker")
        await finish(loop, runs[0])
        assert (await loop.inbox(6))[0].id == "late"
        assert await loop.store.stranded(10) == []


async def test_a_child_in_its_parents_group_is_refused(tmp_path: Path) -> None:
    """It would wait for its parent for ever: its step fails with a code that says so."""
    parent = """
workflow: parent
concurrency: {group: g}
steps:
  - {id: call, workflow: between}
"""
    between = """
workflow: between
steps:
  - {id: call, workflow: child}
"""
    child = """
workflow: child
concurrency: {group: g, limit: 5}
steps:
  - {id: a, action: do.it, target: h1}
"""
    async with Loop(tmp_path) as loop:
        for text in (child, between, parent):
            await loop.apply(text)
        run_id = await loop.coordinator.submit(StartRun("parent"))
        run = await loop.status(run_id, "failed")
        assert "group" in run.reason
        grandchild = await loop.run(run.steps["call"][0].child)
        assert grandchild.failure is not None
        assert grandchild.failure.code == "child_failed" or "group_deadlock" in str(grandchild.steps)
        assert "group_deadlock" in str(grandchild.steps["call"][0].error)
        assert loop.commands == []


async def test_children_in_one_group_run_one_after_another(tmp_path: Path) -> None:
    """A child that is done waits for its parent, but not in the next child's way."""
    parent = """
workflow: parent
steps:
  - {id: call, workflow: child, foreach: "[1, 2, 3]"}
"""
    child = """
workflow: child
concurrency: {group: g}
steps:
  - {id: a, action: do.it, target: h1}
"""
    async with Loop(tmp_path) as loop:
        await loop.apply(child)
        await loop.apply(parent)
        run_id = await loop.coordinator.submit(StartRun("parent"))
        for number in range(3):
            command = await loop.command()
            assert len(loop.commands) == number + 1
            await loop.answer(command)
        await loop.status(run_id, "succeeded")


async def test_a_queued_run_keeps_to_the_limit_of_its_version(tmp_path: Path) -> None:
    """A new version with more room is for new runs; one that queues may be moved to it."""
    async with Loop(tmp_path) as loop:
        await loop.apply(QUEUE)
        runs = [await deploy(loop, str(n)) for n in range(2)]
        await loop.apply(QUEUE.replace("}\nsteps", ", limit: 2}\nsteps"))
        late = await deploy(loop, "late")
        assert [str((await loop.run(run)).status) for run in (*runs, late)] == ["running", "queued", "queued"]
        wider = loop.coordinator.definitions.current["deploy"]
        await loop.coordinator.submit(InputForRun(runs[1], MoveRun(to=wider, who="me")))
        await loop.status(runs[1], "running")
        assert (await loop.run(late)).status == "queued"
        await finish(loop, runs[0])
        await finish(loop, runs[1])
        await finish(loop, late)


async def test_a_fault_in_an_admission_does_not_lose_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is set aside, and made when the coordinator looks again."""
    faults = [True]
    begin = GroupsInBatch.may_begin

    def broken(self: GroupsInBatch, run_id: str) -> bool:
        if faults:
            faults.pop()
            raise RuntimeError("made up by a test")
        return begin(self, run_id)

    monkeypatch.setattr(GroupsInBatch, "may_begin", broken)
    async with Loop(tmp_path, reconcile_every=0.05) as loop:
        await loop.apply(QUEUE)
        runs = [await deploy(loop, str(n)) for n in range(2)]
        await finish(loop, runs[0])
        await finish(loop, runs[1])
        assert faults == []


def crossed(name: str, own: str, of_child: str) -> tuple[str, str]:
    """A workflow in a group, which sleeps and then starts a child in another one; and that child's."""
    first = f"""
workflow: {name}
concurrency: {{group: {own}}}
steps:
  - {{id: first, action: do.it, target: h1, compensate: {{action: undo.it}}}}
  - {{id: call, workflow: {name}-child}}
"""
    second = f"""
workflow: {name}-child
concurrency: {{group: {of_child}}}
steps:
  - {{id: a, action: do.it, target: h1}}
"""
    return first, second


async def both_under_way(loop: Loop) -> tuple[str, str]:
    """Two runs that hold a group each; the child of the first queues for the second's."""
    for text in (*crossed("one", "g1", "g2"), *crossed("two", "g2", "g1")):
        await loop.apply(text)
    one = str(await loop.coordinator.submit(StartRun("one")))
    two = str(await loop.coordinator.submit(StartRun("two")))
    commands = {command.run_id: command for command in [await loop.command() for _ in range(2)]}
    await loop.answer(commands[one])

    async def queued() -> bool | None:
        return [str(run.status) for run in await loop.runs(parent=one)] == ["queued"] or None

    await eventually(queued, what="the child to queue", every=0.005)
    await loop.crash()
    await loop.start()
    await loop.answer(commands[two])
    return one, two


async def test_rule_12_groups_that_would_wait_for_each_other(tmp_path: Path) -> None:
    """The child that would close the circle fails its step, also after a restart; the other run goes on."""
    async with Loop(tmp_path) as loop:
        one, two = await both_under_way(loop)
        undo = await loop.command()
        assert (undo.action, undo.run_id) == ("undo.it", two)
        run = await loop.run(two)
        assert run.failure is not None
        assert run.failure.code == "group_circle"
        assert "'g1', 'g2'" in run.reason
        await loop.answer(undo)
        await loop.status(two, "compensated")
        await loop.answer(await loop.command())
        await loop.status(one, "succeeded")


async def test_rule_12_groups_that_wait_for_each_other_are_an_alarm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it was not seen beforehand, the runs that queue for ever are counted as stranded."""
    monkeypatch.setattr(GroupsInBatch, "_check_circle", lambda *_: None)
    async with Loop(tmp_path, reconcile_every=0.02) as loop:
        await both_under_way(loop)
        await until(lambda: names(loop.metrics.render(), "baton_runs_stranded") == 2)

"""Child runs in the coordinator's loop: started, heard of, undone and let go, whatever dies in between."""

from pathlib import Path

import pytest

from orchestrator.core.inputs import CancelRun
from orchestrator.core.model import Run, RunStatus, StepStatus, child_id
from orchestrator.loop.intake import InputForRun, StartRun
from schemas.messages import Command, CommandKind
from tests.support.loop import Loop
from tests.support.waiting import eventually

KID = """
workflow: kid
input: {type: object, required: [n], properties: {n: {type: integer}}}
steps:
  - {id: work, action: kid.work, target: h1, with: {n: "${{ input.n }}"}, compensate: {action: kid.undo}}
output: {twice: "${{ input.n * 2 }}"}
"""
PARENT = """
workflow: parent
steps:
  - {id: kids, workflow: kid, foreach: "[1, 2]", with: {n: "${{ item }}"}}
  - {id: last, action: parent.last, target: h1, with: {sum: "${{ steps.kids.output[0].twice }}"}}
"""


def succeed(_: Command) -> str:
    """Whatever is asked of it, the agent does."""
    return "succeeded"


def fail_last(command: Command) -> str | None:
    """The parent's own step fails."""
    return "failed" if command.action == "parent.last" else "succeeded"


async def start(loop: Loop, workflow: str = "parent") -> str:
    """Start a run by hand; its id."""
    return str(await loop.coordinator.submit(StartRun(workflow)))


async def family(loop: Loop, parent: str) -> list[Run]:
    """The parent and its child runs."""
    return [await loop.run(parent), *await loop.runs(parent=parent)]


async def ended(loop: Loop, parent: str, *statuses: str) -> list[Run]:
    """The parent and its children, once they have these statuses."""

    async def look() -> list[Run] | None:
        found = await family(loop, parent)
        return found if [run.status for run in found] == list(statuses) else None

    return await eventually(look, what=f"the family to be {statuses}", every=0.005)


async def at_rest(loop: Loop) -> None:
    """Nothing is left to be told, and nothing would be stranded."""

    async def look() -> bool | None:
        return await loop.store.signals() == [] or None

    await eventually(look, what="every signal to be delivered", every=0.005)
    assert await loop.store.stranded(10) == []


async def test_rule_10_child_runs_are_held_until_their_parent_ends(tmp_path: Path) -> None:
    """They have no key, their parent's trace and ids that follow from it; their output is the step's."""
    async with Loop(tmp_path) as loop:
        loop.reply = lambda command: "succeeded" if command.action == "kid.work" else None
        await loop.apply(KID)
        await loop.apply(PARENT)
        parent_id = await start(loop)
        last = [await loop.command() for _ in range(3)][-1]
        assert (last.action, last.args) == ("parent.last", {"sum": 2})
        parent, *kids = await family(loop, parent_id)
        assert [kid.head.id for kid in kids] == [child_id(parent_id, "kids", index, 1) for index in range(2)]
        assert {kid.head.trace.trace_id for kid in kids} == {parent.head.trace.trace_id}
        assert [(kid.status, kid.held, kid.head.key) for kid in kids] == [(RunStatus.RUNNING, True, "")] * 2
        await at_rest(loop)
        await loop.answer(last)
        await ended(loop, parent_id, "succeeded", "succeeded", "succeeded")
        await at_rest(loop)


async def test_rule_10_children_are_undone_when_their_parent_goes_back(tmp_path: Path) -> None:
    """Each runs its own undos, and only then the parent has gone back."""
    async with Loop(tmp_path) as loop:
        loop.reply = fail_last
        await loop.apply(KID)
        await loop.apply(PARENT)
        parent_id = await start(loop)
        await ended(loop, parent_id, "compensated", "compensated", "compensated")
        assert sum(command.action == "kid.undo" for command in loop.commands) == 2
        await at_rest(loop)


async def test_rule_9_cancelling_the_parent_cancels_its_children(tmp_path: Path) -> None:
    """A child that is under way is stopped, and the parent ends after it."""
    async with Loop(tmp_path) as loop:
        loop.reply = lambda command: "cancelled" if command.kind is CommandKind.CANCEL else None
        await loop.apply(KID)
        await loop.apply(PARENT)
        parent_id = await start(loop)
        asked = [await loop.command() for _ in range(2)]
        await loop.coordinator.submit(InputForRun(parent_id, CancelRun("eva", "enough")))
        for _ in range(2):
            assert (await loop.command()).kind is CommandKind.CANCEL
        for command in asked:
            await loop.answer(command, "cancelled")
        for command in [await loop.command() for _ in range(2)]:
            assert command.action == "kid.undo"
            await loop.answer(command)
        await ended(loop, parent_id, "cancelled", "cancelled", "cancelled")
        await at_rest(loop)


@pytest.mark.parametrize(
    ("child", "code", "words"),
    [
        ("workflow: nobody", "no_such_workflow", "nobody"),
        ("workflow: kid, with: {n: text}", "bad_input", "n"),
        ("workflow: kid, with: {n: 1}", "too_deep", "deeper"),
    ],
)
async def test_a_child_that_cannot_be_started_fails_its_step(
    child: str, code: str, words: str, tmp_path: Path
) -> None:
    """The step says why; no run comes of it."""
    deep = code == "too_deep"
    async with Loop(tmp_path, max_child_depth=1) as loop:
        await loop.apply(KID)
        await loop.apply(f"workflow: inner\nsteps:\n  - {{id: kids, {child}}}\n")
        await loop.apply("workflow: outer\nsteps:\n  - {id: inner, workflow: inner}\n")
        run_id = await start(loop, "outer" if deep else "inner")
        run = await loop.status(run_id, "failed")
        if deep:
            [run] = await loop.runs(parent=run_id)
        error = run.steps["kids"][0].error
        assert error is not None
        assert (error.code, words in error.message) == (code, True)
        assert len(await loop.runs()) == 1 + deep
        await at_rest(loop)


async def play(loop: Loop, parent_id: str, end: str) -> None:
    """Let the family come to its end, with a new life when this one ends."""

    async def look() -> bool | None:
        if loop.running.done():
            await loop.crash()
            await loop.start()
        found = await family(loop, parent_id)
        return [run.status for run in found] == [end] * 3 or None

    await eventually(look, what="the family's end", every=0.005)


@pytest.mark.parametrize("when", ["before the commit", "after the commit"])
@pytest.mark.parametrize("end", ["succeeded", "compensated"])
async def test_rule_10_whatever_dies_the_family_comes_to_its_end(end: str, when: str, tmp_path: Path) -> None:
    """The coordinator dies at each commit in turn: no child starts twice, no signal is lost."""
    async with Loop(tmp_path) as loop:
        loop.reply = succeed if end == "succeeded" else fail_last
        await loop.apply(KID)
        await loop.apply(PARENT)
        deaths, died = 0, True
        while died:
            seen = len(loop.commands)
            parent_id = await start(loop)
            life = loop.running
            loop.break_commit(deaths + 1, written=when == "after the commit")
            await play(loop, parent_id, end)
            await at_rest(loop)
            died = loop.running is not life
            deaths += died
            kids = (await family(loop, parent_id))[1:]
            assert all(kid.steps["work"][0].status is not StepStatus.FAILED for kid in kids)
            done = sorted(command.action for command in loop.commands[seen:])
            undos = ["kid.undo"] * 2 if end == "compensated" else []
            assert done == [*undos, "kid.work", "kid.work", "parent.last"]
            if not died:
                await loop.crash()
                await loop.start()
        # What answers another can never share its commit: the work, the last step, its end.
        assert deaths >= 3

"""Agents as the coordinator's loop knows them: live or not, how busy; and what is sent first."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from orchestrator.core.inputs import ReleaseRun
from orchestrator.core.model import StepStatus
from orchestrator.loop.intake import StartRun
from orchestrator.store.port import Batch, StoredSignal
from schemas.errors import InvalidInput
from schemas.messages import Command, CommandKind
from tests.support.loop import FAILED, Loop
from tests.support.waiting import eventually, until

WEB = {"role": "web"}
ONE = "workflow: one\nsteps: [{id: a, action: do.it, target: {labels: {role: web}}, retry: {attempts: 1}}]\n"
ALL = """
workflow: all
steps:
  - id: a
    action: do.it
    target: {labels: {role: web}, all: true}
    rollout: {batch: 2}
    retry: {attempts: 1}
    compensate: {action: undo.it}
  - {id: b, action: do.more, target: h1, retry: {attempts: 1}}
"""


async def start(loop: Loop, workflow: str) -> str:
    """Start a run by hand; its id."""
    return str(await loop.coordinator.submit(StartRun(workflow)))


async def busy(loop: Loop, **commands: int) -> None:
    """So many commands are known to be outstanding."""
    await until(lambda: loop.coordinator._roster.registry.busy == commands, what=f"{commands} to be busy")


def hosts_of(loop: Loop, action: str) -> list[str]:
    """Who got a command for this action, in the order in which they got it."""
    return [loop.taker[command.id] for command in loop.commands if command.action == action]


async def test_the_least_busy_live_agent_is_chosen_also_within_a_batch(tmp_path: Path) -> None:
    """Of many runs at once each agent gets its share; a restart counts again what is outstanding."""
    async with Loop(tmp_path, hosts=("h1", "h2", "h3")) as loop:
        for host in loop.hosts:
            await loop.announce(host, WEB if host != "h3" else {"role": "db"})
        await loop.apply(ONE)
        await asyncio.gather(*(start(loop, "one") for _ in range(6)))
        asked = [await loop.command() for _ in range(6)]
        assert sorted(hosts_of(loop, "do.it")) == ["h1"] * 3 + ["h2"] * 3
        await busy(loop, h1=3, h2=3)
        for command in [one for one in asked if loop.taker[one.id] == "h2"]:
            await loop.answer(command)
            await loop.status(command.run_id, "succeeded")
        await busy(loop, h1=3)
        await loop.crash()
        await loop.start()
        await busy(loop, h1=3)
        for _ in range(3):
            await start(loop, "one")
        await until(lambda: len(loop.commands) == 9, what="the commands")
        assert hosts_of(loop, "do.it")[-3:] == ["h2"] * 3


async def test_who_is_silent_or_stops_is_not_chosen(tmp_path: Path) -> None:
    """Nobody live is an error that says so, and an announcement mends it; restarts forget nobody."""
    async with Loop(tmp_path, hosts=("h1", "h2"), agent_live_for=100.0) as loop:
        await loop.announce("h1", WEB)
        await loop.announce("h2", WEB, stopping=True)
        await loop.apply(ONE)
        await loop.crash()
        await loop.start()
        await start(loop, "one")
        assert loop.taker[(await loop.command()).id] == "h1"
        loop.world.skip(101)
        run = await loop.status(await start(loop, "one"), "failed")
        error = run.steps["a"][0].error
        assert error is not None
        assert error.code == "no_live_agent"
        await loop.announce("h2", WEB)
        await start(loop, "one")
        assert loop.taker[(await loop.command()).id] == "h2"


async def test_a_rollout_goes_over_every_live_agent_in_batches(tmp_path: Path) -> None:
    """Hosts in name order, a batch after the other; where a host fails, those done are undone, last first."""
    async with Loop(tmp_path, hosts=("h1", "h2", "h3", "h4")) as loop:
        for host in loop.hosts[:3]:
            await loop.announce(host, WEB)
        await loop.announce("h4", {"role": "db"})
        await loop.apply(ALL)
        run_id = await start(loop, "all")
        first = [await loop.command() for _ in range(2)]
        await loop.crash()
        await loop.start()
        assert hosts_of(loop, "do.it") == ["h1", "h2"]
        for command in first:
            await loop.answer(command)
        await loop.answer(await loop.command())
        assert hosts_of(loop, "do.it") == ["h1", "h2", "h3"]
        await loop.answer(await loop.command(), "failed", error=FAILED)
        for _ in range(3):
            undo = await loop.command()
            assert undo.kind is CommandKind.COMPENSATE
            await loop.answer(undo)
        run = await loop.status(run_id, "compensated")
        assert hosts_of(loop, "undo.it")[0] == "h3"
        assert {task.status for task in run.steps["a"]} == {StepStatus.COMPENSATED}
        told = [event["data"].get("host") for key, event in loop.lifecycle if key == "step.succeeded.all"]
        assert told == ["h1", "h2", "h3"]


async def test_more_hosts_than_allowed_fail_the_step(tmp_path: Path) -> None:
    """With the limit in the error."""
    async with Loop(tmp_path, hosts=("h1", "h2", "h3"), max_fan_out=2) as loop:
        for host in loop.hosts:
            await loop.announce(host, WEB)
        await loop.apply(ALL)
        run = await loop.status(await start(loop, "all"), "failed")
        assert run.failure is not None
        assert "2" in run.failure.message


async def test_a_document_with_more_steps_than_allowed_is_refused(tmp_path: Path) -> None:
    """The error names the setting."""
    async with Loop(tmp_path, max_steps=1) as loop:
        await loop.apply(ONE)
        with pytest.raises(InvalidInput, match="2 steps") as caught:
            await loop.apply(ALL)
        assert (caught.value.code, "max_steps" in caught.value.hint) == ("too_many_steps", True)


@pytest.mark.parametrize(
    ("setting", "value", "code", "step"),
    [
        ("max_expression", 20, "expression_too_long", "sleep: '${{ \"1s\" + string(input.much) }}'"),
        ("max_expression", 20, "expression_too_long", "if: 'input.much.less == 12345', sleep: 1s"),
        ("max_expression_cost", 2, "expression_too_costly", "foreach: 'input.l.map(a, a+a+a)', sleep: 1s"),
        ("max_wait_days", 2, "wait_too_long", "sleep: 3d"),
        ("max_wait_days", 2, "wait_too_long", "wait_for: {event: a.b, timeout: 49h}"),
        ("max_wait_days", 2, "wait_too_long", "approve: {}"),
    ],
)
async def test_a_document_beyond_a_lowered_limit_is_refused(
    tmp_path: Path, setting: str, value: int, code: str, step: str
) -> None:
    """The error names the setting; with the default it is stored."""
    document = f"{{workflow: w, steps: [{{id: a, {step}}}]}}"
    lowered: dict[str, Any] = {setting: value}
    async with Loop(tmp_path, **lowered) as loop:
        with pytest.raises(InvalidInput) as caught:
            await loop.apply(document)
        assert (caught.value.code, setting in caught.value.hint) == (code, True)
    async with Loop(tmp_path) as loop:
        await loop.apply(document)


async def test_what_is_urgent_is_sent_first(tmp_path: Path) -> None:
    """Of the commands of one batch, those of higher priority go out before the others."""
    document = """
workflow: mixed
steps:
  - {id: low, needs: [], action: do.low, target: h1, priority: 1}
  - {id: plain, needs: [], action: do.plain, target: h1}
  - {id: high, needs: [], action: do.high, target: h1, priority: 9}
  - {id: also, needs: [], action: do.also, target: h1}
"""
    async with Loop(tmp_path) as loop:
        await loop.apply(document)
        await start(loop, "mixed")
        commands = [await loop.command() for _ in range(4)]
        assert [command.step for command in commands] == ["high", "plain", "also", "low"]
        assert [command.priority for command in commands] == [9, 5, 5, 1]
        await until(lambda: loop.coordinator._publisher.depth == 0, what="the outbox to be empty")


async def test_a_signal_that_nobody_can_take_is_dropped(tmp_path: Path) -> None:
    """One for a run that is not there, and one that makes no sense to its run; all goes on."""

    def succeed(_: Command) -> str:
        return "succeeded"

    async with Loop(tmp_path) as loop:
        await loop.apply("workflow: w\nsteps: [{id: a, action: do.it, target: h1}]\n")
        run_id = await start(loop, "w")
        asked = await loop.command()
        await loop.crash()
        await loop.store.open()
        signals = [StoredSignal(f"s/{to}", to, ReleaseRun(), 0) for to in ("nobody", run_id)]
        await loop.store.commit(Batch(signals=signals))
        await loop.store.close()
        await loop.start()

        async def none_left() -> bool | None:
            return await loop.store.signals() == [] or None

        await eventually(none_left, what="the signals to be gone", every=0.005)
        loop.reply = succeed
        await loop.answer(asked)
        await loop.status(run_id, "succeeded")

"""The agent's loop: cancel, query, timeout and shutdown, in each state a command can be in."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from agents import Context
from agents.journal import Batch, Journal, Known
from agents.limits import Limits
from runtime.bus.memory import MemoryBroker, MemoryBus
from runtime.sqlite import StorageFailure
from schemas.messages import CommandKind, ResultStatus
from tests.support.actions import QUICK, Bench
from tests.support.agents import about, command, serving
from tests.support.waiting import until

QUERY, CANCEL = CommandKind.QUERY, CommandKind.CANCEL


@pytest.fixture
def bench() -> Bench:
    """The actions."""
    return Bench()


@pytest.mark.parametrize("action", ["hold", "thread"])
async def test_a_running_command_is_cancelled(bench: Bench, tmp_path: Path, action: str) -> None:
    """The result is the original command's, with `started_at`: it may have had effect (rule 4)."""
    async with serving(tmp_path, bench.agent, limits=QUICK) as (desk, _):
        asked = command(action)
        await desk.send(asked)
        await until(lambda: bench.starts)
        await desk.send(about(CANCEL, asked))
        result = await desk.final(asked)
        assert result.status is ResultStatus.CANCELLED
        assert result.started_at is not None
        assert bench.effects == []


@pytest.mark.parametrize("action", ["once", "again"])
async def test_a_cancel_right_behind_its_command_is_in_time(
    bench: Bench, tmp_path: Path, action: str
) -> None:
    """Both come in one batch: it never starts."""
    async with serving(tmp_path, bench.agent) as (desk, _):
        asked = command(action)
        await desk.send(asked, about(CANCEL, asked))
        result = await desk.final(asked)
        assert (result.status, result.started_at, bench.starts) == (ResultStatus.CANCELLED, None, [])


@pytest.mark.parametrize("kind", [CANCEL, QUERY])
async def test_asking_right_behind_a_repetition_gets_the_result(
    bench: Bench, tmp_path: Path, kind: CommandKind
) -> None:
    """A finished command comes again, a question behind it, in one batch: its result, and no new start."""
    async with serving(tmp_path, bench.agent) as (desk, _):
        asked, other = command("once"), command("once", attempt=2)
        await desk.send(asked)
        first = await desk.final(asked)
        await desk.send(asked, about(kind, asked), other)
        assert await desk.final(asked, count=2) == first
        await desk.final(other)
        assert set(desk.of(asked)) == {"succeeded"}
        assert bench.starts == [asked.id, other.id]


async def test_a_finished_command_is_not_cancelled(bench: Bench, tmp_path: Path) -> None:
    """Its result is said again."""
    async with serving(tmp_path, bench.agent) as (desk, _):
        asked = command("once")
        await desk.send(asked)
        first = await desk.final(asked)
        await desk.send(about(CANCEL, asked))
        assert await desk.final(asked, count=2) == first


@pytest.mark.parametrize("kind", [QUERY, CANCEL])
async def test_what_was_never_seen_becomes_a_tombstone(
    bench: Bench, tmp_path: Path, kind: CommandKind
) -> None:
    """`never_seen`, and then it must not start, nor after a restart; asking again says the same."""
    broker, asked = MemoryBroker(), command("again")
    async with serving(tmp_path, bench.agent, broker=broker) as (desk, _):
        await desk.send(about(kind, asked))
        result = await desk.final(asked)
        assert (result.status, result.started_at, result.epoch) == (ResultStatus.NEVER_SEEN, None, 3)
        assert (result.run_id, result.step, result.attempt) == (asked.run_id, asked.step, asked.attempt)
    async with serving(tmp_path, bench.agent, broker=broker) as (desk, _):
        await desk.send(asked)
        result = await desk.final(asked)
        assert (result.status, result.started_at) == (ResultStatus.CANCELLED, None)
        await desk.send(about(QUERY, asked))
        assert (await desk.final(asked, count=2)).status is ResultStatus.NEVER_SEEN
    assert bench.starts == []


async def test_a_tombstone_holds_within_one_batch(bench: Bench, tmp_path: Path) -> None:
    """A cancel overtaking its command by a moment is still first."""
    async with serving(tmp_path, bench.agent) as (desk, _):
        asked = command("again")
        await desk.send(about(CANCEL, asked), asked)
        await desk.final(asked, count=2)
        assert desk.of(asked) == ["never_seen", "cancelled"]
        assert bench.starts == []


async def test_a_query_says_how_it_stands(bench: Bench, tmp_path: Path) -> None:
    """Running: `started`. Waiting its turn: `progress` without `started_at`. Finished: its result."""
    limits = Limits(announce_after=60)
    async with serving(tmp_path, bench.agent, concurrency=1, limits=limits) as (desk, _):
        running, waiting = command("hold"), command("hold", attempt=2)
        await desk.send(running, waiting)
        await until(lambda: bench.starts)
        await desk.send(about(QUERY, running), about(QUERY, waiting))
        await until(lambda: desk.of(running) and desk.of(waiting))
        assert (desk.of(running), desk.of(waiting)) == (["started"], ["progress"])
        assert {result.command_id: bool(result.started_at) for result in desk.results} == {
            running.id: True,
            waiting.id: False,
        }
        bench.go.set()
        first = await desk.final(running)
        await desk.send(about(QUERY, running))
        assert await desk.final(running, count=2) == first


@pytest.mark.parametrize("action", ["hold", "thread"])
async def test_a_timeout_is_kept_by_the_agent(bench: Bench, tmp_path: Path, action: str) -> None:
    """Stopped, and said so, with `started_at`."""
    async with serving(tmp_path, bench.agent) as (desk, _):
        asked = command(action, timeout=0.1)
        await desk.send(asked)
        result = await desk.final(asked)
        assert result.status is ResultStatus.TIMED_OUT
        assert result.started_at is not None
        assert result.error is not None
        assert result.error.code == "timed_out"


@pytest.mark.parametrize(("action", "args"), [("stubborn", {}), ("thread", {"polite": False})])
async def test_what_does_not_stop_is_unknown(
    bench: Bench, tmp_path: Path, action: str, args: dict[str, Any]
) -> None:
    """Nobody may take it for stopped (rule 7), and others get its place."""
    async with serving(tmp_path, bench.agent, limits=QUICK, concurrency=1) as (desk, _):
        asked, other = command(action, args, timeout=0.05), command("once", attempt=2)
        await desk.send(asked, other)
        result = await desk.final(asked)
        assert result.status is ResultStatus.UNKNOWN
        assert result.started_at is not None
        assert (await desk.final(other)).status is ResultStatus.SUCCEEDED
        bench.go.set()
        bench.thread_go.set()


async def test_work_that_was_done_counts_although_it_was_cancelled(bench: Bench, tmp_path: Path) -> None:
    """An action that returns after all has succeeded, whatever it was told."""

    @bench.agent.action("finish")
    async def finish(ctx: Context) -> str:
        bench.starts.append(ctx.command_id)
        try:
            await bench.go.wait()
        except asyncio.CancelledError:
            return "done"
        return "never"

    async with serving(tmp_path, bench.agent) as (desk, _):
        asked = command("finish")
        await desk.send(asked)
        await until(lambda: bench.starts)
        await desk.send(about(CANCEL, asked))
        result = await desk.final(asked)
        assert (result.status, result.output) == (ResultStatus.SUCCEEDED, "done")


async def test_stopping_gives_running_actions_a_grace(bench: Bench, tmp_path: Path) -> None:
    """What ends within it is told, what does not is `cancelled` with `started_at`; what waits stays."""
    broker = MemoryBroker()
    asked = {name: command(name, step=name) for name in ("hold", "thread")}
    waiting = command("once", step="waiting")
    async with serving(tmp_path, bench.agent, broker=broker, concurrency=2, limits=QUICK) as (desk, _):
        await desk.send(*asked.values(), waiting)
        await until(lambda: len(bench.starts) == 2)
        asyncio.get_running_loop().call_later(0.05, bench.go.set)  # within the grace
    assert desk.of(asked["hold"])[-1] == "succeeded"
    (stopped,) = [r for r in desk.results if r.command_id == asked["thread"].id and r.status.is_final]
    assert stopped.status is ResultStatus.CANCELLED
    assert stopped.started_at is not None
    assert desk.of(waiting) == []
    async with serving(tmp_path, bench.agent, broker=broker) as (desk, _):
        assert (await desk.final(waiting)).status is ResultStatus.SUCCEEDED


@pytest.mark.timeout(20)  # it is about what would wait for ever
@pytest.mark.parametrize("stopped", [False, True])
async def test_a_disk_that_fails_before_a_start_ends_the_agent(
    bench: Bench,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stopped: bool,  # noqa: FBT001
) -> None:
    """The start cannot be journaled: nothing starts, and the agent ends, also if it was just told to."""
    write, refused = Journal.write, asyncio.Event()
    buses: list[MemoryBus] = []

    def seen(bus: MemoryBus) -> MemoryBus:
        buses.append(bus)
        return bus

    async def full(self: Journal, batch: Batch) -> dict[int, Known]:
        if batch.started:
            refused.set()
            raise StorageFailure("the disk is full")
        return await write(self, batch)

    monkeypatch.setattr(Journal, "write", full)

    async def meet() -> None:
        async with serving(tmp_path, bench.agent, wrap=seen) as (desk, _):
            await desk.send(command("once"))
            await refused.wait()
            if not stopped:
                await until(lambda: not buses[0].connected)

    with pytest.raises(StorageFailure):
        await meet()
    assert bench.starts == []

"""The agent's loop and its bus: repeated, unreadable, held back and unconfirmed messages."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from agents.intake import Workshop
from agents.limits import Limits
from runtime.bus.memory import MemoryBroker, MemoryBus
from runtime.bus.port import Declarations, Message, PublishOutcome
from schemas.messages import Command, CommandKind, ResultStatus
from schemas.names import REASON_HEADER
from tests.support.actions import QUICK, Bench
from tests.support.agents import about, command, serving
from tests.support.waiting import until

QUERY, CANCEL = CommandKind.QUERY, CommandKind.CANCEL


@pytest.fixture
def bench() -> Bench:
    """The actions."""
    return Bench()


@pytest.mark.parametrize("action", ["once", "again"])
async def test_a_finished_command_that_comes_again_is_answered_from_the_journal(
    bench: Bench, tmp_path: Path, action: str
) -> None:
    """The same result, not another start; also after a restart (rule 8 makes the second result harmless)."""
    broker, asked = MemoryBroker(), command(action)
    async with serving(tmp_path, bench.agent, broker=broker) as (desk, _):
        await desk.send(asked, asked)
        first = await desk.final(asked)
        await desk.send(asked)
        assert await desk.final(asked, count=2) == first
    async with serving(tmp_path, bench.agent, broker=broker) as (desk, _):
        await desk.send(asked)
        assert await desk.final(asked) == first
    assert len(bench.starts) == 1


async def test_a_running_command_that_comes_again_is_not_started_again(bench: Bench, tmp_path: Path) -> None:
    """One that was announced is announced again."""
    async with serving(tmp_path, bench.agent, limits=QUICK) as (desk, _):
        asked = command("hold")
        await desk.send(asked)
        await until(lambda: desk.of(asked)[:1] == ["started"])
        await desk.send(asked)
        await until(lambda: desk.of(asked).count("started") == 2)
        bench.go.set()
        await desk.final(asked)
        assert bench.starts == [asked.id]


async def test_at_most_so_many_run_at_once(bench: Bench, tmp_path: Path) -> None:
    """The others wait in order, and a cancelled one leaves the queue without having started."""
    async with serving(tmp_path, bench.agent, concurrency=2, limits=QUICK) as (desk, _):
        asked = [command("hold", attempt=n + 1) for n in range(5)]
        await desk.send(*asked)
        await until(lambda: len(bench.starts) == 2)
        await desk.send(about(CANCEL, asked[3]))
        result = await desk.final(asked[3])
        assert (result.status, result.started_at) == (ResultStatus.CANCELLED, None)
        bench.go.set()
        for each in (asked[0], asked[1], asked[2], asked[4]):
            assert (await desk.final(each)).status is ResultStatus.SUCCEEDED
        assert bench.starts == [asked[n].id for n in (0, 1, 2, 4)]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "malformed"),
        (b"not json", "malformed"),
        (b"[]", "malformed"),
        (b'{"id": "x"}', "malformed"),
        (b"[" * 100_000, "too_deep"),
        (b"x" * 1_100_000, "too_large"),
        (b"\xff\xfe", "malformed"),
    ],
)
async def test_what_cannot_be_read_goes_to_the_dead_letters(
    bench: Bench, tmp_path: Path, body: bytes, reason: str
) -> None:
    """With the reason and where it came from; the agent goes on."""
    async with serving(tmp_path, bench.agent) as (desk, _):
        await desk.send_raw(body)
        (letter,) = await desk.dead()
        assert letter.body == body
        assert letter.headers[REASON_HEADER].startswith(reason)
        assert letter.headers["x-baton-queue"] == desk.topology.agent_queue("a")
        assert letter.headers["x-baton-exchange"] == desk.topology.commands
        asked = command("once")
        await desk.send(asked)
        await desk.final(asked)


async def test_a_fault_of_ours_costs_one_message(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever goes wrong with one command, it is set aside and the next is served."""
    real = Workshop.prepare

    def faulty(self: Workshop, made: Command, traceparent: str) -> Any:
        return real(self, made, traceparent) if made.attempt > 1 else 1 / 0

    monkeypatch.setattr(Workshop, "prepare", faulty)
    async with serving(tmp_path, bench.agent) as (desk, _):
        asked = [command("once", attempt=1), command("once", attempt=2)]
        await desk.send(*asked)
        assert (await desk.final(asked[1])).status is ResultStatus.SUCCEEDED
        (letter,) = await desk.dead()
        assert letter.headers[REASON_HEADER] == "internal: ZeroDivisionError"


async def test_what_was_held_while_the_network_broke_is_not_ours(bench: Bench, tmp_path: Path) -> None:
    """A pool's command that waited here went to another agent when the connection was lost: it is dropped."""
    broker = MemoryBroker()
    changes: dict[str, Any] = {"pools": ("p",), "concurrency": 1}
    async with serving(tmp_path, bench.agent, broker=broker, **changes) as (desk, runtime):
        asked = [command("hold", attempt=n + 1) for n in range(2)]
        await desk.send(*asked, pool="p")
        await until(lambda: len(runtime._held) == 1)
        (stale,) = runtime._held
        runtime._bus.disconnect()  # type: ignore[attr-defined]
        other = MemoryBus(broker, Declarations())
        await other.start()
        (taken,) = await other.peek(desk.topology.pool_queue("p"), 1)
        assert taken.body == stale.body
        bench.go.set()
        await until(lambda: bench.effects)
        runtime._bus.connect()  # type: ignore[attr-defined]
        assert (await desk.final(asked[0])).status is ResultStatus.SUCCEEDED
        await other.ack([taken])
        await other.stop()
    assert bench.starts == [asked[0].id]


@pytest.mark.parametrize("args", [{}, {"command_id": 1}, {"command_id": ""}, {"command_id": "x" * 300}])
async def test_a_question_about_nothing_goes_to_the_dead_letters(
    tmp_path: Path, args: dict[str, Any]
) -> None:
    """A cancel must say what to cancel."""
    async with serving(tmp_path) as (desk, _):
        await desk.send(command("", args, kind=CANCEL))
        (letter,) = await desk.dead()
        assert "command_id" in letter.headers[REASON_HEADER]


async def test_a_pools_work_goes_to_whoever_is_free(bench: Bench, tmp_path: Path) -> None:
    """An agent with its hands full holds one command of a pool at most; the others go to the free."""
    broker, other = MemoryBroker(), Bench()
    other.go.set()
    limits = Limits(presence_interval=0.02)  # both desks take from one queue of announcements
    changes: dict[str, Any] = {"broker": broker, "pools": ("p",), "concurrency": 1, "limits": limits}
    for part in ("a", "b"):
        (tmp_path / part).mkdir()
    async with serving(tmp_path / "a", bench.agent, **changes) as (desk, _):
        asked = [command("hold", attempt=n + 1) for n in range(6)]
        await desk.send(asked[0], pool="p")
        await until(lambda: bench.starts)
        async with serving(tmp_path / "b", other.agent, name="b", **changes):
            await desk.send(*asked[1:], pool="p")
            await until(lambda: len(other.starts) >= 4)
            bench.go.set()
            for each in asked:
                await until(lambda each=each: each.id in bench.effects + other.effects)  # type: ignore[misc]
    assert sorted(bench.starts + other.starts) == sorted(each.id for each in asked)


async def test_a_full_agent_leaves_commands_with_the_broker(bench: Bench, tmp_path: Path) -> None:
    """Beyond the backlog nothing is journaled or acknowledged until there is room; nothing is lost."""
    limits = Limits(max_backlog=3)
    async with serving(tmp_path, bench.agent, concurrency=1, limits=limits) as (desk, runtime):
        asked = [command("hold", attempt=n + 1) for n in range(10)]
        await desk.send(*asked)
        await until(lambda: len(runtime._held) == 6)
        assert len(runtime._jobs) == 4
        bench.go.set()
        for each in asked:
            assert (await desk.final(each)).status is ResultStatus.SUCCEEDED
        assert bench.starts == [each.id for each in asked]


class FlakyBus(MemoryBus):
    """Swallows the first confirms: the broker has the message, the agent does not know it."""

    def __init__(self, bus: MemoryBus, answers: list[PublishOutcome]) -> None:
        self.__dict__ = bus.__dict__
        self.answers = answers

    async def publish(self, messages: Sequence[Message]) -> list[PublishOutcome]:
        """Publish, and lie about it while there are `answers`."""
        outcomes = await super().publish(messages)
        return [
            self.answers.pop(0)
            if self.answers and ".results" in message.exchange and message.mandatory
            else told
            for message, told in zip(messages, outcomes, strict=True)
        ]


@pytest.mark.parametrize("lie", [PublishOutcome.UNCONFIRMED, PublishOutcome.RETURNED])
async def test_a_result_is_sent_until_it_is_confirmed(
    bench: Bench, tmp_path: Path, lie: PublishOutcome
) -> None:
    """Twice is better than never: the coordinator drops the second (rule 8)."""

    def wrap(bus: MemoryBus) -> FlakyBus:
        return FlakyBus(bus, [lie, lie])

    async with serving(tmp_path, bench.agent, wrap=wrap, limits=QUICK) as (desk, _):
        asked = command("once")
        await desk.send(asked)
        third = await desk.final(asked, count=3)
        assert third == await desk.final(asked)
        assert len(bench.starts) == 1


async def test_results_wait_for_the_broker(bench: Bench, tmp_path: Path) -> None:
    """An action that ends while the connection is gone is told when it is back."""
    broker = MemoryBroker()
    async with serving(tmp_path, bench.agent, broker=broker) as (desk, _):
        asked = command("hold")
        await desk.send(asked)
        await until(lambda: bench.starts)
        broker.go_away()
        bench.go.set()
        await until(lambda: bench.effects)
        broker.come_back()
        assert (await desk.final(asked)).status is ResultStatus.SUCCEEDED
        assert bench.starts == [asked.id]


async def test_a_journal_that_fails_stops_the_agent(bench: Bench, tmp_path: Path) -> None:
    """Nothing is acknowledged, run or published that is not written; the error comes out."""

    async def broken(*_: object) -> None:
        raise OSError("disk full")

    broker, asked = MemoryBroker(), command("again")

    async def serve() -> None:
        async with serving(tmp_path, bench.agent, broker=broker) as (desk, runtime):
            runtime._journal.write = broken  # type: ignore[method-assign, assignment]
            await desk.send(asked)
            await asyncio.wait([runtime_task()], timeout=10)

    with pytest.raises(OSError, match="disk full"):
        await serve()
    assert bench.starts == []
    async with serving(tmp_path, bench.agent, broker=broker) as (desk, _):
        assert (await desk.final(asked)).status is ResultStatus.SUCCEEDED


def runtime_task() -> asyncio.Task[Any]:
    """The task in which the agent lives."""
    (task,) = [task for task in asyncio.all_tasks() if "AgentRuntime.run" in repr(task.get_coro())]
    return task

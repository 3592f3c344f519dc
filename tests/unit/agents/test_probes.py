"""Probes: what is found out about attempts that were lost with their agent (rule 7)."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agents import Agent, Context, Probed
from agents.journal import Batch, Entry, Journal
from agents.limits import Limits
from agents.sdk import Action, ActionError
from runtime.bus.memory import MemoryBroker
from schemas.codec import encode
from schemas.errors import InvalidInput
from schemas.messages import Command, CommandKind, ResultStatus
from schemas.times import from_datetime, to_datetime
from tests.support.agents import Desk, about, command, serving
from tests.support.waiting import until

QUERY, CANCEL, UNDO = CommandKind.QUERY, CommandKind.CANCEL, CommandKind.COMPENSATE
STARTED = from_datetime(datetime.now(UTC)) - 60_000_000

Probe = Callable[..., Any]


class Bank:
    """An action `charge` that must not be done twice, and its probe. `starts` are those of the action."""

    def __init__(self, probe: Probe | None) -> None:
        self.agent = Agent()
        self.starts: list[str] = []
        self.agent.action("charge", compensate=self.refund, probe=probe)(self.charge)

    async def charge(self, ctx: Context, *, amount: int) -> None:
        """The effect."""
        self.starts.append(ctx.command_id)

    async def refund(self, ctx: Context, *, receipt: str) -> None:
        """Its undo, which has arguments of its own."""


async def lose(directory: Path, *asked: Command) -> None:
    """Leave a journal as an agent does that is killed while it runs these commands."""
    journal = Journal(directory / "journal.db")
    await journal.open()
    rows = [Entry(each.id, "received", False, encode(each), "", "0", STARTED, STARTED) for each in asked]
    await journal.write(Batch(received=rows, started=[(STARTED, each.id) for each in asked]))
    await journal.close()


def charge(amount: Any = 5, **changes: Any) -> Command:
    """A command to charge."""
    return command("charge", {"amount": amount}, **changes)


@asynccontextmanager
async def restarted(
    directory: Path, probe: Probe | None, *asked: Command, **changes: Any
) -> AsyncIterator[tuple[Desk, Bank]]:
    """An agent that finds these commands lost, with this probe for them."""
    bank = Bank(probe)
    await lose(directory, *asked)
    async with serving(directory, bank.agent, **changes) as (desk, _):
        yield desk, bank
    assert bank.starts == [], "a lost action was run again"


async def test_a_probe_is_asked_at_the_restart(tmp_path: Path) -> None:
    """With the action's own arguments, checked; what it found is the result, of the attempt that was lost."""
    told: list[tuple[str, int]] = []

    async def probe(ctx: Context, amount: int) -> Probed:
        told.append((ctx.command_id, amount))
        ctx.log("looked")
        return Probed.done({"receipt": "r-1"})

    asked = charge()
    async with restarted(tmp_path, probe, asked) as (desk, _):
        result = await desk.final(asked)
        assert (result.status, result.output, result.error) == ("succeeded", {"receipt": "r-1"}, None)
        assert result.started_at == to_datetime(STARTED)
        assert result.finished_at is not None
        assert result.finished_at > result.started_at
        assert result.log == "looked\n"
        await desk.send(about(QUERY, asked))
        assert await desk.final(asked, count=2) == result
    assert told == [(asked.id, 5)]


async def test_what_never_happened_is_never_seen(tmp_path: Path) -> None:
    """Without `started_at`: it had no effect. And a copy of the command that still comes does not start."""

    async def probe(ctx: Context, **args: Any) -> Probed:
        return Probed.never()

    asked = charge()
    async with restarted(tmp_path, probe, asked) as (desk, _):
        result = await desk.final(asked)
        assert (result.status, result.started_at) == (ResultStatus.NEVER_SEEN, None)
        assert result.error is not None
        assert (result.error.code, result.error.retryable) == ("no_effect", True)
        await desk.send(asked)
        assert await desk.final(asked, count=2) == result


async def _raises(ctx: Context, **args: Any) -> Probed:
    raise ActionError("bank_away", "no connection")


async def _exits(ctx: Context, **args: Any) -> Probed:
    raise SystemExit(1)


async def _cancels(ctx: Context, **args: Any) -> Probed:
    raise asyncio.CancelledError


async def _forgets(ctx: Context, **args: Any) -> None: ...


async def _cannot_tell(ctx: Context, **args: Any) -> Probed:
    return Probed.unknown("the bank has no record yet")


async def _too_much(ctx: Context, **args: Any) -> Probed:
    return Probed.done("x" * 300_000)


async def _hangs(ctx: Context, **args: Any) -> Probed:
    await asyncio.Event().wait()
    return Probed.never()


async def _never_stops(ctx: Context, **args: Any) -> Probed:
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if ctx.cancelled and ctx.attempt > 1:
                raise
            return Probed.done()  # too late to count


def _waits(ctx: Context, **args: Any) -> Probed:
    while not ctx.cancelled:
        threading.Event().wait(0.01)
    return Probed.done()


@pytest.mark.parametrize(
    ("probe", "says"),
    [
        (None, "not known"),
        (_raises, "no connection"),
        (_exits, "SystemExit"),
        (_cancels, "ended itself"),
        (_forgets, "gave NoneType, not a Probed"),
        (_cannot_tell, "the bank has no record yet"),
        (_too_much, "300002 bytes"),
        (_hangs, "longer than 0.05 s"),
        (_never_stops, "longer than 0.05 s"),
        (_waits, "longer than 0.05 s"),
    ],
)
async def test_a_probe_that_gives_no_answer_leaves_it_unknown(
    tmp_path: Path, probe: Probe | None, says: str
) -> None:
    """None at all, one that fails, hangs, talks nonsense or cannot tell: `unknown`, with when it started."""
    asked = charge()
    limits = Limits(probe_timeout=0.05)
    async with restarted(tmp_path, probe, asked, limits=limits) as (desk, _):
        result = await desk.final(asked)
        assert (result.status, result.output) == (ResultStatus.UNKNOWN, None)
        assert result.started_at is not None
        assert result.error is not None
        assert result.error.code == "lost"
        assert says in result.error.message


async def test_a_query_asks_again_while_nobody_knows(tmp_path: Path) -> None:
    """Each query asks the probe anew until it has an answer, which stands, also after a restart."""
    answers = [Probed.unknown(), Probed.unknown(), Probed.done(1), Probed.never()]

    async def probe(ctx: Context, amount: int) -> Probed:
        return answers.pop(0)

    asked, broker = charge(), MemoryBroker()
    async with restarted(tmp_path, probe, asked, broker=broker) as (desk, _):
        await desk.final(asked)
        for count in (2, 3, 4):
            await desk.send(about(QUERY, asked))
            await desk.final(asked, count=count)
        assert desk.of(asked) == ["unknown", "unknown", "succeeded", "succeeded"]
    async with serving(tmp_path, Bank(probe).agent, broker=broker) as (desk, _):
        await desk.send(about(QUERY, asked))
        assert (await desk.final(asked)).output == 1
    assert answers == [Probed.never()]


async def test_a_doubt_left_by_a_former_life_is_cleared_up_by_a_query(tmp_path: Path) -> None:
    """Also when the action had no probe then: the command was kept."""
    asked, broker = charge(), MemoryBroker()
    async with restarted(tmp_path, None, asked, broker=broker) as (desk, _):
        assert (await desk.final(asked)).status is ResultStatus.UNKNOWN

    async def probe(ctx: Context, amount: int) -> Probed:
        return Probed.done(amount)

    async with serving(tmp_path, Bank(probe).agent, broker=broker) as (desk, _):
        await desk.send(about(QUERY, asked))
        result = await desk.final(asked)
        assert (result.status, result.output) == (ResultStatus.SUCCEEDED, 5)


@pytest.mark.parametrize("kind", [QUERY, CANCEL])
async def test_whoever_asks_while_the_probe_looks_hears_that_it_goes_on(
    tmp_path: Path, kind: CommandKind
) -> None:
    """`progress`, and never `unknown`; one probe, and its answer follows. A cancel waits for it likewise."""
    go = asyncio.Event()
    asks: list[str] = []

    async def probe(ctx: Context, amount: int) -> Probed:
        asks.append(ctx.command_id)
        await go.wait()
        return Probed.never()

    asked = charge()
    async with restarted(tmp_path, probe, asked) as (desk, _):
        await until(lambda: asks)
        await desk.send(about(kind, asked), asked)
        await until(lambda: len(desk.of(asked)) == 2)
        assert {result.started_at is not None for result in desk.results} == {True}
        go.set()
        await desk.final(asked)
        assert desk.of(asked) == ["progress", "progress", "never_seen"]
    assert len(asks) == 1


async def test_a_query_right_with_the_answer_does_not_hear_unknown(tmp_path: Path) -> None:
    """Between the probe's answer and its place in the journal nothing else is said."""
    asked = charge()
    done = asyncio.Event()

    async def probe(ctx: Context, amount: int) -> Probed:
        done.set()
        return Probed.done()

    bank = Bank(probe)
    await lose(tmp_path, asked)
    async with serving(tmp_path, bank.agent) as (desk, runtime):
        await desk.final(asked)
        real = runtime._journal.write

        async def write(batch: Batch) -> Any:
            if batch.reopened:
                await done.wait()
                await desk.send(about(QUERY, asked))
            return await real(batch)

        runtime._journal.write = write  # type: ignore[method-assign]
        await _forget_answer(tmp_path, asked)
        done.clear()
        await desk.send(about(QUERY, asked))
        await desk.final(asked, count=2)
        await desk.send(about(QUERY, asked))
        await desk.final(asked, count=3)
        assert "unknown" not in desk.of(asked)


async def _forget_answer(directory: Path, asked: Command) -> None:
    """Make a command's journaled answer one that is no answer, as if its probe had said so."""
    import sqlite3

    with sqlite3.connect(directory / "journal.db") as db:
        db.execute("UPDATE commands SET command = ? WHERE id = ?", (encode(asked), asked.id))
    db.close()


async def test_a_stop_leaves_the_question_for_the_next_life(tmp_path: Path) -> None:
    """A probe that is stopped with its agent says nothing, and is asked again at the next start."""
    asks: list[str] = []

    async def hangs(ctx: Context, amount: int) -> Probed:
        asks.append("hangs")
        await asyncio.Event().wait()
        return Probed.never()

    async def knows(ctx: Context, amount: int) -> Probed:
        return Probed.done()

    asked, broker = charge(), MemoryBroker()
    async with restarted(tmp_path, hangs, asked, broker=broker) as (desk, _):
        await until(lambda: asks)
    assert desk.of(asked) == []
    async with serving(tmp_path, Bank(knows).agent, broker=broker) as (desk, _):
        assert (await desk.final(asked)).status is ResultStatus.SUCCEEDED


async def test_few_are_asked_at_once_and_a_busy_agent_asks_too(tmp_path: Path) -> None:
    """Probes take no turn from the actions, nor wait for one."""
    running: set[str] = set()
    most = 0

    async def probe(ctx: Context, amount: int) -> Probed:
        nonlocal most
        running.add(ctx.command_id)
        most = max(most, len(running))
        await asyncio.sleep(0)
        running.discard(ctx.command_id)
        return Probed.done()

    asked = [charge(attempt=n + 1) for n in range(9)]
    limits = Limits(probes=2)
    async with restarted(tmp_path, probe, *asked, limits=limits, concurrency=1) as (desk, _):
        for each in asked:
            assert (await desk.final(each)).status is ResultStatus.SUCCEEDED
    assert most == 2


@pytest.mark.parametrize(
    "asked",
    [
        command("charge", {"receipt": "r"}, kind=UNDO),
        command("charge", {"amount": "much"}),
        command("gone", {}),
    ],
)
async def test_without_a_probe_that_fits_it_is_unknown(tmp_path: Path, asked: Command) -> None:
    """An undo of its own has no probe; nor has an action that is gone, or takes other arguments now."""

    async def probe(ctx: Context, amount: int) -> Probed:
        return Probed.done()

    async with restarted(tmp_path, probe, asked) as (desk, _):
        assert (await desk.final(asked)).status is ResultStatus.UNKNOWN
        await desk.send(about(QUERY, asked))
        assert (await desk.final(asked, count=2)).status is ResultStatus.UNKNOWN


def test_an_undo_that_is_the_action_itself_has_its_probe() -> None:
    """Where `compensate` names an action without a function for it, its probe serves."""
    agent = Agent()

    @agent.action("charge")
    async def once(ctx: Context) -> None: ...

    @once.probe
    async def look(ctx: Context) -> Probed:
        return Probed.never()

    assert isinstance(once, Action)
    assert once.probe_for(UNDO) is once.probe_for(CommandKind.EXECUTE) is not None

    @once.compensate
    async def back(ctx: Context) -> None: ...

    assert once.probe_for(UNDO) is None


def test_a_probe_takes_what_the_action_takes() -> None:
    """Its parameters, or anything; else it is refused where it is defined."""

    async def action(ctx: Context, amount: int, note: str = "") -> None: ...

    async def same(ctx: Context, amount: int, note: str) -> None: ...

    async def anything(ctx: Context, **args: Any) -> None: ...

    async def less(ctx: Context, amount: int) -> None: ...

    async def other(ctx: Context, amount: int, note: str, more: int) -> None: ...

    agent = Agent()
    agent.action("a", probe=same)(action)
    agent.action("b", probe=anything)(action)
    for name, bad in (("less", less), ("other", other)):
        with pytest.raises(InvalidInput, match="does not take what the action takes"):
            agent.action(name, probe=bad)(action)
    with pytest.raises(InvalidInput):
        agent.action("open", probe=same)(anything)

"""Queries and cancels: every one is answered, and `never_seen` is only said where it is proof (rule 7)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agents.journal import Batch, Entry, Journal
from agents.limits import Limits
from runtime.bus.memory import MemoryBroker
from runtime.bus.port import Message
from schemas.codec import encode
from schemas.messages import Command, CommandKind, ResultStatus
from schemas.names import AGAIN_HEADER
from schemas.times import from_datetime, to_rfc3339
from tests.support.actions import Bench
from tests.support.agents import Desk, about, command, serving
from tests.support.waiting import until

QUERY, CANCEL = CommandKind.QUERY, CommandKind.CANCEL
SECOND = timedelta(seconds=1)
PRUNED = datetime.now(UTC) - timedelta(days=30)
"""When the youngest command was issued that the agent has forgotten."""


@pytest.fixture
def bench() -> Bench:
    """The actions."""
    return Bench()


def asking(kind: CommandKind, asked: Command, issued_at: object) -> Command:
    """A question that says when the command was issued."""
    question = about(kind, asked)
    return msgspec.structs.replace(question, args={**question.args, "issued_at": issued_at})


@asynccontextmanager
async def forgetful(directory: Path, bench: Bench, **changes: Any) -> AsyncIterator[Desk]:
    """An agent whose journal has had a command, and pruned it. What it got later it still has."""
    journal = Journal(directory / "journal.db")
    await journal.open()
    at = from_datetime(PRUNED)
    row = Entry("old", "finished", False, None, "", "0", at, at, b"{}")
    await journal.write(Batch(received=[row], published=[("old",)]))
    await journal.prune(from_datetime(datetime.now(UTC)), Limits())
    assert journal.forgotten == at
    await journal.close()
    async with serving(directory, bench.agent, **changes) as (desk, _):
        yield desk


@pytest.mark.parametrize("kind", [QUERY, CANCEL])
async def test_what_may_have_been_forgotten_is_unknown(
    bench: Bench, tmp_path: Path, kind: CommandKind
) -> None:
    """A command as old as what was pruned may have been done: not `never_seen`, and it does not start."""
    async with forgetful(tmp_path, bench) as desk:
        asked = command("again")
        for issued_at in (PRUNED, PRUNED - SECOND):
            await desk.send(asking(kind, asked, to_rfc3339(from_datetime(issued_at))))
        result = await desk.final(asked, count=2)
        assert (result.status, result.started_at) == (ResultStatus.UNKNOWN, None)
        assert result.error is not None
        assert result.error.code == "forgotten"
        await desk.send(asked)
        assert await desk.final(asked, count=3) == result
    assert bench.starts == []


async def test_what_would_still_be_known_was_never_seen(bench: Bench, tmp_path: Path) -> None:
    """A command issued after everything that was pruned would be in the journal, had it come."""
    async with forgetful(tmp_path, bench) as desk:
        asked = command("again")
        await desk.send(asking(QUERY, asked, to_rfc3339(from_datetime(PRUNED) + 1)))
        assert (await desk.final(asked)).status is ResultStatus.NEVER_SEEN


@pytest.mark.parametrize("issued_at", [None, 7, "yesterday", ""])
async def test_who_does_not_say_how_old_it_is_gets_no_proof(
    bench: Bench, tmp_path: Path, issued_at: object
) -> None:
    """Unless nothing has been forgotten."""
    asked = command("again")
    async with forgetful(tmp_path, bench) as desk:
        await desk.send(asking(QUERY, asked, issued_at))
        assert (await desk.final(asked)).status is ResultStatus.UNKNOWN
    (tmp_path / "new").mkdir()
    async with serving(tmp_path / "new", bench.agent) as (desk, _):
        await desk.send(asking(QUERY, asked, issued_at))
        assert (await desk.final(asked)).status is ResultStatus.NEVER_SEEN


@pytest.mark.parametrize(
    ("action", "late", "status"),
    [("once", False, "unknown"), ("again", False, "succeeded"), ("once", True, "unknown")],
)
async def test_a_copy_of_what_may_have_been_forgotten_is_not_run_blindly(
    bench: Bench, tmp_path: Path, action: str, status: str, *, late: bool
) -> None:
    """Published before, and so old that it may have been pruned: run only if that is harmless."""
    expires = datetime.now(UTC) + (-SECOND if late else 60 * SECOND)
    asked = command(action, issued_at=PRUNED, expires_at=expires)
    async with forgetful(tmp_path, bench) as desk:
        key = desk.topology.agent_key("a")
        again = Message(desk.topology.commands, key, encode(asked), {AGAIN_HEADER: True}, mandatory=True)
        await desk.bus.publish([again])
        assert (await desk.final(asked)).status == status
        first = command("once", attempt=2, issued_at=PRUNED)
        await desk.send(first)
        assert (await desk.final(first)).status is ResultStatus.SUCCEEDED, "the first copy is no copy"


async def test_every_query_is_answered(bench: Bench, tmp_path: Path) -> None:
    """However often one asks, in each state: never seen, running, ended."""
    async with serving(tmp_path, bench.agent, limits=Limits(announce_after=60)) as (desk, _):
        running, never = command("hold"), command("once", attempt=2)
        await desk.send(running)
        await until(lambda: bench.starts)
        for count in (1, 2, 3):
            await desk.send(about(QUERY, running), about(QUERY, never))
            await desk.final(never, count=count)
            await until(lambda count=count: len(desk.of(running)) == count)  # type: ignore[misc]
        bench.go.set()
        await desk.final(running)
        await desk.send(about(QUERY, running), about(QUERY, running))
        await desk.final(running, count=3)
        assert desk.of(running) == ["started"] * 3 + ["succeeded"] * 3
        assert desk.of(never) == ["never_seen"] * 3


async def test_a_full_agent_still_answers(bench: Bench, tmp_path: Path) -> None:
    """Questions and unreadable messages need no room: one command is cancelled while another is held."""
    limits = Limits(max_backlog=1)
    async with serving(tmp_path, bench.agent, concurrency=1, limits=limits) as (desk, runtime):
        running, waiting, held = (command("hold", attempt=n + 1) for n in range(3))
        await desk.send(running, waiting, held)
        await until(lambda: len(runtime._held) == 1)
        await desk.send(about(QUERY, running), about(CANCEL, waiting))
        await desk.send_raw(b"garbage")
        await desk.dead()
        assert (await desk.final(waiting)).status is ResultStatus.CANCELLED
        await until(lambda: desk.of(running))
        bench.go.set()
        assert (await desk.final(held)).status is ResultStatus.SUCCEEDED
    assert bench.starts == [running.id, held.id]


async def test_asking_about_what_is_held_back_keeps_it_from_starting(bench: Bench, tmp_path: Path) -> None:
    """It is not in the journal yet, so it was never seen; when there is room for it, it does not start."""
    limits = Limits(max_backlog=1)
    async with serving(tmp_path, bench.agent, concurrency=1, limits=limits) as (desk, runtime):
        asked = [command("hold", attempt=n + 1) for n in range(3)]
        await desk.send(*asked)
        await until(lambda: len(runtime._held) == 1)
        await desk.send(about(QUERY, asked[2]))
        assert (await desk.final(asked[2])).status is ResultStatus.NEVER_SEEN
        bench.go.set()
        assert (await desk.final(asked[2], count=2)).status is ResultStatus.CANCELLED
        await desk.final(asked[1])
    assert bench.starts == [each.id for each in asked[:2]]


async def test_a_row_that_cannot_be_read_is_unknown_when_asked_about(bench: Bench, tmp_path: Path) -> None:
    """Another version wrote it: it may have run, and silence would help nobody."""
    asked = command("once")
    journal = Journal(tmp_path / "journal.db")
    await journal.open()
    now = from_datetime(datetime.now(UTC))
    await journal.write(Batch(received=[Entry(asked.id, "received", False, b'{"id": 1}', "", "0", now, now)]))
    await journal.close()
    async with serving(tmp_path, bench.agent) as (desk, _):
        for count in (1, 2):
            await desk.send(about(QUERY, asked))
            assert (await desk.final(asked, count=count)).status is ResultStatus.UNKNOWN


async def test_a_rebuilt_agent_shows_that_it_is_another(bench: Bench, tmp_path: Path) -> None:
    """Its state directory lost, it has seen nothing, and its instance id says what that is worth."""
    broker, asked = MemoryBroker(), command("once")
    async with serving(tmp_path, bench.agent, broker=broker) as (desk, _):
        await desk.send(asked)
        first = await desk.final(asked)
    for file in tmp_path.glob("journal.db*"):
        file.unlink()
    async with serving(tmp_path, bench.agent, broker=broker) as (desk, _):
        await desk.send(about(QUERY, asked))
        result = await desk.final(asked)
        assert result.status is ResultStatus.NEVER_SEEN
        assert result.instance_id == desk.presences[-1].instance_id != first.instance_id


async def test_the_more_urgent_starts_first(bench: Bench, tmp_path: Path) -> None:
    """Of those that wait the highest priority, and of one priority the first that came."""
    order = [(5, 1), (0, 2), (9, 3), (5, 4), (9, 5), (1, 6)]
    asked = [command("hold", priority=priority, attempt=n) for priority, n in order]
    by_urgency = [3, 5, 1, 4, 6, 2]
    async with serving(tmp_path, bench.agent, concurrency=1) as (desk, runtime):
        first = command("hold", attempt=100, priority=0)
        await desk.send(first)
        await until(lambda: bench.starts)
        await desk.send(*asked)
        await until(lambda: runtime._runner.queued == len(asked))
        await desk.send(about(CANCEL, asked[4]))
        await desk.final(asked[4])
        bench.go.set()
        for each in asked:
            await desk.final(each)
    assert [int(name.split("/")[3]) for name in bench.starts] == [100, *(n for n in by_urgency if n != 5)]


async def test_a_restart_too_begins_with_the_most_urgent(bench: Bench, tmp_path: Path) -> None:
    """What waited in the journal, and likewise what comes in one batch."""
    asked = [command("hold", priority=priority, attempt=priority) for priority in (3, 9, 5)]
    broker = MemoryBroker()
    limits = Limits(stop_grace=0)
    async with serving(tmp_path, bench.agent, broker=broker, concurrency=1, limits=limits) as (desk, runtime):
        first = command("hold", attempt=100)
        await desk.send(first)
        await until(lambda: bench.starts)
        await desk.send(*asked)
        await until(lambda: runtime._runner.queued == len(asked))
    bench.starts.clear()
    bench.go.set()
    async with serving(tmp_path, bench.agent, broker=broker, concurrency=1) as (desk, _):
        for each in asked:
            await desk.final(each)
    assert bench.starts == [asked[1].id, asked[2].id, asked[0].id]

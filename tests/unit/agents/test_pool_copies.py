"""A second copy of a command for a pool: the first may be with another agent of it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from runtime.bus.port import Message
from schemas.codec import encode
from schemas.messages import Command, ResultStatus
from schemas.names import AGAIN_HEADER
from tests.support.actions import Bench
from tests.support.agents import Desk, command, serving


async def send_again(desk: Desk, asked: Command) -> None:
    """Publish a command to the pool as a copy that is perhaps not the first."""
    key = desk.topology.pool_key("p")
    again = Message(desk.topology.commands, key, encode(asked), {AGAIN_HEADER: True}, mandatory=True)
    await desk.bus.publish([again])


@pytest.mark.parametrize(
    ("action", "status", "effects"),
    [("once", ResultStatus.UNKNOWN, 0), ("again", ResultStatus.SUCCEEDED, 1)],
)
async def test_a_copy_is_run_only_if_that_is_harmless(
    action: str, status: ResultStatus, effects: int, tmp_path: Path
) -> None:
    """Not idempotent: its outcome is unknown here, and it does not start (rule 7)."""
    bench = Bench()
    async with serving(tmp_path, bench.agent, pools=("p",)) as (desk, _):
        asked = command(action)
        await send_again(desk, asked)
        assert (await desk.final(asked)).status is status
        assert len(bench.effects) == effects


async def test_a_copy_that_comes_too_late_denies_nothing(tmp_path: Path) -> None:
    """`expired` would say that it never started, which nobody here knows."""
    bench = Bench()
    async with serving(tmp_path, bench.agent, pools=("p",)) as (desk, _):
        asked = command("again", expires_at=datetime.now(UTC) - timedelta(seconds=1))
        await send_again(desk, asked)
        assert (await desk.final(asked)).status is ResultStatus.UNKNOWN


async def test_the_agent_that_has_it_answers_from_its_journal(tmp_path: Path) -> None:
    """A copy at the very agent that did it gets the same result once more."""
    bench = Bench()
    async with serving(tmp_path, bench.agent, pools=("p",)) as (desk, _):
        asked = command("once")
        await desk.send(asked, pool="p")
        await desk.final(asked)
        await send_again(desk, asked)
        assert (await desk.final(asked, count=2)).status is ResultStatus.SUCCEEDED
        assert len(bench.effects) == 1

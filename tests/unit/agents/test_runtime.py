"""The agent's loop, on a bus in memory and a real journal: what becomes of a command."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agents import Context
from agents.limits import Limits
from schemas.messages import CommandKind, ResultStatus
from tests.support.actions import QUICK, Bench
from tests.support.agents import command, serving
from tests.support.waiting import until

QUERY, CANCEL = CommandKind.QUERY, CommandKind.CANCEL


@pytest.fixture
def bench() -> Bench:
    """The actions."""
    return Bench()


async def test_a_command_is_carried_out(bench: Bench, tmp_path: Path) -> None:
    """One that ends at once gets one result, which says all that there is to say."""
    async with serving(tmp_path, bench.agent) as (desk, _):
        asked = command("once")
        await desk.send(asked)
        result = await desk.final(asked)
        assert desk.of(asked) == ["succeeded"]
        assert (result.status, result.output, result.error) == (ResultStatus.SUCCEEDED, {"n": 1}, None)
        assert (result.run_id, result.step, result.host_index, result.attempt) == ("r", "s", 0, 1)
        assert (result.epoch, result.agent) == (3, "a")
        assert result.instance_id == desk.presences[0].instance_id
        assert result.started_at is not None
        assert result.finished_at is not None
        assert asked.issued_at <= result.started_at <= result.finished_at


async def test_a_long_action_says_that_it_lives(bench: Bench, tmp_path: Path) -> None:
    """`started`, then `progress` as heartbeat, then the end; what it reports goes along."""

    @bench.agent.action("tell")
    async def tell(ctx: Context) -> None:
        ctx.progress({"percent": 10})
        await bench.go.wait()

    async with serving(tmp_path, bench.agent, limits=QUICK) as (desk, _):
        asked = command("tell")
        await desk.send(asked)
        await until(lambda: desk.of(asked).count("progress") >= 2)
        bench.go.set()
        await desk.final(asked)
        seen = desk.of(asked)
        assert seen[0] == "started"
        assert seen[-1] == "succeeded"
        assert set(seen[1:-1]) == {"progress"}
        assert desk.results[1].output == {"percent": 10}
        assert {result.started_at for result in desk.results} == {desk.results[0].started_at}


@pytest.mark.parametrize(
    ("how", "code", "retryable"),
    [
        ("error", "no_space", False),
        ("exception", "exception", True),
        ("cancels itself", "exception", True),
        ("exit", "exception", True),
        ("odd", "5", True),
        ("surrogate", "exception", True),
    ],
)
async def test_a_failure_says_why(
    bench: Bench, tmp_path: Path, how: str, code: str, *, retryable: bool
) -> None:
    """An `ActionError` in its own words, anything else as `exception` with its traceback in the log."""
    async with serving(tmp_path, bench.agent) as (desk, _):
        asked = command("fail", {"how": how})
        await desk.send(asked)
        result = await desk.final(asked)
        assert result.status is ResultStatus.FAILED
        assert result.error is not None
        assert (result.error.code, result.error.retryable) == (code, retryable)
        assert result.log.startswith("about to fail")
        assert ("ValueError" in result.log) == (how in ("exception", "surrogate"))


@pytest.mark.parametrize(
    ("what", "code"), [("too long", "output_too_large"), ("not json", "bad_output"), ("deep", "bad_output")]
)
async def test_an_output_must_fit(bench: Bench, tmp_path: Path, what: str, code: str) -> None:
    """Over 256 KiB, not JSON, or nested beyond what the coordinator reads: failed for good."""
    async with serving(tmp_path, bench.agent) as (desk, _):
        asked = command("give", {"what": what})
        await desk.send(asked)
        result = await desk.final(asked)
        assert result.status is ResultStatus.FAILED
        assert result.error is not None
        assert (result.error.code, result.error.retryable) == (code, False)


@pytest.mark.parametrize(
    ("action", "args", "code"),
    [
        ("no.such", {}, "action_unknown"),
        ("fail", {}, "bad_arguments"),
        ("fail", {"how": 1}, "bad_arguments"),
        ("once", {"what": 1}, "bad_arguments"),
    ],
)
async def test_what_cannot_be_done_is_rejected(
    bench: Bench, tmp_path: Path, action: str, args: dict[str, Any], code: str
) -> None:
    """For good, and never started, so without `started_at`."""
    async with serving(tmp_path, bench.agent) as (desk, _):
        asked = command(action, args)
        await desk.send(asked)
        result = await desk.final(asked)
        assert (result.status, result.started_at) == (ResultStatus.REJECTED, None)
        assert result.error is not None
        assert (result.error.code, result.error.retryable) == (code, False)
        assert bench.starts == []


async def test_an_expired_command_is_refused(bench: Bench, tmp_path: Path) -> None:
    """It never starts; another attempt may."""
    async with serving(tmp_path, bench.agent) as (desk, _):
        asked = command("once", expires_at=datetime.now(UTC) - timedelta(seconds=1))
        await desk.send(asked)
        result = await desk.final(asked)
        assert (result.status, result.started_at, bench.starts) == (ResultStatus.REJECTED, None, [])
        assert result.error is not None
        assert (result.error.code, result.error.retryable) == ("expired", True)


async def test_a_dry_run_runs_nothing(bench: Bench, tmp_path: Path) -> None:
    """Until actions can say what they would do, it is refused."""
    async with serving(tmp_path, bench.agent) as (desk, _):
        asked = command("once", dry_run=True)
        await desk.send(asked)
        assert (await desk.final(asked)).status is ResultStatus.REJECTED
        assert bench.starts == []


async def test_compensation_runs_what_undoes(bench: Bench, tmp_path: Path) -> None:
    """A command of kind `compensate`: the function for it, else the action it names."""
    undone: list[str] = []

    @bench.agent.action("charge", compensate=lambda ctx, charge: undone.append(charge))
    async def charge(ctx: Context, amount: int) -> None: ...

    async with serving(tmp_path, bench.agent) as (desk, _):
        for name, args in (("charge", {"charge": "7"}), ("once", {})):
            asked = command(name, args, step=name, kind=CommandKind.COMPENSATE)
            await desk.send(asked)
            assert (await desk.final(asked)).status is ResultStatus.SUCCEEDED
    assert undone == ["7"]
    assert len(bench.effects) == 1


async def test_an_agent_announces_itself(bench: Bench, tmp_path: Path) -> None:
    """Name, labels, pools and actions with their arguments; again and again; and that it stops."""
    limits = Limits(presence_interval=0.02)
    async with serving(tmp_path, bench.agent, labels={"role": "web"}, pools=("p",), limits=limits) as (
        desk,
        _,
    ):
        await until(lambda: len(desk.presences) >= 3)
        first = desk.presences[0]
        assert (first.name, first.labels, first.pools, first.stopping) == ("a", {"role": "web"}, ["p"], False)
        offered = {action.name: action for action in first.actions}
        assert offered["again"].idempotent
        assert not offered["once"].idempotent
        assert offered["fail"].args["required"] == ["how"]
        assert "exec.run" in offered
        heard = desk.presences
    assert heard[-1].stopping

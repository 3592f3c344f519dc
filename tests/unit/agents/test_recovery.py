"""What a restart makes of each state in the journal."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agents.answers import Identity
from agents.intake import Workshop
from agents.journal import State, Unsettled
from agents.processes import Processes
from agents.recovery import Recovered, recover
from agents.secrets import Secrets
from schemas.codec import decode, encode
from schemas.messages import Result
from tests.support.actions import Bench
from tests.support.agents import command

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
STARTED = 1_700_000_000_000_000


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    """A workshop with the counting actions."""
    return Workshop(Identity("a", "i"), Bench().agent.actions, tmp_path, Processes(), Secrets())


def found(
    workshop: Workshop,
    action: str,
    state: State,
    *,
    ago: float,
    timeout: float = 60,
    idempotent: bool = False,
) -> Recovered:
    """What is made of one command that had to start by `ago` seconds before now."""
    expires = NOW - timedelta(seconds=ago)
    asked = command(action, expires_at=expires, timeout=timeout, idempotent=idempotent)
    started = STARTED if state == "started" else None
    row = Unsettled(1, asked.id, state, encode(asked), "", "0", started, None)
    return recover([row], workshop, NOW)


def told(plan: Recovered) -> tuple[str, str]:
    """Status and error code of the one result in the plan."""
    ((_, shard, body),) = plan.finished + plan.lost
    result = decode(body, Result)
    assert (shard, plan.jobs, plan.probes, plan.unpublished) == ("0", [], [], [])
    assert result.error is not None
    return str(result.status), result.error.code


@pytest.mark.parametrize(("action", "ago"), [("once", -1), ("again", -1), ("again", 59)])
def test_what_may_still_run_runs(workshop: Workshop, action: str, ago: float) -> None:
    """What certainly did not start, in time; and what is idempotent, while its attempt could be running."""
    plan = found(workshop, action, "received", ago=ago)
    assert ([job.command.action for job in plan.jobs], plan.finished) == ([action], [])


def test_what_did_not_start_expires(workshop: Workshop) -> None:
    """Not idempotent, and too late: it has had no effect, and says so."""
    assert told(found(workshop, "once", "received", ago=1)) == ("rejected", "expired")


@pytest.mark.parametrize("by_step", [True, False])
def test_what_may_have_run_is_not_called_expired(workshop: Workshop, *, by_step: bool) -> None:
    """Idempotent, and past all its time: it may have had effect."""
    action = "once" if by_step else "again"
    plan = found(workshop, action, "received", ago=61, idempotent=by_step)
    assert told(plan) == ("unknown", "lost")


def test_what_started_is_lost(workshop: Workshop) -> None:
    """Never run again, and the processes it may have left are looked for."""
    plan = found(workshop, "once", "started", ago=-1)
    assert told(plan) == ("unknown", "lost")
    result = decode(plan.lost[0][2], Result)
    assert result.started_at is not None
    assert plan.left == [result.command_id]


def test_what_is_finished_is_published_again(workshop: Workshop) -> None:
    """As it was."""
    plan = recover([Unsettled(1, "c", "finished", None, "", "7", None, b"result")], workshop, NOW)
    assert plan.unpublished == [("c", "7", b"result")]
    assert (plan.jobs, plan.finished, plan.lost, plan.left) == ([], [], [], [])


def test_what_the_agent_cannot_do_any_more_is_rejected(workshop: Workshop) -> None:
    """It came back without the module."""
    assert told(found(workshop, "gone", "received", ago=-1)) == ("rejected", "action_unknown")


def test_what_cannot_be_read_is_left_alone(workshop: Workshop) -> None:
    """A row of another version's does not keep the agent from starting."""
    row = Unsettled(1, "c", "received", b'{"id": 1}', "", "0", None, None)
    assert recover([row], workshop, NOW) == Recovered()

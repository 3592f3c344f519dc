"""Facts of a made-up run whose payloads say SECRET, so that a test sees where they must not be."""

from typing import Any

from orchestrator.core.facts import (
    AttemptFailed,
    AttemptSent,
    AttemptSucceeded,
    Fact,
    RunEnded,
    RunGoingBack,
    RunStarted,
)
from orchestrator.core.model import Failure, RunHead, RunStatus, TraceContext
from schemas.messages import ErrorInfo

__all__ = ["SECRET", "STEP_A", "STEP_B", "TRACE", "failed", "going_back", "head", "sent", "succeeded"]

TRACE = TraceContext(
    trace_id="4bf92f3577b34da6a3ce929d0e0e4736", span_id="00f067aa0ba902b7", parent_id="b7ad6b7169203331"
)
SECRET = "4111-1111-1111-1111"


def head(run_id: str = "r1", trace: TraceContext = TRACE) -> RunHead:
    """A run's head whose payload must never be seen."""
    return RunHead(
        id=run_id,
        workflow="release-web",
        version="v1hash",
        key=SECRET,
        created_at=1_000,
        trace=trace,
        input={"card": SECRET},
        event={"data": {"card": SECRET}},
    )


def sent(step: str, at: int, *, attempt: int = 1, undo: bool = False, target: str = "agent.web-1") -> Fact:
    """An attempt goes out."""
    kind = "compensate" if undo else "execute"
    return AttemptSent(
        at=at,
        step=step,
        host_index=0,
        undo=undo,
        attempt=attempt,
        command_id=f"r1/{step}/0/{attempt}/{kind}",
        action="app.undo" if undo else "app.do",
        target=target,
        due=at + 1_000_000,
    )


def succeeded(step: str, at: int, agent: str = "web-1") -> Fact:
    """The outstanding attempt did it."""
    return AttemptSucceeded(
        at=at, step=step, host_index=0, command_id="c", agent=agent, output={"card": SECRET}
    )


def failed(step: str, at: int, code: str = "boom", status: str = "failed", **more: Any) -> Fact:
    """The outstanding attempt failed."""
    error = ErrorInfo(code=code, message=SECRET, details=SECRET)
    return AttemptFailed(at=at, step=step, host_index=0, command_id="c", status=status, error=error, **more)


def going_back(at: int, step: str = "b", code: str = "boom") -> Fact:
    """The run turns round."""
    return RunGoingBack(at=at, failure=Failure(step=step, code=code, message=SECRET))


STEP_A = [RunStarted(at=1_000, steps=["a", "b"]), sent("a", 1_000), succeeded("a", 2_000), sent("b", 2_000)]
"""A run whose second step is under way."""
STEP_B = [succeeded("b", 3_000), RunEnded(at=3_000, status=RunStatus.SUCCEEDED)]
"""How it goes on."""

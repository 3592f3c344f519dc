"""What comes of an attempt: success, another attempt, or failure for good."""

from typing import Any, Final

from orchestrator.core.definition import StepDef, UndoDef
from orchestrator.core.facts import AttemptFailed, TaskDone
from orchestrator.core.model import StepStatus, Task
from orchestrator.core.scope import with_raw_output
from orchestrator.core.turn import Turn
from schemas.codec import encode
from schemas.errors import BatonError, InvalidInput
from schemas.messages import ErrorInfo
from schemas.times import Micros

__all__ = [
    "NoLiveAgent",
    "check_output",
    "fail",
    "fail_unsent",
    "may_retry",
    "no_live_agent",
    "no_retry",
    "plan_of",
    "succeed",
    "why_unsent",
]


_NOT_SENT: Final = "not_sent"


class NoLiveAgent(InvalidInput):
    """No live agent has the labels that a target asks for."""

    code = "no_live_agent"


def succeed(turn: Turn, step: StepDef, index: int, output: Any, **by: Any) -> None:
    """A task without an agent did what it is for, `by` whom and what; its `output` template sees that."""
    try:
        if step.output is not None:
            output = step.output.render(with_raw_output(turn, step, turn.task(step, index), output))
        check_output(turn, output)
    except BatonError as error:
        fail(turn, step, index, no_retry(error), "failed", effect=True)
        return
    turn.record(TaskDone(at=turn.env.now, step=step.id, host_index=index, output=output, **by))


def fail(
    turn: Turn,
    step: StepDef,
    index: int,
    error: ErrorInfo,
    status: str,
    *,
    undo: bool | None = None,
    **about: Any,
) -> None:
    """An attempt ended without success, in this way; another follows, or it failed for good.

    `undo`: whether it was one; None: as the outstanding one is. `about` are further fields of
    `AttemptFailed`; of an undo none is an `effect`.
    """
    task = turn.task(step, index)
    undo = task.undoing if undo is None else undo
    about["effect"] = about.get("effect", False) and not undo
    turn.record(
        AttemptFailed(
            at=turn.env.now,
            step=step.id,
            host_index=index,
            command_id=task.command_id,
            status=status,
            error=error,
            undo=undo,
            retry_at=_retry_at(turn, step, task, error, undo=undo, unsent=int(status == _NOT_SENT)),
            outcome=StepStatus.COMPENSATION_FAILED if undo else _outcome_of(turn, status),
            **about,
        )
    )


def fail_unsent(turn: Turn, step: StepDef, index: int, error: ErrorInfo, *, undo: bool = False) -> None:
    """An attempt that could not be made, because an expression or the target is wrong. It counts."""
    fail(turn, step, index, error, _NOT_SENT, undo=undo)


def plan_of(step: StepDef, *, undo: bool) -> StepDef | UndoDef:
    """What says how an attempt is made: the step, or its undo."""
    return step.compensate if undo and step.compensate is not None else step


def may_retry(
    turn: Turn, step: StepDef, task: Task, *, retryable: bool, undo: bool | None = None, unsent: int = 0
) -> bool:
    """Whether another attempt may follow by itself (rules 2, 3 and 5)."""
    undo = task.undoing if undo is None else undo
    made = unsent + (task.undo_attempt if undo else task.attempt)
    granted = task.granted if undo is task.undoing else 0
    forward_over = turn.run.going_back and not undo
    return retryable and not forward_over and made < granted + plan_of(step, undo=undo).retry.attempts


def _retry_at(
    turn: Turn, step: StepDef, task: Task, error: ErrorInfo, *, undo: bool, unsent: int
) -> Micros | None:
    """When the attempt that follows this error goes out; None: no other follows."""
    if not may_retry(turn, step, task, retryable=error.retryable, undo=undo, unsent=unsent):
        return None
    made = unsent + (task.undo_attempt if undo else task.attempt)
    granted = task.granted if undo is task.undoing else 0
    return turn.env.now + plan_of(step, undo=undo).retry.delay_before(made - granted, turn.env.jitter)


def _outcome_of(turn: Turn, status: str) -> StepStatus:
    """What a task is whose step failed for good in this way."""
    stopped = turn.run.going_back and status in ("cancelled", "never_seen", "expired", "returned", "rejected")
    return StepStatus.CANCELLED if stopped else StepStatus.FAILED


def check_output(turn: Turn, output: Any) -> None:
    """Raise `InvalidInput` for an output that is too large to keep."""
    size, limit = len(encode(output)), turn.env.limits.output_bytes
    if size > limit:
        raise InvalidInput(
            f"the output has {size} bytes, more than the limit of {limit} (setting max_output_bytes)",
            code="output_too_large",
        )


def why_unsent(error: BatonError) -> ErrorInfo:
    """An agent may come back; everything else would go wrong the same way again."""
    retryable = isinstance(error, NoLiveAgent)
    return ErrorInfo(code=error.code, message=error.message[:2000], retryable=retryable)


def no_retry(error: BatonError) -> ErrorInfo:
    """The error of something that would go wrong the same way again."""
    return ErrorInfo(code=error.code, message=error.message[:2000], retryable=False)


def no_live_agent(labels: dict[str, str]) -> NoLiveAgent:
    """The error of a target that matches nobody."""
    wanted = ", ".join(f"{key}={value}" for key, value in labels.items())
    return NoLiveAgent(
        f"no live agent has {wanted}", hint="baton agents list shows which agents are live, and their labels"
    )

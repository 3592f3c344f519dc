"""How an attempt is made: its command, its deadline, and whether another may follow."""

from typing import Any, Final

from orchestrator.core.definition import StepDef, UndoDef
from orchestrator.core.facts import AttemptFailed, AttemptSent, CancelSent, TaskInDoubt
from orchestrator.core.inputs import Dispatch
from orchestrator.core.model import StepStatus, Task
from orchestrator.core.scope import run_scope
from orchestrator.core.turn import Turn
from schemas.codec import encode
from schemas.errors import BatonError, InvalidInput
from schemas.messages import Command, CommandKind, ErrorInfo, command_id
from schemas.names import Topology, check_name
from schemas.times import to_datetime

__all__ = [
    "doubt",
    "fail_unsent",
    "may_retry",
    "no_retry",
    "outcome_of",
    "plan_of",
    "retry_at",
    "send",
    "send_cancel",
    "send_undo",
]

MAX_ARGS_BYTES: Final = 512 * 1024
"""Largest arguments of one command, so that every command fits into a message."""


def send(turn: Turn, step: StepDef, index: int) -> None:
    """Send the next forward attempt."""
    scope = run_scope(turn.run, step.upstream)
    try:
        args = step.args.render(scope)
        _check_size(args)
        target = _routing_key(step.target.kind, step.target.name.render_text(scope))
    except BatonError as error:
        fail_unsent(turn, step, index, no_retry(error))
        return
    _dispatch(turn, step, index, CommandKind.EXECUTE, target, args)


def send_undo(turn: Turn, step: StepDef, index: int) -> None:
    """Send the next attempt of an undo: to the agent with the effect, or whom the document names."""
    undo = step.compensate
    task = turn.run.steps[step.id][index]
    if undo is None:
        raise AssertionError(step.id)
    scope = run_scope(turn.run, (step.id, *step.upstream))
    try:
        args = undo.args.render(scope)
        _check_size(args)
        if undo.target is not None:
            target = _routing_key(undo.target.kind, undo.target.name.render_text(scope))
        elif task.effect_agent:
            target = Topology.agent_key(task.effect_agent)
        else:
            target = task.target
    except BatonError as error:
        fail_unsent(turn, step, index, no_retry(error))
        return
    _dispatch(turn, step, index, CommandKind.COMPENSATE, target, args)


def _dispatch(
    turn: Turn, step: StepDef, index: int, kind: CommandKind, target: str, args: dict[str, Any]
) -> None:
    """Record an attempt and hand out its command."""
    env = turn.env
    task = turn.run.steps[step.id][index]
    undo = kind is CommandKind.COMPENSATE
    plan = plan_of(step, undo=undo)
    attempt = 1 + (task.undo_attempt if undo else task.attempt)
    name = command_id(turn.run.head.id, step.id, index, attempt, kind)
    turn.record(
        AttemptSent(
            at=env.now,
            step=step.id,
            host_index=index,
            undo=undo,
            attempt=attempt,
            command_id=name,
            action=plan.action,
            target=target,
            due=env.now + env.start_within + plan.timeout + env.grace,
        )
    )
    _hand_out(
        turn,
        target,
        undo=undo,
        command=Command(
            id=name,
            run_id=turn.run.head.id,
            workflow=turn.run.head.workflow,
            step=step.id,
            host_index=index,
            attempt=attempt,
            kind=kind,
            action=plan.action,
            args=args,
            idempotent=plan.idempotent,
            issued_at=to_datetime(env.now),
            expires_at=to_datetime(env.now + env.start_within),
            timeout=plan.timeout / 1_000_000,
            epoch=env.epoch,
            reply_to=turn.run.head.shard,
        ),
    )


def send_cancel(turn: Turn, step: StepDef, index: int, task: Task) -> None:
    """Ask the agent to stop; for a pool, as soon as it is known which agent has it."""
    kind, _, name = task.target.partition(".")
    agent = name if kind == "agent" else task.agent
    if not agent:
        return
    env = turn.env
    turn.record(
        CancelSent(at=env.now, step=step.id, host_index=index, command_id=task.command_id, agent=agent)
    )
    head = turn.run.head
    _hand_out(
        turn,
        Topology.agent_key(agent),
        undo=False,
        command=Command(
            id=command_id(head.id, step.id, index, task.attempt, CommandKind.CANCEL),
            run_id=head.id,
            workflow=head.workflow,
            step=step.id,
            host_index=index,
            attempt=task.attempt,
            kind=CommandKind.CANCEL,
            action=step.action,
            args={"command_id": task.command_id},
            issued_at=to_datetime(env.now),
            expires_at=to_datetime(env.now + env.start_within),
            timeout=step.timeout / 1_000_000,
            epoch=env.epoch,
            reply_to=head.shard,
        ),
    )


def _hand_out(turn: Turn, target: str, *, undo: bool, command: Command) -> None:
    span_id = turn.run.head.trace.span_of(command.step, command.host_index, undo=undo)
    turn.commands.append(Dispatch(target=target, command=command, span_id=span_id))


def fail_unsent(turn: Turn, step: StepDef, index: int, error: ErrorInfo) -> None:
    """An attempt that could not be made, because an expression or the target is wrong."""
    task = turn.run.steps[step.id][index]
    undo = turn.run.going_back
    turn.record(
        AttemptFailed(
            at=turn.env.now,
            step=step.id,
            host_index=index,
            command_id="",
            status="not_sent",
            error=error,
            undo=undo,
            outcome=StepStatus.COMPENSATION_FAILED if undo else outcome_of(turn, task, "not_sent"),
        )
    )


def doubt(turn: Turn, step: StepDef, index: int, task: Task, why: str) -> None:
    """Nobody knows what became of the outstanding command (rule 7)."""
    turn.record(
        TaskInDoubt(at=turn.env.now, step=step.id, host_index=index, command_id=task.command_id, why=why)
    )


def plan_of(step: StepDef, *, undo: bool) -> StepDef | UndoDef:
    """What says how an attempt is made: the step, or its undo."""
    return step.compensate if undo and step.compensate is not None else step


def may_retry(turn: Turn, step: StepDef, task: Task, *, retryable: bool) -> bool:
    """Whether another attempt may follow by itself (rules 2, 3 and 5)."""
    made = task.undo_attempt if task.undoing else task.attempt
    forward_over = turn.run.going_back and not task.undoing
    allowed = task.granted + plan_of(step, undo=task.undoing).retry.attempts
    return retryable and not forward_over and made < allowed


def retry_at(turn: Turn, step: StepDef, task: Task, error: ErrorInfo) -> int | None:
    """When the attempt that follows this error goes out; None: no other follows."""
    if not may_retry(turn, step, task, retryable=error.retryable):
        return None
    made = task.undo_attempt if task.undoing else task.attempt
    retry = plan_of(step, undo=task.undoing).retry
    return turn.env.now + retry.delay_before(made - task.granted, turn.env.jitter)


def outcome_of(turn: Turn, task: Task, status: str) -> StepStatus:
    """What a task is that failed for good in this way."""
    if task.undoing:
        return StepStatus.COMPENSATION_FAILED
    if turn.run.going_back and status in ("cancelled", "never_seen", "expired", "returned", "rejected"):
        return StepStatus.CANCELLED
    return StepStatus.FAILED


def _routing_key(kind: str, name: str) -> str:
    check_name(name, f"name of {kind}")
    return Topology.agent_key(name) if kind == "agent" else Topology.pool_key(name)


def _check_size(args: dict[str, Any]) -> None:
    size = len(encode(args))
    if size > MAX_ARGS_BYTES:
        raise InvalidInput(
            f"the arguments have {size} bytes, more than {MAX_ARGS_BYTES}", code="args_too_large"
        )


def no_retry(error: BatonError) -> ErrorInfo:
    """The error of something that would go wrong the same way again."""
    return ErrorInfo(code=error.code, message=error.message[:2000], retryable=False)

"""What agents and the broker say of a command, and what that makes of its task (rules 2, 7 and 8)."""

from datetime import datetime
from typing import Final

from msgspec.structs import replace

from orchestrator.core.concluding import check_output, fail, may_retry, no_retry, plan_of
from orchestrator.core.definition import StepDef
from orchestrator.core.facts import (
    AttemptStarted,
    AttemptSucceeded,
    NeverSeen,
    ResultIgnored,
)
from orchestrator.core.inputs import CommandExpired, CommandReturned, ResultReceived
from orchestrator.core.model import Run, StepStatus, Task
from orchestrator.core.scope import with_raw_output
from orchestrator.core.sending import doubt
from orchestrator.core.turn import Turn
from schemas.errors import BatonError
from schemas.messages import NOT_STOPPABLE, Command, ErrorInfo, Result, ResultStatus
from schemas.names import Topology
from schemas.times import Micros, from_datetime

__all__ = ["MAX_IGNORED", "on_expired", "on_result", "on_returned"]

MAX_IGNORED: Final = 100
"""How many ignored results one run's history records; a flood beyond that only counts in the metrics."""

PROBED: Final = "no_effect"
"""The error code with which an agent says that the action's probe found no effect of a lost attempt."""

_LOST = ErrorInfo(code="outcome_unknown", message="the agent lost the action after it had started")
_REBUILT = ErrorInfo(code="agent_rebuilt", message="the agent was made anew and remembers nothing of it")


def on_result(turn: Turn, given: ResultReceived) -> None:
    """Take an agent's word on the outstanding attempt; anything else changes nothing (rule 8)."""
    result = given.result
    why = _why_ignored(turn.run, result)
    if why:
        _ignore(turn, result, why)
        return
    step = turn.definition.steps[result.step]
    task = turn.run.steps[result.step][result.host_index]
    match result.status:
        case ResultStatus.STARTED | ResultStatus.PROGRESS:
            _on_taken(turn, step, task, result)
        case ResultStatus.SUCCEEDED:
            _on_success(turn, step, task, result)
        case ResultStatus.UNKNOWN:
            _on_lost(turn, step, task, result, result.error or _LOST)
        case ResultStatus.NEVER_SEEN:
            _on_never_seen(turn, step, task, result)
        case _:
            _on_failure(turn, step, result)


def _why_ignored(run: Run, result: Result) -> str:
    """Why a result has no say; empty when it has."""
    tasks = run.steps.get(result.step, ())
    if result.host_index >= len(tasks):
        return "the run has no such step"
    task = tasks[result.host_index]
    if run.ended is not None:
        return "the run has ended"
    if not task.command_id or result.command_id != task.command_id:
        return "not the outstanding attempt"
    if result.attempt != (task.undo_attempt if task.undoing else task.attempt):
        return "another attempt"
    expected = task.target.removeprefix(_AGENT) if task.target.startswith(_AGENT) else ""
    if not task.undoing and not expected and task.taken_at is not None:
        expected = task.agent
    if expected and result.agent != expected:
        return "from another agent"
    return ""


def _ignore(turn: Turn, result: Result, why: str) -> None:
    if turn.run.ignored >= MAX_IGNORED:
        return
    fact = ResultIgnored(
        at=turn.env.now,
        step=result.step,
        host_index=result.host_index,
        command_id=result.command_id,
        status=result.status,
        agent=result.agent,
        why=why,
    )
    turn.record(fact)


def _on_taken(turn: Turn, step: StepDef, task: Task, result: Result) -> None:
    """The agent has it: its own time limit counts from here. Heartbeats say nothing new."""
    if task.taken_at is not None and task.status is not StepStatus.IN_DOUBT:
        return
    timeout = plan_of(step, undo=task.undoing).timeout
    turn.record(
        AttemptStarted(
            at=turn.env.now,
            step=result.step,
            host_index=result.host_index,
            command_id=result.command_id,
            agent=result.agent,
            due=turn.env.now + timeout + turn.env.grace,
        )
    )


def _on_success(turn: Turn, step: StepDef, task: Task, result: Result) -> None:
    """The attempt did it. A step whose `output` cannot be computed failed, but has effect."""
    output = result.output
    if result.error is not None and not task.undoing:
        # It did its work, but what it says of it cannot be used.
        error = replace(result.error, retryable=False)  # never do again what was done
        _fail_attempt(turn, step, result, error, effect=True)
        return
    if step.output is not None and not task.undoing:
        try:
            output = step.output.render(with_raw_output(turn, step, task, output))
            check_output(turn, output)
        except BatonError as error:
            _fail_attempt(turn, step, result, no_retry(error), effect=True)
            return
    turn.record(
        AttemptSucceeded(
            at=turn.env.now,
            step=result.step,
            host_index=result.host_index,
            command_id=result.command_id,
            agent=result.agent,
            output=None if task.undoing else output,
            started_at=_micros(result.started_at),
            finished_at=_micros(result.finished_at),
        )
    )


def _on_failure(turn: Turn, step: StepDef, result: Result) -> None:
    """The attempt ended without success: it reported failure, was killed, or was refused."""
    error = result.error or ErrorInfo(code=str(result.status), message=f"the agent said '{result.status}'")
    killed = result.status in (ResultStatus.TIMED_OUT, ResultStatus.CANCELLED) and (
        result.started_at is not None
    )
    after_failure = step.compensate is not None and step.compensate.after_failure
    effect = killed or (after_failure and result.status is ResultStatus.FAILED)
    _fail_attempt(turn, step, result, error, effect=effect)


def _on_never_seen(turn: Turn, step: StepDef, task: Task, result: Result) -> None:
    """Proof that it never started, if whoever says so could know; of a pool all must say it (rule 7)."""
    error = result.error or ErrorInfo(code="never_seen", message="the agent never saw the command")
    rebuilt = task.instance and result.instance_id != task.instance
    if (task.taken_at is not None or rebuilt) and error.code != PROBED:
        _on_lost(turn, step, task, result, _REBUILT)  # it is not who had the command, or was sent it
        return
    pool = task.target.removeprefix(_POOL) if task.target.startswith(_POOL) else ""
    if pool:
        others = set(turn.env.registry.members(pool)) - {result.agent, *task.denied}
        if others:
            if result.agent not in task.denied:
                turn.record(
                    NeverSeen(
                        at=turn.env.now,
                        step=step.id,
                        host_index=result.host_index,
                        command_id=task.command_id,
                        agent=result.agent,
                    )
                )
            return
    _fail_attempt(turn, step, result, error, effect=False)


def _on_lost(turn: Turn, step: StepDef, task: Task, result: Result, error: ErrorInfo) -> None:
    """Started, then lost: an idempotent action is tried again, else `on_unknown` decides (rule 7).

    One that goes on although it was told to stop is not lost: whatever came next would race it.
    """
    plan = plan_of(step, undo=task.undoing)
    lost = error.code != NOT_STOPPABLE
    in_pool = task.target.startswith(_POOL) and task.taken_at is None
    policy = step.on_unknown if lost and not (task.undoing or in_pool) else "ask"
    if lost and plan.idempotent and may_retry(turn, step, task, retryable=True):
        _fail_attempt(turn, step, result, error, effect=True)
    elif policy != "ask":
        error = error if policy == "retry" else replace(error, retryable=False)
        _fail_attempt(turn, step, result, error, effect=True)
    elif task.status is StepStatus.IN_DOUBT and (task.lost or in_pool):
        _ignore(turn, result, "nobody knew before either")
    else:  # of a pool another member may know
        doubt(turn, step, result.host_index, f"{result.agent}: {error.message}", lost=not in_pool)


def _fail_attempt(turn: Turn, step: StepDef, result: Result, error: ErrorInfo, *, effect: bool) -> None:
    fail(
        turn,
        step,
        result.host_index,
        error,
        str(result.status),
        effect=effect,
        agent=result.agent,
        started_at=_micros(result.started_at),
        finished_at=_micros(result.finished_at),
    )


# What the broker says


def on_returned(turn: Turn, given: CommandReturned) -> None:
    """No queue took the command."""
    _on_not_taken(turn, given.command, "returned")


def on_expired(turn: Turn, given: CommandExpired) -> None:
    """The broker dropped the command unconsumed."""
    _on_not_taken(turn, given.command, "expired")


def _on_not_taken(turn: Turn, command: Command, status: str) -> None:
    """The command reached no agent, which proves that it never started."""
    tasks = turn.run.steps.get(command.step, ())
    if turn.run.ended is not None or command.host_index >= len(tasks):
        return
    task = tasks[command.host_index]
    if command.id != task.command_id or task.taken_at is not None:
        return
    step = turn.definition.steps[command.step]
    kind, _, name = task.target.partition(".")
    if status == "returned":
        # An undo must not give up at once on an agent that is being replaced.
        error = ErrorInfo(
            code="agent_unknown", message=f"no {kind} named '{name}' has a queue", retryable=task.undoing
        )
    else:
        error = ErrorInfo(
            code="agent_unavailable", message=f"{kind} '{name}' did not take the command in time"
        )
    fail(turn, step, command.host_index, error, status)


_AGENT: Final = Topology.agent_key("")
_POOL: Final = Topology.pool_key("")


def _micros(at: datetime | None) -> Micros | None:
    return None if at is None else from_datetime(at)

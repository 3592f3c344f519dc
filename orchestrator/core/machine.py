"""All transitions of a run. `start` and `apply` decide facts; `facts.evolve` applies them.

The rules, by their numbers in `docs/rules.md`:

2.  A step fails when its attempts are used up or its error is not retryable; then the run goes back.
3.  Quiesce first: nothing new starts, what runs is cancelled, and each task reaches a known outcome before
    any undo begins.
4.  Undo in reverse dependency order: a task with effect is undone once every undo that depends on it is done;
    independent branches side by side.
5.  Undos have their own retries; one that fails for good waits for a person while independent undos go on.
7.  An unknown outcome is not a failure: it is retried only where that is harmless, else it is in doubt.
8.  A late, duplicate or foreign result changes nothing, and is recorded.
9.  Cancel is a failure with a reason.
11. `compensated`: every effect that can be undone was, and no other; `failed`: there was nothing to undo, or
    a person gave up on an undo.
12. A live run has an outstanding command with a deadline, a retry that is due, or needs a person.

Rule 1 (one run per key) is the inbox's and the store's. Duplicate and late results are legal and change
nothing but the history; an input that makes no sense raises `IllegalInput` before anything is decided.
"""

from datetime import datetime
from typing import Final

from msgspec.structs import replace

from orchestrator.core.definition import Definition, StepDef
from orchestrator.core.expressions import ExpressionError
from orchestrator.core.facts import (
    AttemptFailed,
    AttemptStarted,
    AttemptSucceeded,
    ResultIgnored,
    RunEnded,
    RunGoingBack,
    RunStarted,
    TaskCancelled,
    TaskResolved,
    TaskSkipped,
)
from orchestrator.core.inputs import (
    CancelRun,
    CommandExpired,
    CommandReturned,
    Env,
    IllegalInput,
    Input,
    Move,
    ResolveTask,
    ResultReceived,
    Wake,
)
from orchestrator.core.model import Failure, Run, RunHead, RunStatus, StepStatus, Task
from orchestrator.core.scope import run_scope, with_raw_output
from orchestrator.core.sending import (
    doubt,
    fail_unsent,
    may_retry,
    no_retry,
    outcome_of,
    plan_of,
    retry_at,
    send,
    send_cancel,
    send_undo,
)
from orchestrator.core.turn import Turn
from schemas.messages import Command, ErrorInfo, Result, ResultStatus
from schemas.times import from_datetime

__all__ = ["apply", "start"]

MAX_IGNORED: Final = 100
"""How many ignored results one run's history records; a flood beyond that only counts in the metrics."""

_LOST = ErrorInfo(code="outcome_unknown", message="the agent lost the action after it had started")


def start(definition: Definition, head: RunHead, env: Env) -> Move:
    """Begin a run; its first steps are sent at once."""
    turn = Turn(definition, Run(head=head, steps={}), env)
    turn.record(RunStarted(at=env.now, steps=list(definition.steps)))
    _settle(turn)
    return turn.move()


def apply(definition: Definition, run: Run, given: Input, env: Env) -> Move:
    """What an input makes of a run; raises `IllegalInput` and changes nothing if it makes no sense."""
    turn = Turn(definition, run, env)
    match given:
        case ResultReceived(result):
            _on_result(turn, result)
        case CommandReturned(command):
            _on_not_taken(turn, command, "returned")
        case CommandExpired(command):
            _on_not_taken(turn, command, "expired")
        case Wake():
            _on_wake(turn)
        case CancelRun():
            _on_cancel(turn, given)
        case ResolveTask():
            _on_resolve(turn, given)
    _settle(turn)
    return turn.move()


# What arrives


def _on_result(turn: Turn, result: Result) -> None:
    """Take an agent's word on the outstanding attempt; anything else changes nothing (rule 8)."""
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
            _on_lost(turn, step, task, result)
        case _:
            _on_failure(turn, step, task, result)


def _why_ignored(run: Run, result: Result) -> str:
    """Why a result has no say; empty when it has."""
    tasks = run.steps.get(result.step, ())
    if result.host_index >= len(tasks):
        return "the run has no such step"
    task = tasks[result.host_index]
    if run.ended is not None:
        return "the run has ended"
    if result.command_id != task.command_id:
        return "not the outstanding attempt"
    if result.attempt != (task.undo_attempt if task.undoing else task.attempt):
        return "another attempt"
    expected = task.target.removeprefix("agent.") if task.target.startswith("agent.") else ""
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
    """The agent has begun: its own time limit counts from here. Heartbeats say nothing new."""
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
        _fail_attempt(turn, step, task, result, error, effect=True)
        return
    if step.output is not None and not task.undoing:
        scope = with_raw_output(run_scope(turn.run, step.upstream), step.id, output)
        try:
            output = step.output.render(scope)
        except ExpressionError as error:
            _fail_attempt(turn, step, task, result, no_retry(error), effect=True)
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


def _on_failure(turn: Turn, step: StepDef, task: Task, result: Result) -> None:
    """The attempt ended without success: it reported failure, was killed, was refused, or was never seen."""
    error = result.error or ErrorInfo(code=str(result.status), message=f"the agent said '{result.status}'")
    killed = result.status in (ResultStatus.TIMED_OUT, ResultStatus.CANCELLED) and (
        result.started_at is not None or task.taken_at is not None
    )
    after_failure = step.compensate is not None and step.compensate.after_failure
    effect = killed or (after_failure and result.status is ResultStatus.FAILED)
    _fail_attempt(turn, step, task, result, error, effect=effect)


def _on_lost(turn: Turn, step: StepDef, task: Task, result: Result) -> None:
    """Started, then lost. Only an idempotent action may be tried again without asking (rule 7)."""
    harmless = plan_of(step, undo=task.undoing).idempotent
    if harmless and may_retry(turn, step, task, retryable=True):
        _fail_attempt(turn, step, task, result, result.error or _LOST, effect=True)
    elif task.status is StepStatus.IN_DOUBT:
        _ignore(turn, result, "nobody knew before either")
    else:
        doubt(turn, step, result.host_index, task, "the agent lost it after it had started")


def _fail_attempt(
    turn: Turn, step: StepDef, task: Task, result: Result, error: ErrorInfo, *, effect: bool
) -> None:
    fact = AttemptFailed(
        at=turn.env.now,
        step=step.id,
        host_index=result.host_index,
        command_id=result.command_id,
        status=str(result.status),
        error=error,
        undo=task.undoing,
        effect=effect and not task.undoing,
        retry_at=retry_at(turn, step, task, error),
        outcome=outcome_of(turn, task, str(result.status)),
        agent=result.agent,
        started_at=_micros(result.started_at),
        finished_at=_micros(result.finished_at),
    )
    turn.record(fact)


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
    turn.record(
        AttemptFailed(
            at=turn.env.now,
            step=step.id,
            host_index=command.host_index,
            command_id=command.id,
            status=status,
            error=error,
            undo=task.undoing,
            retry_at=retry_at(turn, step, task, error),
            outcome=outcome_of(turn, task, status),
        )
    )


def _on_wake(turn: Turn) -> None:
    """Look at everything that is due: a retry is sent, an attempt past its deadline is in doubt."""
    if turn.run.ended is not None:
        return
    for step, index, task in turn.tasks():
        if task.due is None or task.due > turn.env.now:
            continue
        if task.command_id:
            doubt(turn, step, index, task, "no answer within its time limit")
        elif task.undoing:
            send_undo(turn, step, index)
        elif not turn.run.going_back:
            send(turn, step, index)


def _on_cancel(turn: Turn, given: CancelRun) -> None:
    run = turn.run
    if run.ended is not None:
        raise IllegalInput(f"run {run.head.id} has already ended: {run.ended}", code="run_ended")
    if run.going_back:
        raise IllegalInput(
            f"run {run.head.id} is already being undone",
            code="already_going_back",
            hint="wait, or resolve what needs you",
        )
    failure = Failure(step="", code="cancelled", message=given.reason or f"cancelled by {given.who}")
    turn.record(RunGoingBack(at=turn.env.now, failure=failure, cancelled_by=given.who))


def _on_resolve(turn: Turn, given: ResolveTask) -> None:
    tasks = turn.run.steps.get(given.step, ())
    if given.host_index >= len(tasks):
        raise IllegalInput(f"run {turn.run.head.id} has no step '{given.step}'", code="no_such_step")
    task = tasks[given.host_index]
    if turn.run.ended is not None or not task.needs_person:
        raise IllegalInput(
            f"step '{given.step}' is {task.status}; it needs no decision",
            code="not_in_question",
            hint="only a step in doubt or a failed undo can be resolved",
        )
    if given.decision not in ("retry", "skip", "done"):
        raise IllegalInput(f"'{given.decision}' is not a decision", hint="use retry, skip or done")
    if given.decision == "retry" and turn.run.going_back and not task.undoing:
        raise IllegalInput(
            f"step '{given.step}' cannot be tried again: the run is being undone",
            code="already_going_back",
            hint="say 'done' if it had its effect, 'skip' if it had none",
        )
    step = turn.definition.steps[given.step]
    if given.decision != "done" and task.command_id and not task.undoing:
        send_cancel(turn, step, given.host_index, task)  # it may still wait to be started
    turn.record(
        TaskResolved(
            at=turn.env.now,
            step=given.step,
            host_index=given.host_index,
            decision=given.decision,
            who=given.who,
            why=given.why,
            output=given.output,
        )
    )
    if given.decision == "retry":
        if task.undoing:
            send_undo(turn, step, given.host_index)
        else:
            send(turn, step, given.host_index)


# What follows


def _settle(turn: Turn) -> None:
    """Draw every conclusion, to a fixed point: go forward, go back, end."""
    seen = -1
    while turn.run.ended is None and seen != turn.run.seq:
        seen = turn.run.seq
        if not turn.run.going_back:
            _notice_failure(turn)
        if not turn.run.going_back:
            _go_forward(turn)
            _succeed(turn)
        elif _quiesce(turn):
            _undo(turn)
            _end(turn)


def _notice_failure(turn: Turn) -> None:
    """A step that failed for good turns the run round (rule 2)."""
    for step, _, task in turn.tasks():
        if task.status is StepStatus.FAILED:
            error = task.error or ErrorInfo(code="failed")
            failure = Failure(step=step.id, code=error.code, message=error.message)
            turn.record(RunGoingBack(at=turn.env.now, failure=failure))
            return


def _go_forward(turn: Turn) -> None:
    """Start or skip every step whose needs are done."""
    for step, index, task in turn.tasks():
        if task.status is not StepStatus.PENDING or not all(
            _is_done(turn.run.steps[need]) for need in step.needs
        ):
            continue
        if step.condition is not None:
            try:
                wanted = step.condition.evaluate_bool(run_scope(turn.run, step.upstream))
            except ExpressionError as error:
                fail_unsent(turn, step, index, no_retry(error))
                return
            if not wanted:
                turn.record(TaskSkipped(at=turn.env.now, step=step.id, host_index=index))
                continue
        send(turn, step, index)
        if turn.run.steps[step.id][index].status is StepStatus.FAILED:
            return  # it could not even be sent: the run goes back before anything else starts


def _succeed(turn: Turn) -> None:
    """End well when every step is done."""
    run = turn.run
    if not all(_is_done(tasks) for tasks in run.steps.values()):
        return
    output = None
    if turn.definition.output is not None:
        try:
            output = turn.definition.output.render(run_scope(run, run.steps))
        except ExpressionError as error:
            failure = Failure(step="", code=error.code, message=f"output: {error.message}")
            turn.record(RunGoingBack(at=turn.env.now, failure=failure))
            return
    turn.record(RunEnded(at=turn.env.now, status=RunStatus.SUCCEEDED, output=output))


def _quiesce(turn: Turn) -> bool:
    """Stop what goes forward; true once every forward task has a known outcome (rule 3)."""
    quiet = True
    for step, index, task in turn.tasks():
        if task.undoing:
            continue
        waiting = task.status is StepStatus.RUNNING and not task.command_id
        if task.status is StepStatus.PENDING or waiting:
            turn.record(TaskCancelled(at=turn.env.now, step=step.id, host_index=index))
        elif task.status in (StepStatus.RUNNING, StepStatus.IN_DOUBT):
            quiet = False
            if not task.cancel_sent:
                send_cancel(turn, step, index, task)
    return quiet


def _undo(turn: Turn) -> None:
    """Send every undo whose dependents are undone (rule 4)."""
    for step, index, task in reversed(turn.tasks()):
        if not _wants_undo(step, task) or task.undoing:
            continue
        later = (turn.definition.steps[name] for name in step.dependents)
        if not any(
            _wants_undo(other, other_task) for other in later for other_task in turn.run.steps[other.id]
        ):
            send_undo(turn, step, index)


def _end(turn: Turn) -> None:
    """End a run that went back once no undo is wanted any more (rules 9 and 11)."""
    tasks = turn.tasks()
    if any(_wants_undo(step, task) for step, _, task in tasks):
        return
    given_up = [step.id for step, _, task in tasks if task.given_up]
    reason = ""
    if given_up:
        status = RunStatus.FAILED
        reason = f"{turn.run.reason}; given up: undo of {', '.join(given_up)}"
    elif turn.run.cancel is not None:
        status = RunStatus.CANCELLED
    elif any(task.status is StepStatus.COMPENSATED for _, _, task in tasks):
        status = RunStatus.COMPENSATED
    else:
        status = RunStatus.FAILED
    turn.record(RunEnded(at=turn.env.now, status=status, reason=reason))


def _is_done(tasks: tuple[Task, ...]) -> bool:
    return all(task.status is StepStatus.SUCCEEDED or task.status is StepStatus.SKIPPED for task in tasks)


def _wants_undo(step: StepDef, task: Task) -> bool:
    """Whether an effect of this task has yet to be undone."""
    return (
        step.compensate is not None
        and task.effect
        and not task.given_up
        and task.status is not StepStatus.COMPENSATED
    )


def _micros(at: datetime | None) -> int | None:
    return None if at is None else from_datetime(at)

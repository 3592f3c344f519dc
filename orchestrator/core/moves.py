"""What people do to a run: cancel, pause, resume, resolve, retry, move. Approving is in `waiting`."""

from orchestrator.core.changes import step_changes
from orchestrator.core.concluding import check_output
from orchestrator.core.facts import (
    RetryHurried,
    RunEnded,
    RunGoingBack,
    RunMoved,
    RunPaused,
    RunResumed,
    StepsReset,
    TaskResolved,
)
from orchestrator.core.inputs import (
    CancelRun,
    IllegalInput,
    MoveRun,
    PauseRun,
    ReleaseRun,
    ResolveTask,
    ResumeRun,
    RetryFrom,
    RetryNow,
)
from orchestrator.core.model import Failure, RunStatus, StepStatus, Task
from orchestrator.core.sending import send_cancel
from orchestrator.core.turn import Turn

__all__ = ["on_cancel", "on_move", "on_pause", "on_resolve", "on_resume", "on_retry_from", "on_retry_now"]


def on_cancel(turn: Turn, given: CancelRun) -> None:
    """Turn the run round (rule 9).

    A parent whose wish comes too late hears all the same how the run stands; what is done it can still undo,
    or go on with, if that was its pivot.
    """
    run = turn.run
    if given.by_parent and (run.ended is not None or run.going_back or run.pivoted or run.held):
        return
    _check_live(turn)
    _check_forward(turn)
    if run.pivoted:
        raise IllegalInput(
            f"run {run.head.id} has passed its pivot: nothing is undone any more",
            code="past_pivot",
            hint="resolve what needs you, or let it end",
        )
    _check_not_held(turn, "cancel")
    if run.paused:
        turn.record(RunResumed(at=turn.env.now, who=given.who, why="cancelled"))
    failure = Failure(step="", code="cancelled", message=given.reason or f"cancelled by {given.who}")
    turn.record(RunGoingBack(at=turn.env.now, failure=failure, cancelled_by=given.who))
    if run.queued:
        turn.record(RunEnded(at=turn.env.now, status=RunStatus.CANCELLED))


def on_pause(turn: Turn, given: PauseRun) -> None:
    """Let nothing new start."""
    run = turn.run
    _check_live(turn)
    if run.paused or run.queued or run.held:
        what = "paused already" if run.paused else "queued" if run.queued else "done and waits for its parent"
        raise IllegalInput(f"run {run.head.id} is {what}", code="cannot_pause")
    turn.record(RunPaused(at=turn.env.now, who=given.who, why=given.why))


def on_resume(turn: Turn, given: ResumeRun) -> None:
    """Let it go on; what had become due meanwhile is done when it is woken."""
    _check_live(turn)
    if not turn.run.paused:
        raise IllegalInput(f"run {turn.run.head.id} is {turn.run.status}, not paused", code="not_paused")
    turn.record(RunResumed(at=turn.env.now, who=given.who, why=given.why))


def on_resolve(turn: Turn, given: ResolveTask) -> None:
    """Take a person's decision about a task that is in question."""
    task = _task_in_question(turn, given)
    run, step = turn.run, turn.definition.steps[given.step]
    if given.decision not in ("retry", "skip", "done"):
        raise IllegalInput(f"'{given.decision}' is not a decision", hint="use retry, skip or done")
    if given.decision == "retry" and run.going_back and not task.undoing:
        raise IllegalInput(
            f"step '{given.step}' cannot be tried again: the run is being undone",
            code="already_going_back",
            hint="say 'done' if it had its effect, 'skip' if it had none",
        )
    left = task.child if task.effect and not task.undoing else ""
    if given.decision == "retry" and left:
        raise _child_done(given.step, "say 'skip' to leave what it did, or 'done' to go on")
    check_output(turn, given.output)
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
        turn.due.append((step, given.host_index))
    elif given.decision == "skip" and left:
        turn.signal(left, ReleaseRun())  # nobody will ask it to undo itself


def _task_in_question(turn: Turn, given: ResolveTask) -> Task:
    tasks = turn.run.steps.get(given.step, ())
    if given.host_index >= len(tasks):
        raise IllegalInput(f"run {turn.run.head.id} has no step '{given.step}'", code="no_such_step")
    task = tasks[given.host_index]
    if turn.run.ended is not None or not task.in_question:
        raise IllegalInput(
            f"step '{given.step}' is {task.status}; it needs no decision",
            code="not_in_question",
            hint="only a step in doubt, a failed undo, or one that failed and waits for you can be resolved",
        )
    return task


def on_retry_now(turn: Turn, given: RetryNow) -> None:
    """Do not wait any longer before the next attempts."""
    _check_live(turn)
    waiting = [
        (step, index)
        for step, index, task in turn.tasks()
        if task.due is not None and not task.command_id and task.wait is None
        if task.status in (StepStatus.RUNNING, StepStatus.COMPENSATING)
    ]
    if not waiting or turn.run.paused:
        raise IllegalInput(
            f"run {turn.run.head.id} has no attempt that waits for its turn"
            if not waiting
            else f"run {turn.run.head.id} is paused",
            code="nothing_to_retry",
            hint="baton runs show says when the next attempt is made",
        )
    for step, index in waiting:
        turn.record(
            RetryHurried(at=turn.env.now, step=step.id, host_index=index, who=given.who, why=given.why)
        )
    turn.due += waiting


def on_retry_from(turn: Turn, given: RetryFrom) -> None:
    """Do a step and what depends on it again; all else keeps its results."""
    run = turn.run
    _check_live(turn)
    _check_forward(turn)
    _check_not_held(turn, "retry")
    step = turn.definition.steps.get(given.step)
    if step is None or run.queued:
        raise IllegalInput(f"run {run.head.id} has no step '{given.step}'", code="no_such_step")
    again = [name for name in run.steps if name == step.id or name in step.dependents]
    for name in again:
        for task in run.steps[name]:
            if task.command_id or task.wait is not None:
                raise IllegalInput(
                    f"step '{name}' is under way",
                    code="step_running",
                    hint="pause the run, and retry once the step has ended",
                )
            if task.child and task.effect:
                raise _child_done(name, "retry from a later step, or cancel the run")
        if run.pivoted and turn.definition.steps[name].pivot:
            raise IllegalInput(
                f"the pivot '{name}' is done", code="past_pivot", hint="retry from a later step"
            )
    turn.record(StepsReset(at=turn.env.now, steps=again, who=given.who, why=given.why))


def _child_done(step: str, hint: str) -> IllegalInput:
    """What a child run has done is there until that very run undoes it: no other takes its place."""
    message = f"step '{step}' has run a child workflow, which cannot be forgotten"
    return IllegalInput(message, code="child_done", hint=hint)


def on_move(turn: Turn, given: MoveRun) -> None:
    """Let the run keep to another version, if what it has begun is the same there."""
    run, to = turn.run, given.to
    _check_live(turn)
    _check_forward(turn)
    _check_not_held(turn, "move")
    old = turn.definition
    if to.name != run.head.workflow:
        raise IllegalInput(f"that is workflow '{to.name}', not '{run.head.workflow}'", code="cannot_move")
    if to.version == run.version:
        raise IllegalInput(f"run {run.head.id} is of version {to.version[:12]} already", code="cannot_move")
    if problems := to.check_input(run.head.input):
        raise IllegalInput(
            f"its input does not fit the new version: {'; '.join(problems)}", code="cannot_move"
        )
    changes = step_changes(old.document, to.document)
    begun = [name for name, tasks in run.steps.items() if any(map(_begun, tasks)) or not tasks]
    for name in begun:
        if name in changes.removed:
            raise IllegalInput(f"step '{name}' has begun, and the new version lacks it", code="cannot_move")
        if name in changes.changed:
            fields = ", ".join(changes.changed[name])
            raise IllegalInput(
                f"step '{name}' has begun, and differs in the new version: {fields}",
                code="cannot_move",
                hint="baton workflows diff shows how",
            )
    turn.record(
        RunMoved(at=turn.env.now, version=to.version, steps=list(to.steps), who=given.who, why=given.why)
    )
    turn.definition = to
    turn.touched = set(to.steps)


def _begun(task: Task) -> bool:
    return task.status is not StepStatus.PENDING or task.part or task.attempt > 0


def _check_live(turn: Turn) -> None:
    run = turn.run
    if run.ended is not None:
        raise IllegalInput(f"run {run.head.id} has already ended: {run.ended}", code="run_ended")


def _check_forward(turn: Turn) -> None:
    run = turn.run
    if run.going_back:
        raise IllegalInput(
            f"run {run.head.id} is already being undone",
            code="already_going_back",
            hint="wait, or resolve what needs you",
        )


def _check_not_held(turn: Turn, wish: str) -> None:
    """Its parent counts on what it said: nothing of it changes but by its parent (rule 10)."""
    run = turn.run
    if run.held:
        raise IllegalInput(
            f"run {run.head.id} is done and waits for its parent",
            code="held",
            hint=f"{wish} its parent, run {run.head.parent.run_id if run.head.parent else ''}",
        )

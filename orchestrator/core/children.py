"""Child runs: how a `workflow` step starts one, hears of it, and has it undone (rule 10)."""

from orchestrator.core.concluding import fail, fail_unsent, no_retry, succeed
from orchestrator.core.definition import StepDef
from orchestrator.core.facts import CancelSent, TaskDone, TaskResolved, TaskWaiting
from orchestrator.core.inputs import CancelRun, ChildEnded, ReleaseRun, StartChild, UndoRun
from orchestrator.core.model import Run, StepStatus, Task, Wait, WaitOn, child_id
from orchestrator.core.scope import task_scope
from orchestrator.core.turn import Turn
from orchestrator.core.waiting import begin_wait
from schemas.errors import BatonError, InvalidInput
from schemas.messages import ErrorInfo

__all__ = [
    "answer_undo",
    "on_child",
    "release_children",
    "start_child",
    "stop_child",
    "tell_parent",
    "undo_child",
]


def start_child(turn: Turn, step: StepDef, index: int) -> None:
    """Begin an attempt of a `workflow` step."""
    try:
        _start_child(turn, step, index)
    except BatonError as error:
        fail_unsent(turn, step, index, no_retry(error))


def _start_child(turn: Turn, step: StepDef, index: int) -> None:
    head = turn.run.head
    depth = 1 + (0 if head.parent is None else head.parent.depth)
    if depth > turn.env.limits.child_depth:
        raise InvalidInput(
            f"child runs are nested deeper than {turn.env.limits.child_depth} (setting max_child_depth)",
            code="too_deep",
        )
    attempt = 1 + turn.task(step, index).attempt
    value = step.args.render(task_scope(turn, step, turn.task(step, index)))
    child = child_id(head.id, step.id, index, attempt)
    begin_wait(turn, step, index, Wait(WaitOn.CHILD, child=child), None)
    span_id = head.trace.span_of(step.id, index, undo=False)
    turn.children.append(
        StartChild(child, step.child, step.id, index, attempt, value, span_id, step.priority)
    )


def undo_child(turn: Turn, step: StepDef, index: int) -> None:
    """Let the child run do its own undos (rule 10)."""
    task = turn.task(step, index)
    if not task.child:  # a person marked the step as done: there is no run to undo
        turn.record(TaskDone(at=turn.env.now, step=step.id, host_index=index, undo=True))
        return
    attempt = 1 + task.undo_attempt
    wait = Wait(WaitOn.CHILD, child=task.child)
    turn.record(
        TaskWaiting(at=turn.env.now, step=step.id, host_index=index, attempt=attempt, wait=wait, undo=True)
    )
    turn.signal(task.child, UndoRun(turn.run.reason))


def on_child(turn: Turn, given: ChildEnded) -> None:
    """Take the word of the child run that a task waits for; any other says nothing new (rule 8)."""
    tasks = turn.run.steps.get(given.step, ())
    task = tasks[given.host_index] if given.host_index < len(tasks) else None
    if turn.run.ended is not None or task is None or task.wait is None or task.wait.child != given.run_id:
        return
    step = turn.definition.steps[given.step]
    if task.undoing:
        _on_child_undone(turn, step, given)
    elif given.outcome == "done":
        succeed(turn, step, given.host_index, given.output)
    else:
        # What a person gave up on is still there: it is not done once more on top of that, and the child is
        # asked again when this run goes back.
        error = ErrorInfo(
            given.code or "child_failed",
            given.message[:2000],
            retryable=given.outcome != "given_up",
            details={"run_id": given.run_id, "status": given.status},
        )
        status = "cancelled" if error.code == "child_cancelled" else "failed"
        fail(turn, step, given.host_index, error, status, effect=given.outcome == "given_up")


def _on_child_undone(turn: Turn, step: StepDef, given: ChildEnded) -> None:
    now, index = turn.env.now, given.host_index
    if given.outcome == "given_up":
        turn.record(
            TaskResolved(
                at=now, step=step.id, host_index=index, decision="skip", who="", why="given up in the child"
            )
        )
    elif given.outcome == "refused":
        fail(turn, step, index, ErrorInfo("past_pivot", given.message, retryable=False), "failed")
    elif given.outcome in ("failed", "undone"):
        turn.record(TaskDone(at=now, step=step.id, host_index=index, undo=True))


def answer_undo(turn: Turn) -> None:
    """Tell the parent that wants this run undone, which has ended or cannot be undone, how that stands."""
    run, parent = turn.run, turn.run.head.parent
    if parent is None:
        return
    given_up = any(task.given_up for tasks in run.steps.values() for task in tasks)
    turn.signal(
        parent.run_id,
        ChildEnded(
            step=parent.step,
            host_index=parent.host_index,
            run_id=run.head.id,
            outcome="refused" if run.pivoted else "given_up" if given_up else "undone",
            status=run.status,
            message=f"run {run.head.id} has passed its pivot" if run.pivoted else "",
        ),
    )


def stop_child(turn: Turn, step: StepDef, index: int, task: Task) -> bool:
    """The run goes back: whether the task can simply be given up; a child must be cancelled first."""
    if task.wait is None or task.wait.on is not WaitOn.CHILD:
        return True
    if not task.cancel_sent:
        turn.record(CancelSent(at=turn.env.now, step=step.id, host_index=index, command_id="", agent=""))
        reason = f"its parent goes back: {turn.run.reason}"
        turn.signal(task.wait.child, CancelRun(who=f"run {turn.run.head.id}", reason=reason, by_parent=True))
    return False


def release_children(turn: Turn) -> None:
    """The run has ended, and so have its children for good."""
    for _, _, task in turn.tasks():
        if task.child and task.effect and task.status is not StepStatus.COMPENSATED:
            turn.signal(task.child, ReleaseRun())


def tell_parent(turn: Turn, run: Run) -> None:
    """Let the parent, if there is one, know where this run stands: held or ended."""
    parent = run.head.parent
    if parent is None:
        return
    given_up = any(task.given_up for tasks in run.steps.values() for task in tasks)
    failure = run.failure
    cancelled = failure is not None and failure.code == "cancelled"
    turn.signal(
        parent.run_id,
        ChildEnded(
            step=parent.step,
            host_index=parent.host_index,
            run_id=run.head.id,
            outcome="given_up" if given_up else "done" if failure is None else "failed",
            status=run.status,
            output=run.output,
            code="" if failure is None else "child_cancelled" if cancelled else "child_failed",
            message="" if failure is None else _why(run, failure.code),
        ),
    )


def _why(run: Run, code: str) -> str:
    """What the parent's step gives as its error: the cause, from however far below, and not the way to it."""
    if code in ("child_failed", "child_cancelled"):
        return run.reason
    return f"{run.head.workflow} {run.status}: {code}: {run.reason}"

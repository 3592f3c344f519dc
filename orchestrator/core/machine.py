"""All transitions of a run. `start` and `apply` decide facts; `evolution.evolve` applies them.

The rules, by their numbers in `docs/rules.md`:

2.  A step fails when its attempts are used up or its error is not retryable; then the run goes back, unless
    its `on_failure` or a passed pivot says otherwise.
3.  Quiesce first: nothing new starts, what runs is cancelled, and each task reaches a known outcome before
    any undo begins.
4.  Undo in reverse dependency order: a task with effect is undone once every undo that depends on it is done;
    independent branches side by side; of a rollout the last batch first.
5.  Undos have their own retries; one that fails for good waits for a person while independent undos go on.
6.  After the pivot succeeded nothing is undone: a later step that fails for good waits for a person.
7.  An unknown outcome is not a failure: agents are asked, it is retried only where that is harmless.
8.  A late, duplicate or foreign result changes nothing, and is recorded.
9.  Cancel is a failure with a reason; past the pivot it is refused.
10. Undoing a child run is that run's own undos; until its parent has ended it only waits, and can do so.
11. `compensated`: every effect that can be undone was, and no other; `failed`: there was nothing to undo, or
    a person gave up on an undo.
12. A live run has an outstanding command with a deadline, a timer, or waits for an event, a run or a person.
    A move that has begun, undone or stopped as many tasks as one may at once has a timer for the next, now.

Rule 1 (one run per key) is the inbox's and the store's. What agents say is in `answers`, how attempts are
made in `sending` and what comes of them in `concluding`, steps that wait in `waiting`, child runs in
`children`, steps with many tasks in `fan_out`, the way back in `going_back`, what people do in `moves`.
Duplicate and late results are legal and change nothing but the history; an input that makes no sense raises
`IllegalInput` before anything is decided.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from orchestrator.core import answers, children, moves, waiting
from orchestrator.core.concluding import check_output, fail_unsent, why_unsent
from orchestrator.core.definition import Definition, StepDef
from orchestrator.core.facts import (
    FailureTolerated,
    PivotPassed,
    RunEnded,
    RunGoingBack,
    RunHeld,
    RunPaused,
    RunQueued,
    RunStarted,
    RunYielded,
    StepsKept,
    TaskParked,
    TaskSkipped,
)
from orchestrator.core.fan_out import expand, ready_forward, too_many_failed
from orchestrator.core.going_back import begin_undo, end, quiesce, undo, wants_undo
from orchestrator.core.inputs import (
    AdmitRun,
    ApproveTask,
    CancelRun,
    ChildEnded,
    CommandExpired,
    CommandReturned,
    Env,
    EventArrived,
    Input,
    Move,
    MoveRun,
    PauseRun,
    ReleaseRun,
    ResolveTask,
    ResultReceived,
    ResumeRun,
    RetryFrom,
    RetryNow,
    UndoRun,
    Wake,
)
from orchestrator.core.model import Failure, Run, RunHead, RunStatus, StepStatus, Task, all_done
from orchestrator.core.scope import run_scope
from orchestrator.core.sending import ask_agents, doubt, send
from orchestrator.core.turn import Turn
from schemas.errors import BatonError
from schemas.messages import ErrorInfo

__all__ = ["apply", "start"]


def start(
    definition: Definition,
    head: RunHead,
    env: Env,
    *,
    queued: bool = False,
    kept: Mapping[str, tuple[Task, ...]] | None = None,
) -> Move:
    """Begin a run; its first steps are sent at once, unless it is to wait for room in its group.

    `kept`: the steps of the ended run that it is a retry of, with their results.
    """
    run = Run(head=head, steps={})
    turn = Turn(definition, run, env)
    if kept:
        turn.record(StepsKept(at=env.now, steps=dict(kept)))
    if queued:
        turn.record(RunQueued(at=env.now, group=head.group))
    else:
        _begin_run(turn)
    return _settled(turn, run)


def apply(definition: Definition, run: Run, given: Input, env: Env) -> Move:
    """What an input makes of a run; raises `IllegalInput` and changes nothing if it makes no sense."""
    turn = Turn(definition, run, env)
    _ON[type(given)](turn, given)
    if not turn.run.paused:
        for step, index in turn.due:
            if turn.run.going_back and not turn.task(step, index).undoing:
                continue  # quiescing cancels it
            if not turn.take():
                break  # they stay due
            _attempt(turn, step, index)
    return _settled(turn, run)


def _begin_run(turn: Turn) -> None:
    timeout = turn.definition.timeout
    deadline = None if timeout is None else turn.env.now + timeout
    turn.record(RunStarted(at=turn.env.now, steps=list(turn.definition.steps), deadline=deadline))


# What arrives


def _on_admit(turn: Turn, _: AdmitRun) -> None:
    if turn.run.queued and turn.run.ended is None:
        _begin_run(turn)


def _on_wake(turn: Turn, _: Wake) -> None:
    """Look at everything that is due."""
    run, now = turn.run, turn.env.now
    if run.ended is not None:
        return
    for step, index, task in turn.tasks():
        if task.due is None or task.due > now:
            continue
        if task.status is StepStatus.PENDING:
            turn.touched.add(step.id)  # the pause before its batch is over
        elif not task.command_id and task.wait is None:
            turn.due.append((step, index))
        elif turn.take():  # else it stays due
            _on_due(turn, step, index, task)


def _on_due(turn: Turn, step: StepDef, index: int, task: Task) -> None:
    """An attempt past its deadline is in doubt, agents are asked again, a wait is over."""
    if task.status is StepStatus.IN_DOUBT:
        ask_agents(turn, step, index)
    elif task.command_id:
        doubt(turn, step, index, "no answer within its time limit")
    else:
        waiting.on_time(turn, step, index, task)


def _on_undo(turn: Turn, given: UndoRun) -> None:
    """The parent goes back (rule 10). What has ended already only says how."""
    run = turn.run
    if run.ended is None and not run.pivoted:
        if not run.going_back:
            turn.record(RunGoingBack(at=turn.env.now, failure=Failure("", "parent_undo", given.reason)))
        return
    children.answer_undo(turn)


def _on_release(turn: Turn, _: ReleaseRun) -> None:
    if turn.run.held and turn.run.ended is None:
        turn.record(RunEnded(at=turn.env.now, status=RunStatus.SUCCEEDED, output=turn.run.output))


_ON: Final[dict[type, Callable[[Turn, Any], None]]] = {
    ResultReceived: answers.on_result,
    CommandReturned: answers.on_returned,
    CommandExpired: answers.on_expired,
    EventArrived: waiting.on_event,
    Wake: _on_wake,
    AdmitRun: _on_admit,
    CancelRun: moves.on_cancel,
    PauseRun: moves.on_pause,
    ResumeRun: moves.on_resume,
    ResolveTask: moves.on_resolve,
    ApproveTask: waiting.on_approval,
    RetryNow: moves.on_retry_now,
    RetryFrom: moves.on_retry_from,
    MoveRun: moves.on_move,
    ChildEnded: children.on_child,
    UndoRun: _on_undo,
    ReleaseRun: _on_release,
}


# What follows


def _settled(turn: Turn, before: Run) -> Move:
    """Draw every conclusion, to a fixed point: go forward, go back, end. Others hear of an end or a hold."""
    seen = -1
    while turn.run.ended is None and not turn.run.queued and seen != turn.run.seq:
        seen, turn.cut = turn.run.seq, False
        _pass_pivot(turn)
        _check_limits(turn)
        _notice_failures(turn)
        if not turn.run.going_back:
            _go_forward(turn)
            _succeed(turn)
        elif quiesce(turn):
            undo(turn)
            end(turn)
    if turn.cut and turn.run.ended is None:
        turn.record(RunYielded(at=turn.env.now))
    run = turn.run
    if run.ended is not None and before.ended is None:
        children.release_children(turn)
        if not before.held or run.failure is not None:  # its parent knows that it was done
            children.tell_parent(turn, run)
    elif run.held and not before.held:
        children.tell_parent(turn, run)
    return turn.move()


def _check_limits(turn: Turn) -> None:
    """Turn a run round that is past its time limit, or whose history shows that it goes round in circles."""
    run, limit = turn.run, turn.env.limits.history
    if run.going_back or run.pivoted:
        return
    if run.seq > limit:
        message = f"its history has {run.seq} facts, more than the limit of {limit} (setting max_history)"
        turn.record(RunGoingBack(at=turn.env.now, failure=Failure("", "history_full", message)))
    elif run.deadline is not None and run.deadline <= turn.env.now and not (run.paused or run.held):
        seconds = (turn.definition.timeout or 0) // 1_000_000
        failure = Failure("", "run_timed_out", f"it was not done within {seconds} s")
        turn.record(RunGoingBack(at=turn.env.now, failure=failure))


def _pass_pivot(turn: Turn) -> None:
    """Once the pivot succeeded nothing is undone, also when the run was about to (rule 6)."""
    pivot = turn.definition.pivot
    if pivot is None or turn.run.pivoted or pivot.id not in turn.touched:
        return
    tasks = turn.run.steps[pivot.id]
    if all_done(tasks) and any(task.status is StepStatus.SUCCEEDED for task in tasks):
        turn.record(PivotPassed(at=turn.env.now, step=pivot.id))
        turn.touched.update(turn.run.steps)
        turn.failed = [(step, index) for step, index, task in turn.tasks() if task.is_unnoticed]


def _notice_failures(turn: Turn) -> None:
    """What becomes of tasks that failed for good (rules 2 and 6)."""
    failed, turn.failed = turn.failed, []
    for step, index in failed:
        if turn.run.going_back:
            return
        if turn.task(step, index).is_unnoticed:
            _on_failed(turn, step, index)


def _on_failed(turn: Turn, step: StepDef, index: int) -> None:
    """A task failed for good: it is tolerated, waits for a person, or turns the run round."""
    now, error = turn.env.now, turn.task(step, index).error or ErrorInfo(code="failed")
    if step.on_failure == "continue" or not too_many_failed(step, turn.run.steps[step.id]):
        turn.record(FailureTolerated(at=now, step=step.id, host_index=index))
    elif turn.run.pivoted or step.on_failure == "pause":
        why = f"{error.code}: {error.message}"
        turn.record(TaskParked(at=now, step=step.id, host_index=index, why=why))
        if not turn.run.pivoted and not turn.run.paused:
            turn.record(RunPaused(at=now, who="", why=f"step {step.id} failed"))
    else:
        failure = Failure(step=step.id, code=error.code, message=error.message)
        turn.record(RunGoingBack(at=now, failure=failure))


def _go_forward(turn: Turn) -> None:
    """Start or skip every step whose needs are done."""
    if turn.run.paused:
        return
    touched = turn.touched
    for step in turn.definition.steps.values():
        if step.id not in touched and touched.isdisjoint(step.needs):
            continue
        tasks = turn.run.steps[step.id]
        if not tasks or not _needs_done(turn, step):
            continue  # what was fanned out may have been reset with a step that it needs
        if tasks[0].part:
            _start_ready(turn, step)
        elif tasks[0].status is StepStatus.PENDING and turn.take():
            _start_step(turn, step)
        if turn.failed:
            return  # it could not even be sent: what follows from that comes first


def _start_step(turn: Turn, step: StepDef) -> None:
    """Begin or skip a step whose needs are done."""
    try:
        if step.condition is not None and not step.condition.evaluate_bool(run_scope(turn, step.upstream)):
            turn.record(TaskSkipped(at=turn.env.now, step=step.id, host_index=0))
        elif step.fans_out:
            expand(turn, step)
            _start_ready(turn, step)
        else:
            _attempt(turn, step, 0)
    except BatonError as error:
        fail_unsent(turn, step, 0, why_unsent(error))


def _start_ready(turn: Turn, step: StepDef) -> None:
    """Begin the tasks of a fan-out that may begin, until one turns out to be impossible."""
    for index in ready_forward(turn, step):
        if not turn.take():
            return
        _attempt(turn, step, index)
        if turn.task(step, index).status is StepStatus.FAILED and step.on_failure != "continue":
            return


def _attempt(turn: Turn, step: StepDef, index: int) -> None:
    """Make the next attempt of a task, forward or back."""
    task = turn.task(step, index)
    if task.undoing:
        begin_undo(turn, step, index)
    elif step.fans_out and not task.part:
        _start_step(turn, step)
    elif step.kind == "action":
        send(turn, step, index)
    elif step.kind == "workflow":
        children.start_child(turn, step, index)
    else:
        waiting.begin(turn, step, index)


def _succeed(turn: Turn) -> None:
    """End well when every step is done; a child that can be undone waits for its parent (rule 10)."""
    run = turn.run
    if not all(all_done(run.steps[name]) for name in turn.touched):
        return  # of what this move changed; the rest need not be looked at
    if run.held or run.paused or not all(map(all_done, run.steps.values())):
        return
    output = None
    if turn.definition.output is not None:
        try:
            output = turn.definition.output.render(run_scope(turn, run.steps))
            check_output(turn, output)
        except BatonError as error:
            if not run.pivoted:
                failure = Failure(step="", code=error.code, message=f"output: {error.message}")
                turn.record(RunGoingBack(at=turn.env.now, failure=failure))
                return
            output = {"error": {"code": error.code, "message": error.message}}  # there is no way back
    undoable = any(wants_undo(step, task) for step, _, task in turn.tasks())
    if run.head.parent is not None and undoable and not run.pivoted:
        turn.record(RunHeld(at=turn.env.now, output=output))
    else:
        turn.record(RunEnded(at=turn.env.now, status=RunStatus.SUCCEEDED, output=output))


def _needs_done(turn: Turn, step: StepDef) -> bool:
    return all(all_done(turn.run.steps[need]) for need in step.needs)

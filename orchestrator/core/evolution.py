"""How each fact changes the state of a run.

`evolve` is the only place where state changes. It decides nothing and cannot fail on a history that the
machine wrote: `fold(head, facts)` is the stored state, always.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

from msgspec.structs import replace

from orchestrator.core.facts import (
    AttemptFailed,
    AttemptSent,
    AttemptStarted,
    AttemptSucceeded,
    BatchPaused,
    CancelSent,
    EventEmitted,
    Fact,
    FailureTolerated,
    NeverSeen,
    PivotPassed,
    QuerySent,
    ResultIgnored,
    RetryHurried,
    RunEnded,
    RunGoingBack,
    RunHeld,
    RunMoved,
    RunPaused,
    RunQueued,
    RunResumed,
    RunStarted,
    RunYielded,
    StepExpanded,
    StepsKept,
    StepsReset,
    TaskCancelled,
    TaskDone,
    TaskInDoubt,
    TaskParked,
    TaskResolved,
    TaskSkipped,
    TaskWaiting,
)
from orchestrator.core.model import Run, RunHead, StepStatus, Task
from schemas.times import Micros

__all__ = ["Drafts", "evolve", "finished", "fold"]

Changes = dict[str, Any]
"""Fields of a struct with their new values."""

Drafts = dict[str, list[Task]]
"""Tasks in the making, by step."""

_NO_DOUBT: Final[Changes] = {"queries": 0, "denied": (), "lost": False}


def fold(head: RunHead, facts: Iterable[Fact]) -> Run:
    """The state that a history leads to."""
    run, drafts = Run(head=head, steps={}), Drafts()
    for fact in facts:
        run = evolve(run, fact, drafts)
    return finished(run, drafts)


def finished(run: Run, drafts: Drafts) -> Run:
    """The run with nothing left that can change."""
    if not drafts:
        return run
    return replace(run, steps={step: tuple(tasks) for step, tasks in run.steps.items()})


def evolve(run: Run, fact: Fact, drafts: Drafts | None = None) -> Run:
    """The state after one more fact.

    `drafts`: with many facts to come, the tasks of a step that fans out are copied once, into a list there
    that stands in the run and changes with each fact. Such a run is for its maker alone, until `finished`.
    """
    change = _OF_RUN.get(type(fact))
    if change is not None:
        return replace(run, **{"seq": run.seq + 1, "yielded_at": None, **change(run, fact)})
    about: Any = fact  # every other fact is about a task
    step, index = about.step, about.host_index
    tasks = run.steps[step]
    task = _OF_TASK[type(fact)](tasks[index], fact)
    if drafts is None or len(tasks) == 1:
        steps = {**run.steps, step: (*tasks[:index], task, *tasks[index + 1 :])}
        return replace(run, seq=run.seq + 1, yielded_at=None, steps=steps)
    draft: Any = drafts.get(step)  # where a run has its tuple
    if draft is not tasks:
        draft = drafts[step] = list(tasks)
        run = replace(run, steps={**run.steps, step: draft})
    draft[index] = task
    return replace(run, seq=run.seq + 1, yielded_at=None)


# facts about a run: the fields that change


def _run_started(run: Run, fact: RunStarted) -> Changes:
    steps = {step: run.steps.get(step, (Task(),)) for step in fact.steps}
    return {"steps": steps, "deadline": fact.deadline, "queued": False, "reason": ""}


def _step_expanded(run: Run, fact: StepExpanded) -> Changes:
    if fact.hosts is not None:
        tasks = tuple(
            Task(part=True, host=ref.name, labels=ref.labels, batch=ref.batch) for ref in fact.hosts
        )
    else:
        tasks = tuple(Task(part=True, item=item) for item in fact.items or ())
    return {"steps": {**run.steps, fact.step: tasks}}


def _batch_paused(run: Run, fact: BatchPaused) -> Changes:
    tasks = tuple(
        replace(task, due=fact.until) if task.batch == fact.batch + 1 else task
        for task in run.steps[fact.step]
    )
    return {"steps": {**run.steps, fact.step: tasks}}


def _going_back(run: Run, fact: RunGoingBack) -> Changes:
    """Whatever waited for a person has a known outcome: it failed."""
    cancel = fact.failure.message if fact.cancelled_by else None
    changes = {"failure": fact.failure, "cancel": cancel, "reason": fact.failure.message, "held": False}
    if any(task.parked for tasks in run.steps.values() for task in tasks):
        steps = {
            step: tuple(replace(task, parked=False) for task in tasks) for step, tasks in run.steps.items()
        }
        return {**changes, "steps": steps}
    return changes


def _pivot_passed(run: Run, _: PivotPassed) -> Changes:
    """What quiescing had put aside is taken up again."""
    if not run.going_back:
        return {"pivoted": True}
    steps = {step: tuple(_taken_up(task) for task in tasks) for step, tasks in run.steps.items()}
    return {"pivoted": True, "failure": None, "cancel": None, "reason": "", "steps": steps}


def _taken_up(task: Task) -> Task:
    if task.status is StepStatus.CANCELLED and not task.attempt:
        return replace(task, status=StepStatus.PENDING, ended_at=None)
    if task.status is StepStatus.CANCELLED:
        return replace(task, status=StepStatus.FAILED)
    return task


def _steps_reset(run: Run, fact: StepsReset) -> Changes:
    steps = {step: tuple(_anew(task) for task in run.steps[step]) for step in fact.steps}
    return {"steps": {**run.steps, **steps}, "paused": False}


def _anew(task: Task) -> Task:
    """The task as if it had not been tried, but for its effect and the numbers of its attempts."""
    return Task(
        attempt=task.attempt,
        granted=task.attempt,
        agent=task.agent,
        effect_agent=task.effect_agent,
        target=task.target,
        child=task.child,
        event=task.event,
        effect=task.effect,
        output=task.output if task.effect else None,
        part=task.part,
        host=task.host,
        labels=task.labels,
        batch=task.batch,
        item=task.item,
    )


def _run_moved(run: Run, fact: RunMoved) -> Changes:
    return {"moved_to": fact.version, "steps": {step: run.steps.get(step, (Task(),)) for step in fact.steps}}


def _run_ended(run: Run, fact: RunEnded) -> Changes:
    reason = fact.reason or run.reason
    ended = {"ended": fact.status, "ended_at": fact.at, "reason": reason}
    return {**ended, "output": fact.output, "queued": False, "paused": False, "held": False}


_OF_RUN: Final[dict[type, Callable[[Run, Any], Changes]]] = {
    RunQueued: lambda _, fact: {"queued": True, "reason": f"waits for room in group {fact.group}"},
    StepsKept: lambda _, fact: {"steps": fact.steps},
    RunStarted: _run_started,
    StepExpanded: _step_expanded,
    BatchPaused: _batch_paused,
    RunGoingBack: _going_back,
    PivotPassed: _pivot_passed,
    RunPaused: lambda _, fact: {"paused": True},  # noqa: ARG005 - as every change
    RunResumed: lambda _, fact: {"paused": False},  # noqa: ARG005
    StepsReset: _steps_reset,
    RunMoved: _run_moved,
    RunHeld: lambda _, fact: {"held": True, "output": fact.output},
    RunYielded: lambda _, fact: {"yielded_at": fact.at},
    ResultIgnored: lambda run, _: {"ignored": run.ignored + 1},
    RunEnded: _run_ended,
}


# facts about a task


def _attempt_started(task: Task, fact: AttemptStarted) -> Task:
    status = StepStatus.COMPENSATING if task.undoing else StepStatus.RUNNING
    agent = task.agent if task.undoing else fact.agent
    return replace(task, status=status, agent=agent, due=fact.due, taken_at=fact.at, **_NO_DOUBT)


def _attempt_succeeded(task: Task, fact: AttemptSucceeded) -> Task:
    if task.undoing:
        return _settled(task, StepStatus.COMPENSATED, fact.at)
    agent = fact.agent or task.agent
    task = replace(task, output=fact.output, agent=agent, effect=True, effect_agent=agent, error=None)
    return _settled(task, StepStatus.SUCCEEDED, fact.at)


def _in_doubt(task: Task, fact: TaskInDoubt) -> Task:
    return replace(task, status=StepStatus.IN_DOUBT, due=fact.due, lost=task.lost or fact.lost)


def _query_sent(task: Task, fact: QuerySent) -> Task:
    return replace(task, queries=task.queries + 1, due=fact.due)


def _waiting(task: Task, fact: TaskWaiting) -> Task:
    task = replace(task, wait=fact.wait, due=fact.due, cancel_sent=False)
    if fact.undo:
        return replace(
            task,
            status=StepStatus.COMPENSATING,
            undoing=True,
            undo_attempt=fact.attempt,
            undo_started_at=task.undo_started_at or fact.at,
        )
    return replace(
        task,
        status=StepStatus.RUNNING,
        attempt=fact.attempt,
        child=task.child if task.effect else fact.wait.child,
        started_at=task.started_at or fact.at,
    )


def _done(task: Task, fact: TaskDone) -> Task:
    if fact.undo:
        return _settled(task, StepStatus.COMPENSATED, fact.at)
    started = task.started_at or fact.at
    event = fact.event or task.event
    child = task.child if task.wait is None else task.wait.child
    task = replace(
        task, output=fact.output, effect=True, error=None, started_at=started, event=event, child=child
    )
    return _settled(task, StepStatus.SUCCEEDED, fact.at)


def _sent(task: Task, fact: AttemptSent) -> Task:
    if fact.undo:
        return replace(
            task,
            status=StepStatus.COMPENSATING,
            undoing=True,
            undo_attempt=fact.attempt,
            command_id=fact.command_id,
            target=fact.target,
            due=fact.due,
            undo_started_at=task.undo_started_at or fact.at,
            granted=task.granted if task.undoing else 0,
            cancel_sent=False,
            taken_at=None,
            instance=fact.instance,
            **_NO_DOUBT,
        )
    return replace(
        task,
        status=StepStatus.RUNNING,
        attempt=fact.attempt,
        command_id=fact.command_id,
        target=fact.target,
        due=fact.due,
        started_at=task.started_at or fact.at,
        agent="",
        cancel_sent=False,
        taken_at=None,
        instance=fact.instance,
        **_NO_DOUBT,
    )


def _failed(task: Task, fact: AttemptFailed) -> Task:
    if fact.undo:
        task = replace(task, undoing=True, undo_error=fact.error)
        waiting = StepStatus.COMPENSATING
    else:
        agent = fact.agent or task.agent
        task = replace(task, error=fact.error, agent=agent)
        if fact.effect:
            task = replace(task, effect=True, effect_agent=agent)
        waiting = StepStatus.RUNNING
    if fact.status == "not_sent":
        task = _counted(task, fact.undo)
    if fact.retry_at is not None:
        return replace(task, status=waiting, command_id="", wait=None, due=fact.retry_at, **_NO_DOUBT)
    return _settled(task, fact.outcome, fact.at)


def _counted(task: Task, undo: bool) -> Task:  # noqa: FBT001 - a private helper with one caller
    """An attempt that could not even be sent counts as every other."""
    if undo:
        return replace(task, undo_attempt=task.undo_attempt + 1)
    return replace(task, attempt=task.attempt + 1)


def _resolved(task: Task, fact: TaskResolved) -> Task:
    match fact.decision, task.undoing:
        case "retry", undoing:
            status = StepStatus.COMPENSATING if undoing else StepStatus.RUNNING
            granted = task.undo_attempt if undoing else task.attempt
            task = replace(task, parked=False, **_NO_DOUBT)
            return replace(task, status=status, command_id="", wait=None, due=fact.at, granted=granted)
        case "done", True:
            return _settled(task, StepStatus.COMPENSATED, fact.at)
        case "done", False:
            agent = task.agent or task.effect_agent
            child = task.child if task.effect else ""  # one that never was, or undid itself, is not asked to
            task = replace(task, output=fact.output, effect=True, effect_agent=agent, child=child, error=None)
            return _settled(task, StepStatus.SUCCEEDED, fact.at)
        case _, True:
            return _settled(replace(task, given_up=True), StepStatus.COMPENSATION_FAILED, fact.at)
        case _:
            return _settled(replace(task, effect=False), StepStatus.SKIPPED, fact.at)


def _settled(task: Task, status: StepStatus, at: Micros) -> Task:
    """The task with nothing outstanding and nothing due."""
    ended = "undo_ended_at" if task.undoing else "ended_at"
    return replace(
        task, status=status, command_id="", wait=None, due=None, parked=False, **_NO_DOUBT, **{ended: at}
    )


_OF_TASK: Final[dict[type, Callable[[Task, Any], Task]]] = {
    TaskSkipped: lambda task, fact: _settled(task, StepStatus.SKIPPED, fact.at),
    AttemptSent: _sent,
    AttemptStarted: _attempt_started,
    AttemptSucceeded: _attempt_succeeded,
    AttemptFailed: _failed,
    TaskInDoubt: _in_doubt,
    QuerySent: _query_sent,
    NeverSeen: lambda task, fact: replace(task, denied=(*task.denied, fact.agent)),
    TaskWaiting: _waiting,
    TaskDone: _done,
    EventEmitted: lambda task, fact: replace(task, attempt=fact.attempt),
    TaskParked: lambda task, _: replace(task, parked=True),
    FailureTolerated: lambda task, _: replace(task, tolerated=True),
    CancelSent: lambda task, _: replace(task, cancel_sent=True),
    TaskCancelled: lambda task, fact: _settled(task, StepStatus.CANCELLED, fact.at),
    RetryHurried: lambda task, fact: replace(task, due=fact.at),
    TaskResolved: _resolved,
}

"""Facts: what a run's history is made of, and how each one changes the state.

`evolve` is the only place where state changes. It decides nothing and cannot fail on a history that the
machine wrote: `fold(head, facts)` is the stored state, always.
"""

from collections.abc import Iterable
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from orchestrator.core.model import Failure, Run, RunHead, RunStatus, StepStatus, Task
from schemas.messages import ErrorInfo
from schemas.times import Micros

__all__ = [
    "AttemptFailed",
    "AttemptSent",
    "AttemptStarted",
    "AttemptSucceeded",
    "CancelSent",
    "Fact",
    "ResultIgnored",
    "RunEnded",
    "RunGoingBack",
    "RunStarted",
    "TaskCancelled",
    "TaskInDoubt",
    "TaskResolved",
    "TaskSkipped",
    "evolve",
    "fold",
]


class _Fact(Struct, frozen=True, omit_defaults=True, tag=True, tag_field="fact"):
    """Something that happened, at a time."""

    at: Micros


class RunStarted(_Fact, frozen=True, tag="run_started"):
    """The run began, with these steps."""

    steps: list[str]


class TaskSkipped(_Fact, frozen=True, tag="task_skipped"):
    """The step's `if` was false."""

    step: str
    host_index: int


class AttemptSent(_Fact, frozen=True, tag="attempt_sent"):
    """A command was handed to the bus. `due`: when its outcome is in doubt if nothing was heard."""

    step: str
    host_index: int
    undo: bool
    attempt: int
    command_id: str
    action: str
    target: str
    due: Micros


class AttemptStarted(_Fact, frozen=True, tag="attempt_started"):
    """An agent said that it has begun. `due` moves to the end of the attempt's own time limit."""

    step: str
    host_index: int
    command_id: str
    agent: str
    due: Micros


class AttemptSucceeded(_Fact, frozen=True, tag="attempt_succeeded"):
    """The agent did it. `output` is what the step's `output` template made of the action's output."""

    step: str
    host_index: int
    command_id: str
    agent: str
    output: Any = None
    started_at: Micros | None = None
    finished_at: Micros | None = None


class AttemptFailed(_Fact, frozen=True, tag="attempt_failed"):
    """An attempt ended without success. `status` is the result's, or `returned`, `expired`, `not_sent`.

    `effect`: it may have left something behind. `retry_at`: when the next attempt goes out; None: it failed
    for good, and the task becomes `outcome`.
    """

    step: str
    host_index: int
    command_id: str
    status: str
    error: ErrorInfo
    undo: bool = False
    effect: bool = False
    retry_at: Micros | None = None
    outcome: StepStatus = StepStatus.FAILED
    agent: str = ""
    started_at: Micros | None = None
    finished_at: Micros | None = None


class TaskInDoubt(_Fact, frozen=True, tag="task_in_doubt"):
    """Nobody knows what became of the outstanding command (rule 7)."""

    step: str
    host_index: int
    command_id: str
    why: str


class CancelSent(_Fact, frozen=True, tag="cancel_sent"):
    """The agent was asked to stop the outstanding command."""

    step: str
    host_index: int
    command_id: str
    agent: str


class TaskCancelled(_Fact, frozen=True, tag="task_cancelled"):
    """The task will not start, or not be tried again, because the run goes back."""

    step: str
    host_index: int


class RunGoingBack(_Fact, frozen=True, tag="run_going_back"):
    """The run failed or was cancelled; from here on nothing new goes forward (rule 3)."""

    failure: Failure
    cancelled_by: str = ""


class ResultIgnored(_Fact, frozen=True, tag="result_ignored"):
    """A late, duplicate or foreign result was seen and changed nothing (rule 8)."""

    step: str
    host_index: int
    command_id: str
    status: str
    agent: str
    why: str


class TaskResolved(_Fact, frozen=True, tag="task_resolved"):
    """A person decided about a task that needed one: `retry`, `skip` or `done`."""

    step: str
    host_index: int
    decision: str
    who: str
    why: str = ""
    output: Any = None


class RunEnded(_Fact, frozen=True, tag="run_ended"):
    """The run reached an end."""

    status: RunStatus
    reason: str = ""
    output: Any = None


Fact = (
    RunStarted
    | TaskSkipped
    | AttemptSent
    | AttemptStarted
    | AttemptSucceeded
    | AttemptFailed
    | TaskInDoubt
    | CancelSent
    | TaskCancelled
    | RunGoingBack
    | ResultIgnored
    | TaskResolved
    | RunEnded
)


def fold(head: RunHead, facts: Iterable[Fact]) -> Run:
    """The state that a history leads to."""
    run = Run(head=head, steps={})
    for fact in facts:
        run = evolve(run, fact)
    return run


def evolve(run: Run, fact: Fact) -> Run:
    """The state after one more fact."""
    match fact:
        case RunStarted():
            return replace(run, seq=run.seq + 1, steps={step: (Task(),) for step in fact.steps})
        case RunGoingBack():
            cancel = fact.failure.message if fact.cancelled_by else None
            return replace(
                run, seq=run.seq + 1, failure=fact.failure, cancel=cancel, reason=fact.failure.message
            )
        case RunEnded():
            return replace(
                run,
                seq=run.seq + 1,
                ended=fact.status,
                ended_at=fact.at,
                output=fact.output,
                reason=fact.reason or run.reason,
            )
        case ResultIgnored():
            return replace(run, seq=run.seq + 1, ignored=run.ignored + 1)
    tasks = run.steps[fact.step]
    task = _evolve_task(tasks[fact.host_index], fact)
    tasks = (*tasks[: fact.host_index], task, *tasks[fact.host_index + 1 :])
    return replace(run, seq=run.seq + 1, steps={**run.steps, fact.step: tasks})


def _evolve_task(task: Task, fact: Fact) -> Task:  # noqa: C901, PLR0911 - one case for each fact
    """The task after a fact about it."""
    match fact:
        case AttemptSent():
            return _sent(task, fact)
        case AttemptStarted():
            status = StepStatus.COMPENSATING if task.undoing else StepStatus.RUNNING
            agent = task.agent if task.undoing else fact.agent
            return replace(task, status=status, agent=agent, due=fact.due, taken_at=fact.at)
        case AttemptSucceeded():
            if task.undoing:
                return _settled(task, StepStatus.COMPENSATED, fact.at)
            agent = fact.agent or task.agent
            task = replace(task, output=fact.output, agent=agent, effect=True, effect_agent=agent, error=None)
            return _settled(task, StepStatus.SUCCEEDED, fact.at)
        case AttemptFailed():
            return _failed(task, fact)
        case TaskInDoubt():
            return replace(task, status=StepStatus.IN_DOUBT, due=None)
        case CancelSent():
            return replace(task, cancel_sent=True)
        case TaskSkipped():
            return _settled(task, StepStatus.SKIPPED, fact.at)
        case TaskCancelled():
            return _settled(task, StepStatus.CANCELLED, fact.at)
        case TaskResolved():
            return _resolved(task, fact)
    raise AssertionError(fact)  # pragma: no cover - every fact about a task is above


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
    if fact.retry_at is not None:
        return replace(task, status=waiting, command_id="", due=fact.retry_at)
    return _settled(task, fact.outcome, fact.at)


def _resolved(task: Task, fact: TaskResolved) -> Task:
    match fact.decision, task.undoing:
        case "retry", undoing:
            status = StepStatus.COMPENSATING if undoing else StepStatus.RUNNING
            granted = task.undo_attempt if undoing else task.attempt
            return replace(task, status=status, command_id="", due=fact.at, granted=granted)
        case "done", True:
            return _settled(task, StepStatus.COMPENSATED, fact.at)
        case "done", False:
            agent = task.agent or task.effect_agent
            task = replace(task, output=fact.output, effect=True, effect_agent=agent, error=None)
            return _settled(task, StepStatus.SUCCEEDED, fact.at)
        case _, True:
            return _settled(replace(task, given_up=True), StepStatus.COMPENSATION_FAILED, fact.at)
        case _:
            return _settled(replace(task, effect=False), StepStatus.SKIPPED, fact.at)


def _settled(task: Task, status: StepStatus, at: Micros) -> Task:
    """The task with nothing outstanding and nothing due."""
    if task.undoing:
        return replace(task, status=status, command_id="", due=None, undo_ended_at=at)
    return replace(task, status=status, command_id="", due=None, ended_at=at)

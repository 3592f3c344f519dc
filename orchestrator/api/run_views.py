"""How the API shows runs: as plain JSON shapes, times as RFC 3339 UTC text, absent ones null."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from orchestrator.core.model import Run, StepStatus, Task, WaitOn, step_status
from orchestrator.store.port import HistoryEntry, RunSummary
from schemas.messages import ErrorInfo
from schemas.times import Micros, to_rfc3339

__all__ = [
    "DoubtView",
    "HostView",
    "RunItem",
    "RunView",
    "StepView",
    "WaitingView",
    "history_view",
    "is_in_doubt",
    "run_item",
    "run_view",
]

Reasons = Mapping[tuple[str, int], str]
"""Why tasks are in doubt, by (step, host index)."""

_UNDER_WAY: Final = frozenset({StepStatus.PENDING, StepStatus.RUNNING, StepStatus.IN_DOUBT})
_NO_REASONS: Final[Reasons] = {}
_FIRST: Final = (
    StepStatus.IN_DOUBT,
    StepStatus.COMPENSATION_FAILED,
    StepStatus.FAILED,
    StepStatus.COMPENSATING,
    StepStatus.RUNNING,
)
"""What is shown first where not every task is."""


class RunItem(Struct, frozen=True):
    """A run in a list. `parent`: the id of the run that it is a child of."""

    id: str
    workflow: str
    version: str
    key: str
    status: str
    reason: str
    trace_id: str
    started_at: str
    ended_at: str | None
    parent: str | None


class WaitingView(Struct, frozen=True, omit_defaults=True):
    """What a task waits for, and until when: `on` is `event`, `approval`, `time` or `child`.

    Of an event its type, and the `value` of `correlate` that it must have; of an approval what is asked; of
    a child its run.
    """

    on: str
    until: str | None
    event: str = ""
    correlate: str = ""
    value: str = ""
    message: str = ""
    child: str = ""


class DoubtView(Struct, frozen=True):
    """Why it is not known what became of a command (rule 7).

    `asked`: how often agents were asked. `lost`: its agent does not know either. `denied`: members of a pool
    that never saw it.
    """

    why: str
    asked: int
    lost: bool
    denied: list[str]


class HostView(Struct, frozen=True):
    """One task of a step: who does it, and how far it is. `due`: when the coordinator looks at it again.

    `index` tells the tasks of a step apart. `item` is of a `foreach`; `labels` and `batch` (from 0) are of a
    target that means all hosts. `child`: the run that it started. `parked`: it failed, and a person decides.
    """

    index: int
    name: str
    status: str
    attempts: int
    started_at: str | None
    ended_at: str | None
    output: Any
    error: ErrorInfo | None
    undo_attempts: int
    undo_started_at: str | None
    undo_ended_at: str | None
    undo_error: ErrorInfo | None
    due: str | None
    waiting: WaitingView | None
    doubt: DoubtView | None
    parked: bool
    child: str | None
    item: Any
    labels: dict[str, str]
    batch: int


class StepView(Struct, frozen=True):
    """One step of a run; `error` is the undo's when that failed, else the action's.

    `counts`: how many tasks it has of each status. `hosts` may be fewer, if so was asked.
    """

    status: str
    attempts: int
    started_at: str | None
    ended_at: str | None
    output: Any
    error: ErrorInfo | None
    counts: dict[str, int]
    hosts: list[HostView]


class RunView(RunItem, frozen=True):
    """A run in full. `started_with`: the version that it was moved from; `retry_of`: the run it goes on from.

    `pivoted`: nothing is undone any more. `held`: it is done, and waits for its parent's end.
    """

    input: Any
    output: Any
    parent_step: str | None
    retry_of: str | None
    started_with: str | None
    group: str | None
    priority: int
    paused: bool
    pivoted: bool
    held: bool
    deadline: str | None
    steps: dict[str, StepView]


def run_item(run: RunSummary) -> RunItem:
    """A run as lists show it."""
    return RunItem(
        id=run.id,
        workflow=run.workflow,
        version=run.version,
        key=run.key,
        status=run.status,
        reason=run.reason,
        trace_id=run.trace_id,
        started_at=to_rfc3339(run.created_at),
        ended_at=_time(run.ended_at),
        parent=run.parent or None,
    )


def run_view(run: Run, most_hosts: int | None = None, reasons: Reasons = _NO_REASONS) -> RunView:
    """A run as it is shown by itself; of a step with more tasks than `most_hosts` those that matter most."""
    head = run.head
    return RunView(
        id=head.id,
        workflow=head.workflow,
        version=run.version,
        key=head.key,
        status=run.status,
        reason=run.reason,
        trace_id=head.trace.trace_id,
        started_at=to_rfc3339(head.created_at),
        ended_at=_time(run.ended_at),
        parent=head.parent.run_id if head.parent else None,
        input=head.input,
        output=run.output,
        parent_step=head.parent.step if head.parent else None,
        retry_of=head.retry_of or None,
        started_with=head.version if run.moved_to else None,
        group=head.group or None,
        priority=head.priority,
        paused=run.paused,
        pivoted=run.pivoted,
        held=run.held,
        deadline=_time(run.deadline),
        steps={step: _step_view(step, tasks, most_hosts, reasons) for step, tasks in run.steps.items()},
    )


def is_in_doubt(run: Run) -> bool:
    """Whether nobody knows what became of some command of it."""
    return any(task.status is StepStatus.IN_DOUBT for tasks in run.steps.values() for task in tasks)


def _step_view(step: str, tasks: tuple[Task, ...], most: int | None, reasons: Reasons) -> StepView:
    started = [task.started_at for task in tasks if task.started_at is not None]
    ended = [_ended_at(task) for task in tasks]
    errors = (task.undo_error or task.error for task in tasks)
    shown = list(enumerate(tasks))
    whole = most is None or len(tasks) <= most
    if not whole:
        shown = sorted(shown, key=lambda one: (_rank(one[1]), one[0]))[:most]
    return StepView(
        status=step_status(tasks),
        attempts=max((task.attempt for task in tasks), default=0),
        started_at=_time(min(started, default=None)),
        ended_at=None if None in ended else _time(max((at for at in ended if at is not None), default=None)),
        output=_output(tasks) if whole else None,
        error=next((error for error in errors if error is not None), None),
        counts=dict(Counter(str(task.status) for task in tasks)),
        hosts=[_host_view(index, task, reasons.get((step, index), "")) for index, task in shown],
    )


def _output(tasks: tuple[Task, ...]) -> Any:
    """As expressions see it: of a fan-out by host, or in the order of the items."""
    if len(tasks) == 1 and not tasks[0].part:
        return tasks[0].output
    if tasks and tasks[0].host:
        return {task.host: task.output for task in tasks if task.status is StepStatus.SUCCEEDED}
    return [task.output for task in tasks]


def _ended_at(task: Task) -> Micros | None:
    if not task.undoing and task.status in _UNDER_WAY:
        return None  # it may have ended once, and be tried again
    return task.undo_ended_at or task.ended_at


def _rank(task: Task) -> int:
    return _FIRST.index(task.status) if task.status in _FIRST else len(_FIRST)


def _host_view(index: int, task: Task, why: str) -> HostView:
    doubt = None
    if task.status is StepStatus.IN_DOUBT:
        doubt = DoubtView(why, task.queries, task.lost, list(task.denied))
    return HostView(
        index=index,
        name=task.host or task.agent or task.effect_agent or task.target.removeprefix("agent."),
        status=task.status,
        attempts=task.attempt,
        started_at=_time(task.started_at),
        ended_at=_time(task.ended_at),
        output=task.output,
        error=task.error,
        undo_attempts=task.undo_attempt,
        undo_started_at=_time(task.undo_started_at),
        undo_ended_at=_time(task.undo_ended_at),
        undo_error=task.undo_error,
        due=_time(task.due),
        waiting=_waiting_view(task),
        doubt=doubt,
        parked=task.parked,
        child=task.child or None,
        item=task.item,
        labels=task.labels,
        batch=task.batch,
    )


def _waiting_view(task: Task) -> WaitingView | None:
    wait = task.wait
    if wait is None:
        return None
    event, _, correlate = wait.topic.partition("\n") if wait.on is WaitOn.EVENT else ("", "", "")
    return WaitingView(
        on=wait.on,
        until=_time(task.due),
        event=event,
        correlate=correlate,
        value=wait.value,
        message=wait.message,
        child=wait.child,
    )


_FACT_TIMES = ("at", "due", "until", "deadline", "retry_at", "started_at", "finished_at")


def history_view(entry: HistoryEntry) -> dict[str, Any]:
    """A fact as JSON: `seq`, `at`, `fact` (its kind) and what belongs to it."""
    fact: dict[str, Any] = msgspec.to_builtins(entry.fact)
    for name in _FACT_TIMES:
        if fact.get(name) is not None:
            fact[name] = to_rfc3339(fact[name])
    return {"seq": entry.seq, "at": fact.pop("at"), "fact": fact.pop("fact"), **fact}


def _time(at: Micros | None) -> str | None:
    return None if at is None else to_rfc3339(at)

"""What the world is told about runs: CloudEvents on the lifecycle exchange. They carry no payload."""

from collections.abc import Iterator
from typing import Any

from orchestrator.core.facts import (
    AttemptFailed,
    AttemptSucceeded,
    Fact,
    PivotPassed,
    QuerySent,
    RunEnded,
    RunGoingBack,
    RunResumed,
    RunStarted,
    StepsReset,
    TaskCancelled,
    TaskDone,
    TaskInDoubt,
    TaskParked,
    TaskResolved,
    TaskSkipped,
    TaskWaiting,
)
from orchestrator.core.inputs import Move
from orchestrator.core.model import Run, RunStatus, StepStatus, WaitOn, step_status
from schemas.events import Event, new_event
from schemas.messages import CommandKind

__all__ = ["lifecycle_events"]

_TOLD = frozenset({status for status in RunStatus if status.is_final} | {RunStatus.ATTENTION})
_STEP_FACTS = (
    AttemptSucceeded,
    AttemptFailed,
    TaskCancelled,
    TaskDone,
    TaskInDoubt,
    TaskResolved,
    TaskSkipped,
    TaskWaiting,
)
_TURNS = (
    AttemptFailed,
    PivotPassed,
    QuerySent,
    RunEnded,
    RunGoingBack,
    RunResumed,
    StepsReset,
    TaskInDoubt,
    TaskParked,
    TaskResolved,
)
"""The facts with which a run can end or come to need a person: only then is it asked for its status."""
_ALWAYS = {
    TaskCancelled: StepStatus.CANCELLED,
    TaskInDoubt: StepStatus.IN_DOUBT,
    TaskWaiting: "waiting",
}
_FROM_OUTSIDE = frozenset({WaitOn.EVENT, WaitOn.APPROVAL})
"""What somebody must do something for, so that they are told."""


def lifecycle_events(
    before: Run | None, move: Move, namespace: str, detail: str
) -> Iterator[tuple[str, Event]]:
    """The events that a move gives rise to, as (routing key, event). `detail` is `off`, `runs` or `steps`.

    An event's id is the run's id and the number of the fact it tells of: telling twice is telling once.
    """
    if detail == "off":
        return
    run = move.run
    first = run.seq - len(move.facts) + 1
    for seq, fact in enumerate(move.facts, start=first):
        if isinstance(fact, RunStarted):
            yield _run_event(run, "started", seq, fact, namespace)
        elif detail == "steps" and isinstance(fact, _STEP_FACTS):
            if _goes_on(fact):
                continue
            yield _step_event(run, seq, fact, namespace)
    if not any(isinstance(fact, _TURNS) for fact in move.facts):
        return
    was = RunStatus.RUNNING if before is None else before.status
    if run.status is not was and run.status in _TOLD:
        yield _run_event(run, str(run.status), run.seq, move.facts[-1], namespace)


def _goes_on(fact: Fact) -> bool:
    """Whether the step only goes on with it: it is tried again, or waits for nothing from outside."""
    match fact:
        case AttemptFailed(retry_at=at):
            return at is not None
        case TaskWaiting(wait=wait):
            return wait.on not in _FROM_OUTSIDE
    return False


def _run_event(run: Run, status: str, seq: int, fact: Fact, namespace: str) -> tuple[str, Event]:
    data = {**_about(run), "status": status, "reason": run.reason if status != "started" else ""}
    key = f"run.{status}.{run.head.workflow}"
    return key, new_event(
        id=f"{run.head.id}/{seq}/run",
        source=f"/baton/{namespace}",
        type=f"baton.run.{status}",
        subject=run.head.id,
        at=fact.at,
        data=data,
    )


def _step_event(run: Run, seq: int, fact: Any, namespace: str) -> tuple[str, Event]:
    status = _status(run, fact)
    data = {**_about(run), "step": fact.step, "host_index": fact.host_index, "status": status}
    if isinstance(fact, TaskWaiting):
        data["on"] = str(fact.wait.on)
    tasks = run.steps[fact.step]
    if fact.host_index < len(tasks) and tasks[fact.host_index].host:
        data["host"] = tasks[fact.host_index].host
    return f"step.{status}.{run.head.workflow}", new_event(
        id=f"{run.head.id}/{seq}",
        source=f"/baton/{namespace}",
        type=f"baton.step.{status}",
        subject=run.head.id,
        at=fact.at,
        data=data,
    )


def _status(run: Run, fact: Any) -> str:
    """What the fact made of the step; the same move may have gone on from there, to its undo."""
    match fact:
        case AttemptSucceeded():
            undone = fact.command_id.endswith(f"/{CommandKind.COMPENSATE}")
            return StepStatus.COMPENSATED if undone else StepStatus.SUCCEEDED
        case TaskDone():
            return StepStatus.COMPENSATED if fact.undo else StepStatus.SUCCEEDED
        case AttemptFailed():
            return fact.outcome
        case TaskCancelled() | TaskInDoubt() | TaskWaiting():
            return _ALWAYS[type(fact)]
    tasks = run.steps[fact.step]
    return tasks[fact.host_index].status if fact.host_index < len(tasks) else step_status(tasks)


def _about(run: Run) -> dict[str, Any]:
    head = run.head
    return {"run_id": head.id, "workflow": head.workflow, "version": run.version, "key": head.key}

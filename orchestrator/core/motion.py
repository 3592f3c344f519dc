"""What a live run waits for. It follows from the run, and is stored beside it for queries."""

from typing import Literal

from orchestrator.core.model import Run, StepStatus, Task, WaitOn

__all__ = ["Waiting", "waits_for"]

Waiting = Literal["", "event", "person", "time", "child", "parent", "slot"]

_NAMES: dict[WaitOn, Waiting] = {
    WaitOn.EVENT: "event",
    WaitOn.APPROVAL: "person",
    WaitOn.TIME: "time",
    WaitOn.CHILD: "child",
}
_RESTING = frozenset({StepStatus.SUCCEEDED, StepStatus.SKIPPED, StepStatus.COMPENSATED})
_ORDER: tuple[Waiting, ...] = ("person", "child", "event", "time")


def waits_for(run: Run) -> Waiting:
    """What a live run waits for; empty while an attempt is under way or due, and for one that has ended.

    `slot`: it is queued. `parent`: it has done its steps, and its parent's end or undo comes next. Where it
    waits for several, a person counts first, then a child run.
    """
    if run.ended is not None or run.yielded_at is not None:
        return ""
    if run.queued:
        return "slot"
    if run.held:
        return "parent"
    if run.paused:
        return "person"
    found = set[Waiting]()
    for tasks in run.steps.values():
        for task in tasks:
            if task.status in _RESTING:
                continue  # most of them: this is asked at each commit
            waiting = _task_waits_for(task)
            if waiting == "":
                return ""
            if waiting is not None:
                found.add(waiting)
    return next((waiting for waiting in _ORDER if waiting in found), "")


def _task_waits_for(task: Task) -> Waiting | None:
    """As above, for one task; None when it has nothing to do now."""
    if task.wait is not None:
        return _NAMES[task.wait.on]
    if task.needs_person:
        return "person"
    if task.command_id:
        return ""
    if task.due is None:
        return None
    return "time" if task.status is StepStatus.PENDING else ""  # a rollout's pause, or a retry

"""How a run goes back: it quiesces, undoes what has effect, and ends (rules 3, 4, 9 and 11)."""

from orchestrator.core import children
from orchestrator.core.definition import StepDef
from orchestrator.core.facts import RunEnded, TaskCancelled
from orchestrator.core.fan_out import ready_undo
from orchestrator.core.model import RunStatus, StepStatus, Task
from orchestrator.core.sending import send_cancel, send_undo, who_has
from orchestrator.core.turn import Turn

__all__ = ["begin_undo", "end", "quiesce", "undo", "wants_undo"]

_UNDER_WAY = (StepStatus.PENDING, StepStatus.RUNNING, StepStatus.IN_DOUBT)
_COMPENSATED = StepStatus.COMPENSATED
"""Names of this module, as these are asked of each task at each move of a run that goes back."""


def quiesce(turn: Turn) -> bool:
    """Stop what goes forward; true once every forward task has a known outcome (rule 3)."""
    quiet = True
    under_way = (
        (turn.definition.steps[name], index, task)
        for name, tasks in turn.run.steps.items()
        for index, task in enumerate(tasks)
        if task.status in _UNDER_WAY and not task.undoing
    )
    for step, index, task in under_way:
        is_out = bool(task.command_id) or task.wait is not None
        if is_out and (task.cancel_sent or (task.command_id and not who_has(task))):
            quiet = False  # it has been told, or is once it is known who has it
        elif not turn.take():
            return False
        elif task.command_id:
            quiet = False
            send_cancel(turn, step, index, task)
        elif task.status is StepStatus.PENDING or children.stop_child(turn, step, index, task):
            turn.record(TaskCancelled(at=turn.env.now, step=step.id, host_index=index))
        else:
            quiet = False
    return quiet


def undo(turn: Turn) -> None:
    """Send every undo whose dependents are undone (rule 4)."""
    if turn.run.paused:
        return
    wanted = _wanted(turn)
    for name in reversed(wanted):
        step = turn.definition.steps[name]
        if not any(other in wanted for other in step.dependents):
            for index in ready_undo(step, turn.run.steps[name], wanted[name]):
                if not turn.take():
                    return
                begin_undo(turn, step, index)


def begin_undo(turn: Turn, step: StepDef, index: int) -> None:
    """Make the next attempt of a task's undo."""
    if step.kind == "workflow":
        children.undo_child(turn, step, index)
    else:
        send_undo(turn, step, index)


def _wanted(turn: Turn) -> dict[str, list[int]]:
    """The tasks whose effect has yet to be undone, by step, in document order."""
    wanted: dict[str, list[int]] = {}
    for name, tasks in turn.run.steps.items():
        step = turn.definition.steps[name]
        if step.can_undo:
            found = [index for index, task in enumerate(tasks) if task.effect and _has_to_go(task)]
            if found:
                wanted[name] = found
    return wanted


def end(turn: Turn) -> None:
    """End a run that went back once no undo is wanted any more (rules 9 and 11)."""
    if turn.run.paused or any(wants_undo(step, task) for step, _, task in turn.tasks()):
        return
    given_up = list(dict.fromkeys(step.id for step, _, task in turn.tasks() if task.given_up))
    reason = ""
    if given_up:
        status = RunStatus.FAILED
        reason = f"{turn.run.reason}; given up: undo of {', '.join(given_up)}"
    elif turn.run.cancel is not None:
        status = RunStatus.CANCELLED
    elif any(task.status is StepStatus.COMPENSATED for _, _, task in turn.tasks()):
        status = RunStatus.COMPENSATED
    else:
        status = RunStatus.FAILED
    turn.record(RunEnded(at=turn.env.now, status=status, reason=reason))


def wants_undo(step: StepDef, task: Task) -> bool:
    """Whether an effect of this task has yet to be undone."""
    return step.can_undo and task.effect and _has_to_go(task)


def _has_to_go(task: Task) -> bool:
    """Whether an effect, if it has one that can be undone, is still there and nobody gave up on it."""
    return task.status is not _COMPENSATED and not task.given_up

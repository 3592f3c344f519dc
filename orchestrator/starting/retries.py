"""A retry of a run that has ended: which results a new run takes over from it, or why there can be none."""

from orchestrator.core.changes import step_changes
from orchestrator.core.definition import Definition
from orchestrator.core.model import Run, RunStatus, Task
from schemas.errors import Conflict, InvalidInput, NotFound

__all__ = ["kept_steps"]

Tasks = tuple[Task, ...]

_MANY = 5


def kept_steps(run: Run, old: Definition, new: Definition, step: str) -> dict[str, Tasks]:
    """The tasks, by step, that a retry of the ended `run` from `step` keeps, with the definition `new`.

    Kept is every step that is done, and neither is `step` nor depends on it or on another one that is to be
    done. Raises `Conflict` with the reason when the run cannot be retried, `NotFound` for an unknown step.
    """
    _check_end(run)
    if step not in new.steps:
        raise NotFound(
            f"workflow '{new.name}' has no step '{step}' in version {new.version[:12]}",
            hint=f"its steps are {_listed(list(new.steps))}",
        )
    again = {step}
    again.update(name for name in new.steps if not _is_done(run.steps.get(name)))
    for name in tuple(again):
        again |= new.steps[name].dependents
    kept = {name: run.steps[name] for name in new.steps if name not in again}
    if old.version != new.version:
        _check_versions(run, old, new, kept)
        if wrong := new.check_input(run.head.input):
            raise InvalidInput(
                f"the run's input does not fit version {new.version[:12]}: {'; '.join(wrong)}",
                hint="retry it with its own version, or start a new run",
            )
    return kept


def _check_end(run: Run) -> None:
    """Refuse what has nothing to go on from."""
    name = f"run {run.head.id}"
    if run.head.parent is not None:
        hint = f"retry its parent, run {run.head.parent.run_id}"
        raise Conflict(f"{name} is a child run, which its parent started", code="is_child", hint=hint)
    if run.status not in (RunStatus.FAILED, RunStatus.CANCELLED):
        raise Conflict(
            f"{name} has ended {run.status}: only a failed or cancelled run can be retried",
            code="not_retryable",
            hint="start a new run",
        )
    undone = [step for step, tasks in run.steps.items() if any(task.undoing for task in tasks)]
    given_up = [step for step, tasks in run.steps.items() if any(task.given_up for task in tasks)]
    if given_up:
        why = f"somebody gave up on undoing {_listed(given_up)}"
    elif undone:
        why = f"{_listed(undone)} was undone"
    else:
        return
    raise Conflict(f"{name} went back, and {why}", code="was_undone", hint="start a new run")


def _check_versions(run: Run, old: Definition, new: Definition, kept: dict[str, Tasks]) -> None:
    """Refuse to keep results of steps that another version does otherwise, or has no more."""
    changes = step_changes(old.document, new.document)
    changed = [name for name in kept if name in changes.changed]
    if changed:
        raise Conflict(
            f"version {new.version[:12]} changes {_listed(changed)}, whose results would be kept",
            code="steps_changed",
            hint=f"retry from '{changed[0]}', or with the run's own version",
        )
    lost = [name for name in changes.removed if any(task.effect for task in run.steps.get(name, ()))]
    if lost:
        raise Conflict(
            f"version {new.version[:12]} has no {_listed(lost)} any more, which had effect",
            code="steps_changed",
            hint="retry it with the run's own version",
        )


def _is_done(tasks: Tasks | None) -> bool:
    return tasks is not None and all(task.is_done for task in tasks)


def _listed(steps: list[str]) -> str:
    """Some names, at most a few."""
    more = f" and {len(steps) - _MANY} more" if len(steps) > _MANY else ""
    return ", ".join(f"'{step}'" for step in steps[:_MANY]) + more

"""What expressions see of a run."""

from collections.abc import Iterable
from typing import Any

from orchestrator.core.definition import StepDef
from orchestrator.core.model import RunHead, StepStatus, Task, step_status
from orchestrator.core.turn import Turn
from schemas.times import to_rfc3339

__all__ = ["Scope", "head_scope", "own_scope", "run_scope", "task_scope", "with_raw_output"]

Scope = dict[str, Any]


def run_scope(turn: Turn, steps: Iterable[str]) -> Scope:
    """`event input steps run` (and `failure` once the run goes back), `steps` with only the named ones."""
    run = turn.run
    scope = head_scope(run.head, run.version)
    scope["steps"] = {step: _view(turn, step) for step in steps}
    if run.failure is not None:
        failure = run.failure
        scope["failure"] = {"step": failure.step, "code": failure.code, "message": failure.message}
    return scope


def head_scope(head: RunHead, version: str) -> Scope:
    """`event input run`: what is known of a run before it has steps."""
    about = {
        "id": head.id,
        "workflow": head.workflow,
        "version": version,
        "key": head.key,
        "started_at": to_rfc3339(head.created_at),
    }
    return {
        "event": {} if head.event is None else head.event,
        "input": {} if head.input is None else head.input,
        "run": about,
    }


def _view(turn: Turn, step: str) -> Scope:
    """A step as others see it; made once, as each of 10,000 tasks may look at 10,000 others."""
    if step not in turn.views:
        turn.views[step] = _step_scope(turn.run.steps[step])
    view: Scope = turn.views[step]
    return view


def task_scope(turn: Turn, step: StepDef, task: Task) -> Scope:
    """What the expressions of one task see: the run, and its `item` or `host`."""
    scope = run_scope(turn, step.upstream)
    if step.foreach is not None:
        scope["item"] = task.item
    if step.rollout is not None:
        scope["host"] = {"name": task.host, "labels": task.labels, "output": task.output}
    return scope


def own_scope(turn: Turn, step: StepDef, task: Task) -> Scope:
    """The scope of a task's undo: `steps.<id>` of its own step is this very task."""
    scope = task_scope(turn, step, task)
    scope["steps"][step.id] = _one(task)
    return scope


def with_raw_output(turn: Turn, step: StepDef, task: Task, output: Any) -> Scope:
    """The scope of a step's own `output` template: `steps.<step>.output` is what the action gave."""
    scope = own_scope(turn, step, task)
    scope["steps"][step.id] |= {"status": "succeeded", "output": output}
    if "host" in scope:
        scope["host"]["output"] = output
    return scope


def _step_scope(tasks: tuple[Task, ...]) -> Scope:
    """A step as others see it: of a fan-out the outputs of all, by host or in the order of the items."""
    if len(tasks) == 1 and not tasks[0].part:
        return _one(tasks[0])
    errors = (_error(task) for task in tasks)
    scope = {
        "status": str(step_status(tasks)),
        "attempts": max((task.attempt for task in tasks), default=0),
        "error": next((error for error in errors if error is not None), None),
    }
    if tasks and tasks[0].host:
        done = {task.host: task.output for task in tasks if task.status is StepStatus.SUCCEEDED}
        hosts = {task.host: _one(task) for task in tasks}
        return {**scope, "output": done, "hosts": hosts}
    return {**scope, "output": [task.output for task in tasks]}


def _one(task: Task) -> Scope:
    return {
        "status": str(task.status),
        "output": task.output,
        "attempts": task.attempt,
        "error": _error(task),
    }


def _error(task: Task) -> Scope | None:
    error = task.error
    return None if error is None else {"code": error.code, "message": error.message}

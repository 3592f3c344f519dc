"""What expressions see of a run."""

from collections.abc import Iterable
from typing import Any

from orchestrator.core.model import Run, Task, step_status
from schemas.times import to_rfc3339

__all__ = ["run_scope", "with_raw_output"]


def run_scope(run: Run, steps: Iterable[str]) -> dict[str, Any]:
    """`event input steps run` (and `failure` once the run goes back), `steps` with only the named ones."""
    head = run.head
    scope: dict[str, Any] = {
        "event": head.event if head.event is not None else {},
        "input": head.input if head.input is not None else {},
        "run": {
            "id": head.id,
            "workflow": head.workflow,
            "version": head.version,
            "key": head.key,
            "started_at": to_rfc3339(head.created_at),
        },
        "steps": {step: _step_scope(run.steps[step]) for step in steps},
    }
    if run.failure is not None:
        failure = run.failure
        scope["failure"] = {"step": failure.step, "code": failure.code, "message": failure.message}
    return scope


def with_raw_output(scope: dict[str, Any], step: str, output: Any) -> dict[str, Any]:
    """The scope of a step's own `output` template: `steps.<step>.output` is what the action gave."""
    seen = {**scope["steps"].get(step, {}), "status": "succeeded", "output": output}
    return {**scope, "steps": {**scope["steps"], step: seen}}


def _step_scope(tasks: tuple[Task, ...]) -> dict[str, Any]:
    task = tasks[0]
    error = task.error
    return {
        "status": str(step_status(tasks)),
        "output": task.output,
        "attempts": task.attempt,
        "error": None if error is None else {"code": error.code, "message": error.message},
    }

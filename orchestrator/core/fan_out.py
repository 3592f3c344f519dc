"""Steps with many tasks: one for each item of a list (`foreach`), or one for each host (`all: true`).

Going forward, a rollout takes its batches in order and `foreach` at most `max_parallel` items at a time.
Going back, the last batch comes first, and the items in reverse order, as many at a time.
"""

from orchestrator.core.concluding import no_live_agent
from orchestrator.core.definition import RolloutDef, StepDef
from orchestrator.core.facts import BatchPaused, HostRef, StepExpanded
from orchestrator.core.model import StepStatus, Task
from orchestrator.core.scope import run_scope
from orchestrator.core.sending import labels_of
from orchestrator.core.turn import Turn
from schemas.errors import InvalidInput

__all__ = ["expand", "ready_forward", "ready_undo", "too_many_failed"]

_PENDING, _FAILED = StepStatus.PENDING, StepStatus.FAILED
_IDLE = (StepStatus.SUCCEEDED, _PENDING, _FAILED, StepStatus.SKIPPED)
"""What takes none of the places of `max_parallel`, most frequent first: each task is asked at each move."""


def expand(turn: Turn, step: StepDef) -> None:
    """Give the step its tasks; raises `BatonError` when there can be none."""
    scope = run_scope(turn, step.upstream)
    if step.foreach is not None:
        items = step.foreach.evaluate(scope)
        if not isinstance(items, list):
            raise InvalidInput(
                f"foreach gives no list, in: {step.foreach.source.strip()[:200]}",
                code="not_a_list",
                hint="a map's keys are a list: input.hosts.map(name, name)",
            )
        _check_width(turn, len(items), "items")
        turn.record(StepExpanded(at=turn.env.now, step=step.id, items=items))
        return
    if step.target is None or step.rollout is None:
        raise AssertionError(step.id)
    labels = labels_of(step.target, scope)
    hosts = turn.env.registry.live(labels, turn.env.now)
    if not hosts:
        raise no_live_agent(labels)
    _check_width(turn, len(hosts), "hosts")
    size = step.rollout.batch_size(len(hosts))
    refs = [HostRef(host.name, dict(host.labels), place // size) for place, host in enumerate(hosts)]
    turn.record(StepExpanded(at=turn.env.now, step=step.id, hosts=refs))


def _check_width(turn: Turn, width: int, what: str) -> None:
    limit = turn.env.limits.fan_out
    if width > limit:
        raise InvalidInput(
            f"the step would fan out to {width} {what}, more than the limit of {limit} (setting max_fan_out)",
            code="too_wide",
        )


def ready_forward(turn: Turn, step: StepDef) -> list[int]:
    """Which pending tasks may begin now."""
    tasks = turn.run.steps[step.id]
    if step.rollout is not None:
        return _next_batch(turn, step, step.rollout, tasks)
    statuses = [task.status for task in tasks]
    pending = [index for index, status in enumerate(statuses) if status is _PENDING]
    if step.max_parallel is None or not pending:
        return pending
    under_way = sum([status not in _IDLE for status in statuses])
    return pending[: max(0, step.max_parallel - under_way)]


def _next_batch(turn: Turn, step: StepDef, rollout: RolloutDef, tasks: tuple[Task, ...]) -> list[int]:
    """The tasks of the first batch that is not done, once those before it are and the pause is over."""
    batch = next((task.batch for task in tasks if not task.is_done), None)
    if batch is None:
        return []
    pending = [index for index, task in enumerate(tasks) if task.batch == batch and task.status is _PENDING]
    first = batch == 0 or not pending
    if not first and rollout.pause and tasks[pending[0]].due is None:
        until = turn.env.now + rollout.pause
        turn.record(BatchPaused(at=turn.env.now, step=step.id, batch=batch - 1, until=until))
        return []
    return [index for index in pending if (tasks[index].due or 0) <= turn.env.now]


def too_many_failed(step: StepDef, tasks: tuple[Task, ...]) -> bool:
    """Whether more tasks failed than the step's rollout puts up with; without one, any is too many."""
    allowed = 0 if step.rollout is None else step.rollout.max_failures
    return sum(task.status is _FAILED for task in tasks) > allowed


def ready_undo(step: StepDef, tasks: tuple[Task, ...], wanted: list[int]) -> list[int]:
    """Of the tasks whose effect is still to be undone, those whose undo may begin now."""
    waiting = [index for index in reversed(wanted) if not tasks[index].undoing]
    if step.rollout is not None:
        last = max(tasks[index].batch for index in wanted)
        return [index for index in waiting if tasks[index].batch == last]
    if step.max_parallel is None:
        return waiting
    under_way = sum(tasks[index].undoing and not tasks[index].needs_person for index in wanted)
    return waiting[: max(0, step.max_parallel - under_way)]

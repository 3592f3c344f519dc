"""Invariants of every commit."""

from typing import TYPE_CHECKING

from orchestrator.core.model import Run, RunStatus, WaitOn
from orchestrator.store.port import Batch
from tests.simulation.invariants.tables import at_batch, is_past_pivot

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

R = RunStatus


@at_batch
def epochs_only_grow(sim: "Simulation", epoch: int, batch: Batch) -> str | None:
    """Epochs only grow, and an old one writes nothing."""
    newest = sim.newest_epoch
    return f"epoch {epoch} wrote when {newest} was the newest" if epoch < newest else None


@at_batch
def each_event_is_applied_once(sim: "Simulation", epoch: int, batch: Batch) -> str | None:
    """Each inbox id is applied once."""
    for record in batch.inbox:
        if record.kind == "event" and (record.source, record.id) in sim.observer.inbox:
            return f"event {record.id} was taken in twice"
    return None


@at_batch
def one_run_per_key(sim: "Simulation", epoch: int, batch: Batch) -> str | None:
    """One live run per (workflow, key)."""
    seen: dict[tuple[str, str], str] = {}
    for run in sim.observer.live():
        key = (run.head.workflow, run.head.key)
        if run.head.key and key in seen:
            return f"{run.head.id} and {seen[key]} share the key {key}"
        seen[key] = run.head.id
    return None


@at_batch
def history_leads_to_the_state(sim: "Simulation", epoch: int, batch: Batch) -> str | None:
    """The history has no gaps and folds to the state."""
    for run_id, run in batch.changed.items():
        if sim.observer.runs[run_id] != run:
            return f"{run_id}: its facts lead to {sim.observer.runs[run_id]}, the batch says {run}"
    return None


@at_batch
def an_ended_run_holds_no_timer(sim: "Simulation", epoch: int, batch: Batch) -> str | None:
    """An ended run holds no timer; a live one has a timer, or waits for a run or a person (rule 12)."""
    for run in batch.changed.values():
        if run.ended is not None and run.wake_at is not None:
            return f"{run.head.id} has ended and is to wake at {run.wake_at}"
        if run.ended is None and run.wake_at is None and not _waits_for_others(run):
            return f"{run.head.id} is {run.status} and nothing will move it"
    return None


def _waits_for_others(run: Run) -> bool:
    """Whether a person, another run or room in its group moves it on."""
    if run.held or run.status in (R.ATTENTION, R.QUEUED, R.PAUSED):
        return True
    waits = (task.wait for tasks in run.steps.values() for task in tasks)
    return any(wait is not None and wait.on is WaitOn.CHILD for wait in waits)


@at_batch
def groups_keep_their_limit(sim: "Simulation", epoch: int, batch: Batch) -> str | None:
    """No more runs are under way in a concurrency group than it may have.

    A child that was done and is now undone does not ask for its slot again.
    """
    busy: dict[str, list[Run]] = {}
    for run in sim.observer.live():
        if run.head.group and not run.queued and not run.held and not (run.head.parent and run.going_back):
            busy.setdefault(run.head.group, []).append(run)
    for group, runs in busy.items():
        limits = [sim.definitions[run.version].concurrency for run in runs]
        allowed = max((one.limit for one in limits if one is not None), default=len(runs))
        if len(runs) > allowed:
            return f"{', '.join(run.head.id for run in runs)} are in group '{group}', {allowed} allowed"
    return None


@at_batch
def an_event_serves_a_run_once(sim: "Simulation", epoch: int, batch: Batch) -> str | None:
    """No event ends two waits of one run."""
    for run_id in batch.changed:
        seen: set[tuple[str, str]] = set()
        for step, _, task in sim.observer.tasks(sim.observer.runs[run_id]):
            if step.kind == "wait_for" and isinstance(task.output, dict) and "id" in task.output:
                event = (task.output["source"], task.output["id"])
                if event in seen:
                    return f"event {event[1]} ended two waits of {run_id}"
                seen.add(event)
    return None


@at_batch
def past_the_pivot_is_forward(sim: "Simulation", epoch: int, batch: Batch) -> str | None:
    """A run whose pivot is done does not go back (rule 6)."""
    for run_id in batch.changed:
        run = sim.observer.runs[run_id]
        if run.going_back and is_past_pivot(sim, run):
            return f"{run_id} goes back past its pivot: {run.failure}"
    return None

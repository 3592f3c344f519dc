"""Invariants of definitions: which version a run keeps to, and what a retried run keeps of the one before."""

from typing import TYPE_CHECKING, Any

import msgspec

from orchestrator.core.definition import Definition
from orchestrator.core.facts import AttemptSent, Fact, RunMoved, RunStarted, StepsKept
from orchestrator.core.model import Run, RunStatus, StepStatus
from orchestrator.store.port import Batch
from tests.simulation.invariants.tables import at_batch, at_end, at_fact

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation


@at_fact
def a_version_changes_only_by_a_move(sim: "Simulation", before: Run, fact: Fact, after: Run) -> str | None:
    """A run keeps to its version until a person moves it, to one where what it has begun is the same."""
    if not isinstance(fact, RunMoved):
        moved = before.seq and after.version != before.version
        return f"{before.head.id} came to another version by {fact}" if moved else None
    old, new = sim.definitions[before.version], sim.definitions.get(fact.version)
    if not fact.who:
        return f"nobody moved {before.head.id} to {fact.version}"
    if new is None or new.name != before.head.workflow or after.version != fact.version:
        return f"{before.head.id} was moved to {fact.version}, and is of {after.version}"
    begun = [
        name
        for name, tasks in before.steps.items()
        if not tasks
        or any(task.part or task.attempt or task.status is not StepStatus.PENDING for task in tasks)
    ]
    other = [name for name in begun if _step(old, name) != _step(new, name)]
    return f"{before.head.id} was moved, and {', '.join(other)} had begun as another" if other else None


def _step(definition: Definition, name: str) -> Any:
    """What a document says of a step, with its needs as they count; None if it has no such step."""
    step = definition.steps.get(name)
    if step is None:
        return None
    said = next(one for one in definition.document.steps if one.id == name)
    return {**msgspec.to_builtins(said), "needs": set(step.needs)}


@at_fact
def what_is_sent_is_of_the_pinned_version(
    sim: "Simulation", before: Run, fact: Fact, after: Run
) -> str | None:
    """A run begins what the definition that it is pinned to says."""
    if not isinstance(fact, AttemptSent):
        return None
    step = sim.definitions[before.version].steps.get(fact.step)
    plan = step.compensate if step is not None and fact.undo else step
    if plan is None or plan.action != fact.action:
        return f"{fact.command_id} is {fact.action}, of which version {before.version[:12]} does not speak"
    return None


@at_batch
def a_run_has_the_steps_of_its_version(sim: "Simulation", epoch: int, batch: Batch) -> str | None:
    """A run that has started has the steps of the definition that it is pinned to, and no other."""
    for run_id in batch.changed:
        run = sim.observer.runs[run_id]
        started = any(isinstance(fact, RunStarted) for fact in sim.observer.facts[run_id][:_EARLY])
        if started and run.steps.keys() != sim.definitions[run.version].steps.keys():
            return f"{run_id} has the steps {list(run.steps)}, not those of version {run.version[:12]}"
    return None


_EARLY = 5
"""Among how many facts of a run its start is: only what is queued or kept comes before."""


@at_end
def pinned_definitions_stay(sim: "Simulation") -> str | None:
    """The definition that a run started with, and the one that it was moved to, stay in the database."""
    stored = {version for (version,) in sim.stored("SELECT version FROM definitions")}
    for run in sim.observer.runs.values():
        for version in (run.head.version, run.version):
            if version not in stored:
                return f"{run.head.id} is pinned to {version}, which is gone"
    return None


@at_fact
def a_retry_keeps_what_was_done(sim: "Simulation", before: Run, fact: Fact, after: Run) -> str | None:
    """A retried run goes on from one that ended badly, and has the results that it keeps as they were."""
    if not isinstance(fact, StepsKept):
        return None
    old = sim.observer.runs.get(before.head.retry_of)
    if old is None or old.ended not in (RunStatus.FAILED, RunStatus.CANCELLED):
        return f"{before.head.id} keeps steps of '{before.head.retry_of}', which has not ended badly"
    for name, tasks in fact.steps.items():
        if tasks != old.steps[name] or any(task.undoing or not task.is_done for task in tasks):
            return f"{before.head.id} keeps {name}, which was not done like that in {old.head.id}"
    return None

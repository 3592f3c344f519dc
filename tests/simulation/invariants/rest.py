"""Invariants of the whole, when everything has come to rest."""

from typing import TYPE_CHECKING, TypeGuard

from orchestrator.core.evolution import fold
from orchestrator.core.facts import (
    AttemptFailed,
    AttemptSent,
    AttemptSucceeded,
    EventEmitted,
    Fact,
    ResultIgnored,
    TaskInDoubt,
    TaskResolved,
)
from orchestrator.core.model import Run, RunStatus, StepStatus, Task
from tests.simulation.invariants.tables import at_end, taken_twice_in_a_pool, to_undo
from tests.simulation.nodes import TOPOLOGY

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

S, R = StepStatus, RunStatus


@at_end
def every_run_has_ended(sim: "Simulation") -> str | None:
    """After the faults stop, every run reaches an end within a bound, if need be with a person's help."""
    live = [f"{run.head.id} ({run.status})" for run in sim.observer.live()]
    return f"after {sim.bound:.0f} s still live: {', '.join(live)}" if live else None


@at_end
def every_event_is_accounted_for(sim: "Simulation") -> str | None:
    """Every message ends applied, duplicate, rejected or dead: events."""
    emitted = [
        (f"/baton/baton/{run.head.workflow}", fact.event_id)
        for run in sim.observer.runs.values()
        for fact in sim.observer.facts[run.head.id]
        if isinstance(fact, EventEmitted)
    ]
    for event in [*((sim.source, event_id) for event_id in sim.events), *emitted]:
        if event not in sim.observer.inbox:
            return f"event {event[1]} was published and is nowhere"
    return None


@at_end
def every_result_is_accounted_for(sim: "Simulation") -> str | None:
    """Every message ends applied, duplicate, rejected or dead: final results."""
    told = {
        fact.command_id
        for facts in sim.observer.facts.values()
        for fact in facts
        if isinstance(fact, AttemptSucceeded | AttemptFailed | TaskInDoubt | ResultIgnored)
    }
    told |= sim.observer.refused_results
    for command_id in sim.observer.final_results:
        if command_id not in told and not _full(sim, command_id):
            return f"the result of {command_id} was published and is nowhere"
    return None


def _full(sim: "Simulation", command_id: str) -> bool:
    """Whether the run's history records no more ignored results."""
    run = sim.observer.runs.get(command_id.split("/", maxsplit=1)[0])
    return run is not None and run.ignored >= 100


@at_end
def nothing_is_left_lying(sim: "Simulation") -> str | None:
    """Every outbox row is sent or expired, and every queue but the dead letters' is empty."""
    if sim.observer.outbox:
        return f"in the outbox: {list(sim.observer.outbox.values())[:3]}"
    left = {name: count for name, count in sim.queue_lengths().items() if count and name != TOPOLOGY.dead}
    return f"in queues: {left}" if left else None


@at_end
def nothing_waits_for_who_is_gone(sim: "Simulation") -> str | None:
    """An ended run holds no timer, slot or lock, waits for no event, and is told nothing any more."""
    for table in ("signals", "waits", "debounced_events"):
        left = sim.stored(f"SELECT count(*) FROM {table}")[0][0]
        if left:
            return f"{left} rows are left in {table}"
    left = sim.stored("SELECT count(*) FROM runs WHERE wake_at IS NOT NULL")[0][0]
    return f"{left} timers are left" if left else None


@at_end
def children_follow_their_parents(sim: "Simulation") -> str | None:
    """A child ends as its parent took it: done, or undone (rule 10)."""
    for run in sim.observer.runs.values():
        for step, index, task in sim.observer.tasks(run):
            child = sim.observer.runs.get(task.child) if step.kind == "workflow" else None
            if child is None or child.ended is None:
                continue
            if any(isinstance(fact, TaskResolved) for fact in sim.observer.facts[run.head.id]):
                continue
            left = any(to_undo(sim, child, other.id, part) for other, _, part in sim.observer.tasks(child))
            done = task.status is S.SUCCEEDED and child.ended is not R.SUCCEEDED
            if done or (task.status is S.COMPENSATED and left):
                return f"{run.head.id}/{step.id}/{index} is {task.status}, its child ended {child.ended}"
    return None


@at_end
def the_world_is_as_the_runs_say(sim: "Simulation") -> str | None:
    """Undone is exactly what had effect: what a run left behind on the hosts is what its state says."""
    for run in sim.observer.runs.values():
        for step, index, task in sim.observer.tasks(run):
            problem = _disagrees(sim, run, step.id, index, task) if step.kind == "action" else None
            if problem:
                return f"{run.head.id}/{step.id}/{index} is {task.status}, and {problem}"
    return None


def _is_undo(fact: Fact, step: str, index: int) -> TypeGuard[AttemptSent]:
    return isinstance(fact, AttemptSent) and fact.undo and (fact.step, fact.host_index) == (step, index)


def _disagrees(sim: "Simulation", run: Run, step: str, index: int, task: Task) -> str | None:
    """What is wrong between a task and the hosts; nothing where a person had to guess."""
    doer = sim.observer.doer(run, step)
    key = (doer.head.id, step, index)
    commands = [one.command_id for one in sim.ledger.of_run.get(doer.head.id, ()) if one.task == key]
    if any(name in sim.observer.by_person or taken_twice_in_a_pool(sim, name) for name in commands):
        return None
    effects = sim.ledger.effects.get(key, {})
    there = [agent for agent, effect in effects.items() if effect.present]
    if any(agent in sim.rebuilt for agent in effects):
        return None
    resolved = any(
        isinstance(fact, TaskResolved) and fact.step == step for fact in sim.observer.facts[doer.head.id]
    )
    if task.status is S.SUCCEEDED and not there and not resolved:
        return "its effect is not there"
    asked = {fact.target for fact in sim.observer.facts[run.head.id] if _is_undo(fact, step, index)}
    holder = (
        task.effect_agent if f"agent.{task.effect_agent}" in asked else ""
    )  # the document may name another
    if task.status is S.COMPENSATED and holder in there and not resolved:
        return f"its effect is still on {holder}"
    if there and not task.effect and not resolved:
        return f"there is an effect on {', '.join(there)} that the run does not know"
    return None


@at_end
def the_database_holds_what_was_committed(sim: "Simulation") -> str | None:
    """Each stored history has no gaps and folds to the stored state, which is what was committed."""
    for run, facts in sim.stored_runs():
        if [seq for seq, _ in facts] != list(range(1, run.seq + 1)):
            return f"{run.head.id}: the history has the numbers {[seq for seq, _ in facts]}"
        if fold(run.head, [fact for _, fact in facts]) != run:
            return f"{run.head.id}: the history does not lead to the state"
        if sim.observer.runs.get(run.head.id) != run:
            return f"{run.head.id}: stored is not what was committed"
    stored = {run.head.id for run, _ in sim.stored_runs()}
    missing = [run_id for run_id in sim.observer.runs if run_id not in stored]
    return f"committed and not stored: {missing}" if missing else None


@at_end
def every_run_is_a_trace(sim: "Simulation") -> str | None:
    """Every run that ended was exported, in its trace and with the span id that it was given at its start."""
    if sim.backend is None:
        return None
    seen = {(span.context.trace_id, span.context.span_id) for span in sim.backend.spans}
    for run in sim.observer.runs.values():
        trace = run.head.trace
        if run.ended is not None and (int(trace.trace_id, 16), int(trace.span_id, 16)) not in seen:
            return f"{run.head.id} has no span in {trace.trace_id}"
    return None

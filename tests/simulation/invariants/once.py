"""Invariants of what an event, or a word between runs, may do: once, whatever comes twice."""

from collections import Counter
from typing import TYPE_CHECKING

from orchestrator.core.facts import Fact, TaskDone
from orchestrator.core.model import Run, WaitOn
from orchestrator.store.port import Batch
from orchestrator.store.starting import PaceKey
from tests.simulation.invariants.tables import at_batch, at_fact

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation


def _event(run: Run) -> tuple[str, str] | None:
    """The event that started a run; none of one that goes on from another, or is a child."""
    event, head = run.head.event, run.head
    return (event["source"], event["id"]) if event and not head.retry_of and head.parent is None else None


@at_batch
def an_event_starts_one_run(sim: "Simulation", epoch: int, batch: Batch) -> str | None:
    """One run per workflow and (source, id) of an event, ever (rule 1)."""
    if not batch.started:
        return None
    runs: dict[tuple[str, tuple[str, str]], str] = {}
    for run in sim.observer.runs.values():
        event = _event(run)
        if event is None:
            continue
        other = runs.setdefault((run.head.workflow, event), run.head.id)
        if other != run.head.id:
            return f"event {event[1]} started {other} and {run.head.id}"
    return None


@at_fact
def an_event_ends_a_wait_that_is_for_it(sim: "Simulation", before: Run, fact: Fact, after: Run) -> str | None:
    """An event is given to a task that waits for one, and is of the type and value that it wants."""
    if not isinstance(fact, TaskDone) or fact.event is None:
        return None
    where = f"{before.head.id}/{fact.step}/{fact.host_index}"
    task = before.steps[fact.step][fact.host_index]
    if task.wait is None or task.wait.on is not WaitOn.EVENT:
        return f"event {fact.event[1]} ended {where}, which waited for none"
    wants = sim.observer.step(before, fact.step).wait
    if wants is None or not wants.matches(fact.output["type"]):
        return f"event {fact.event[1]} of type {fact.output['type']} ended {where}"
    if wants.value_of is not None and str(fact.output["data"]["n"]) != task.wait.value:
        return f"event {fact.event[1]} with {fact.output['data']} ended {where}, for {task.wait.value}"
    return None


@at_batch
def a_delivered_event_ended_a_wait(sim: "Simulation", epoch: int, batch: Batch) -> str | None:
    """An event that the inbox has as delivered to a run ended just one wait of it, in the same commit."""
    delivered = [record for record in batch.inbox if record.outcome == "delivered"]
    if not delivered:
        return None
    ended = Counter((run_id, fact.event) for run_id, _, fact in batch.facts if isinstance(fact, TaskDone))
    for record in delivered:
        for run_id in record.runs:
            times = ended[run_id, (record.source, record.id)]
            if times != 1:
                return f"event {record.id} was delivered to {run_id} and ended {times} waits"
    return None


@at_batch
def each_signal_is_told_once(sim: "Simulation", epoch: int, batch: Batch) -> str | None:
    """What one run has to tell another has an id of its own, and is delivered once."""
    observer = sim.observer
    again = [one.id for one in batch.signals if one.id in observer.signals]
    if again or len({one.id for one in batch.signals}) < len(batch.signals):
        return f"signals were given twice: {again}"
    for name, times in Counter(batch.signals_done).items():
        if times > 1 or name in observer.signals_done or name not in observer.signals:
            return f"signal {name} was delivered and was not waiting to be"
    return None


@at_batch
def a_throttle_counts_each_start_once(sim: "Simulation", epoch: int, batch: Batch) -> str | None:
    """Each run that a throttled trigger starts counts once; and no more start than it lets."""
    if not (batch.started or batch.starting.starts):
        return None
    started: Counter[PaceKey] = Counter(
        (run.head.workflow, found[0], run.head.key) for run in batch.started if (found := _throttle(sim, run))
    )
    counted = Counter((one.workflow, one.number, one.key) for one in batch.starting.starts)
    if started != counted:
        return f"{started} were started by throttled triggers, {counted} were counted"
    if sim.coordinator.clock.was_set:
        return None  # nobody knows how long ago a start was
    for run in batch.started:
        if found := _throttle(sim, run):
            number, limit, per = found
            head = run.head
            lately = [
                other.head.id
                for other in sim.observer.runs.values()
                if (other.head.workflow, other.head.key) == (head.workflow, head.key)
                if (_throttle(sim, other) or (0,))[0] == number
                if head.created_at - per < other.head.created_at <= head.created_at
            ]
            if len(lately) > limit:
                return f"{', '.join(lately)} were started within {per / 1e6:g} s, {limit} allowed"
    return None


def _throttle(sim: "Simulation", run: Run) -> tuple[int, int, int] | None:
    """Number, limit and time of the throttled trigger that started a run."""
    event = run.head.event
    if _event(run) is None or event is None:
        return None
    for number, trigger in enumerate(sim.definitions[run.head.version].triggers, 1):
        if trigger.throttle is not None and trigger.event == event["type"]:
            return number, trigger.throttle.limit, trigger.throttle.per
    return None


@at_batch
def a_debounced_event_is_settled_once(sim: "Simulation", epoch: int, batch: Batch) -> str | None:
    """Of the events of a debounce the last one counts, once; what came before it is never heard of again.

    Besides these only what a task took is settled, which then is delivered, unless it started a run.
    """
    if not (batch.settled or batch.starting.debounced):
        return None
    inbox = {(one.source, one.id) for one in batch.inbox if one.outcome == "debounced"}
    known = {(one.event.source, one.event.id) for one in sim.observer.debounced.values() if one is not None}
    settled = [(one.source, one.id) for one in batch.settled]
    taken = {
        fact.event for _, _, fact in batch.facts if isinstance(fact, TaskDone) and fact.event is not None
    }
    if len(set(settled)) < len(settled) or set(settled) - known - inbox - taken:
        return f"settled was {settled}, debounced {known | inbox}, taken {taken}"
    for one in batch.settled:
        if (one.source, one.id) in taken and one.outcome not in ("started", "delivered"):
            return f"event {one.id} was taken, and is {one.outcome}"
    for key, now in batch.starting.debounced.items():
        before = sim.observer.debounced.get(key)
        if before is not None:
            name = (before.event.source, before.event.id)
            over = now is None or now.first_at != before.first_at
            if name not in taken and (name in settled) != over:
                return f"event {name[1]} was {'forgotten' if over else 'settled'}, and then waits {now}"
    return None

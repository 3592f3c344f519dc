"""What must hold, whatever goes wrong. Each invariant is one function, and its docstring says it in words.

`at_batch` ones look at every commit, `at_fact` ones at every fact in it, `at_publish` at what the coordinator
publishes, `at_start` at every action that starts on a host, `at_end` at the whole when everything has come to
rest. A function that finds its rule broken returns what it found; all is well when it returns nothing.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from orchestrator.core.evolution import fold
from orchestrator.core.facts import (
    AttemptFailed,
    AttemptSent,
    AttemptStarted,
    AttemptSucceeded,
    Fact,
    ResultIgnored,
    RunEnded,
    TaskInDoubt,
    TaskResolved,
)
from orchestrator.core.model import Run, RunStatus, StepStatus, Task
from orchestrator.store.port import Batch
from runtime.bus.port import Message
from tests.simulation.ledger import Performance
from tests.simulation.nodes import CANARY, TOPOLOGY
from tests.simulation.transitions import FORWARD_MOVES, RUN_MOVES, UNDO_MOVES

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

__all__ = ["AT_BATCH", "AT_END", "AT_FACT", "AT_PUBLISH", "AT_START"]

F = TypeVar("F", bound=Callable[..., str | None])

AT_BATCH: list[Callable[["Simulation", int, Batch], str | None]] = []
AT_FACT: list[Callable[["Simulation", Run, Fact, Run], str | None]] = []
AT_PUBLISH: list[Callable[["Simulation", Message], str | None]] = []
AT_START: list[Callable[["Simulation", Performance], str | None]] = []
AT_END: list[Callable[["Simulation"], str | None]] = []


def _into(table: list[Any]) -> Callable[[F], F]:
    def add(function: F) -> F:
        table.append(function)
        return function

    return add


at_batch, at_fact, at_publish = _into(AT_BATCH), _into(AT_FACT), _into(AT_PUBLISH)
at_start, at_end = _into(AT_START), _into(AT_END)

S, R = StepStatus, RunStatus

PROOF = {"succeeded", "failed", "timed_out", "cancelled", "rejected", "never_seen", "expired", "returned"}


# Commits


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
    """An ended run holds no timer, slot or lock; a live one has a timer or needs a person."""
    for run in batch.changed.values():
        if run.ended is not None and run.wake_at is not None:
            return f"{run.head.id} has ended and is to wake at {run.wake_at}"
        if run.ended is None and run.wake_at is None and run.status is not R.ATTENTION:
            return f"{run.head.id} is {run.status} and nothing will move it"
    return None


# Facts


@at_fact
def ends_are_final(sim: "Simulation", before: Run, fact: Fact, after: Run) -> str | None:
    """Ends are final; only ignored results are recorded after them."""
    if before.ended is not None and not isinstance(fact, ResultIgnored):
        return f"{before.head.id} had ended {before.ended}, then {fact}"
    return None


@at_fact
def every_transition_is_legal(sim: "Simulation", before: Run, fact: Fact, after: Run) -> str | None:
    """Every transition of a task and of a run is one of those in `transitions.py`."""
    if before.seq and after.status is not before.status and after.status not in RUN_MOVES[before.status]:
        return f"{before.head.id} went from {before.status} to {after.status} by {fact}"
    name = getattr(fact, "step", "")
    if not name:
        return None
    was, now = (run.steps[name][fact.host_index] for run in (before, after))  # type: ignore[union-attr]
    moves = UNDO_MOVES if was.undoing else FORWARD_MOVES
    if now.status is not was.status and now.status not in moves.get(was.status, ()):
        return f"{before.head.id}/{name} went from {was.status} to {now.status} by {fact}"
    return None


@at_fact
def an_attempt_is_new_and_counted(sim: "Simulation", before: Run, fact: Fact, after: Run) -> str | None:
    """Attempts are numbered without gaps, each has an id of its own, and none begins while one is out."""
    if not isinstance(fact, AttemptSent):
        return None
    task = before.steps[fact.step][fact.host_index]
    made = (task.undo_attempt if task.undoing else 0) if fact.undo else task.attempt
    if fact.attempt != made + 1:
        return f"{fact.command_id} is attempt {fact.attempt} after {made}"
    if fact.command_id in sim.observer.commands:
        return f"{fact.command_id} was sent before"
    resolved = task.command_id in sim.observer.by_person
    if task.command_id and not resolved and not (fact.undo and not task.undoing):
        return f"{fact.command_id} was sent while {task.command_id} was out"
    return None


@at_fact
def attempts_are_limited(sim: "Simulation", before: Run, fact: Fact, after: Run) -> str | None:
    """No more attempts are made than the document, or a person, allows."""
    if not isinstance(fact, AttemptSent):
        return None
    step = sim.observer.step(before, fact.step)
    plan = step.compensate if fact.undo else step
    task = after.steps[fact.step][fact.host_index]
    if plan is not None and fact.attempt > task.granted + plan.retry.attempts:
        return f"{fact.command_id}: {plan.retry.attempts} were allowed, {task.granted} granted"
    return None


@at_fact
def nothing_goes_forward_on_the_way_back(
    sim: "Simulation", before: Run, fact: Fact, after: Run
) -> str | None:
    """Once a run goes back, no forward attempt is sent (rule 3)."""
    if isinstance(fact, AttemptSent) and not fact.undo and before.going_back:
        return f"{fact.command_id} was sent although the run goes back"
    return None


@at_fact
def quiesce_before_undo(sim: "Simulation", before: Run, fact: Fact, after: Run) -> str | None:
    """No undo is sent before every forward task has a known outcome (rule 3)."""
    if not (isinstance(fact, AttemptSent) and fact.undo):
        return None
    for step, index, task in sim.observer.tasks(before):
        if not task.undoing and task.status in (S.PENDING, S.RUNNING, S.IN_DOUBT):
            return f"{fact.command_id} was sent while {step.id}/{index} was {task.status}"
    return None


@at_fact
def undo_in_reverse_order(sim: "Simulation", before: Run, fact: Fact, after: Run) -> str | None:
    """A task is undone once, if it has effect, after all that depend on it are undone (rule 4)."""
    if not (isinstance(fact, AttemptSent) and fact.undo):
        return None
    task = before.steps[fact.step][fact.host_index]
    if not task.effect or task.status is S.COMPENSATED:
        return f"{fact.command_id} undoes what has no effect"
    for name in sim.observer.step(before, fact.step).dependents:
        if any(_to_undo(sim, before, name, other) for other in before.steps[name]):
            return f"{fact.command_id} was sent before {name} was undone"
    return None


def _to_undo(sim: "Simulation", run: Run, name: str, task: Task) -> bool:
    """Whether a task has an effect that is still to be undone."""
    undoable = sim.observer.step(run, name).compensate is not None
    return undoable and task.effect and not task.given_up and task.status is not S.COMPENSATED


@at_fact
def only_the_outstanding_attempt_counts(sim: "Simulation", before: Run, fact: Fact, after: Run) -> str | None:
    """Late, duplicate and foreign results change nothing (rule 8)."""
    if isinstance(fact, AttemptStarted | AttemptSucceeded | AttemptFailed) and fact.command_id:
        task = before.steps[fact.step][fact.host_index]
        if task.command_id != fact.command_id:
            return f"{fact} was taken while '{task.command_id}' was out"
    if isinstance(fact, ResultIgnored) and after.steps != before.steps:
        return f"{fact} changed something"
    return None


@at_fact
def doubt_ends_by_proof_or_person(sim: "Simulation", before: Run, fact: Fact, after: Run) -> str | None:
    """What is in doubt is tried again only after a proof, an answer, or a person's decision (rule 7)."""
    name = getattr(fact, "step", "")
    if not name or before.steps[name][fact.host_index].status is not S.IN_DOUBT:  # type: ignore[union-attr]
        return None
    if isinstance(fact, AttemptSent):
        return f"{fact.command_id} was sent out of a doubt"
    if isinstance(fact, AttemptFailed) and fact.status not in PROOF:
        step = sim.observer.step(before, name)
        plan = step.compensate if fact.undo else step
        if not (fact.status == "unknown" and plan is not None and plan.idempotent):
            return f"the doubt about {fact.command_id} ended with '{fact.status}'"
    if isinstance(fact, TaskResolved) and not fact.who:
        return f"nobody decided about {name}"
    return None


@at_fact
def an_end_says_what_is_so(sim: "Simulation", before: Run, fact: Fact, after: Run) -> str | None:
    """At an end no effect is left to be undone, and `succeeded` means that all was done (rule 11)."""
    if not isinstance(fact, RunEnded):
        return None
    tasks = sim.observer.tasks(after)
    if fact.status is R.SUCCEEDED:
        left = [step.id for step, _, task in tasks if task.status not in (S.SUCCEEDED, S.SKIPPED)]
    else:
        left = [step.id for step, _, task in tasks if _to_undo(sim, after, step.id, task)]
    if left:
        return f"{after.head.id} ended {fact.status} with {', '.join(left)} open"
    undone = any(task.status is S.COMPENSATED for _, _, task in tasks)
    if fact.status is R.COMPENSATED and (not undone or after.cancel is not None):
        return f"{after.head.id} ended compensated, and nothing was"
    if fact.status is R.CANCELLED and after.cancel is None:
        return f"{after.head.id} ended cancelled, and nobody had"
    return None


# The bus


@at_publish
def nothing_is_published_that_is_not_committed(sim: "Simulation", message: Message) -> str | None:
    """No command, or other word of the coordinator's, without a committed row."""
    if message.exchange == TOPOLOGY.dead:
        return None
    if (message.exchange, message.routing_key, message.body) not in sim.observer.may_go_out:
        return f"published to {message.exchange} {message.routing_key}: {message.body[:200]!r}"
    return None


# The hosts


@at_start
def an_action_starts_by_a_committed_command(sim: "Simulation", begun: Performance) -> str | None:
    """An action starts only for a committed command."""
    return None if begun.command_id in sim.observer.commands else f"{begun.command_id} was never committed"


@at_start
def once_per_attempt(sim: "Simulation", begun: Performance) -> str | None:
    """An action that is not idempotent starts at most once per attempt, unless its host was made anew."""
    if sim.observer.commands[begun.command_id].idempotent:
        return None
    for other in sim.ledger.of_command[begun.command_id]:
        rebuilt = other.agent in sim.rebuilt
        if other is not begun and not rebuilt:
            return f"{begun.command_id} started on {other.life}, now again on {begun.life}"
    return None


@at_start
def what_never_starts(sim: "Simulation", begun: Performance) -> str | None:
    """A command that was tombstoned, or taken for never started (expired, returned), never starts."""
    if (begun.instance_id, begun.command_id) in sim.observer.tombstones:
        return f"{begun.command_id} starts on {begun.life}, which had promised not to start it"
    why = sim.observer.never_started.get(begun.command_id)
    if why and begun.agent not in sim.rebuilt:
        return f"{begun.command_id} starts on {begun.life}, and was taken for never started: {why}"
    return None


@at_start
def forward_and_undo_never_meet(sim: "Simulation", begun: Performance) -> str | None:
    """No step of a run goes forward while one of its steps is being undone (rule 3), seen on the hosts."""
    for other in sim.ledger.of_run[begun.task[0]]:
        forward = begun if other.undo else other
        if other.undo == begun.undo or _excused(sim, forward):
            continue
        if begun.undo and other.active:
            return (
                f"{begun.command_id} starts on {begun.life} while {other.command_id} goes on at {other.life}"
            )
        if other.undo:
            return f"{begun.command_id} starts on {begun.life} after the undo {other.command_id} had begun"
    return None


def _excused(sim: "Simulation", forward: Performance) -> bool:
    """Whether a person decided about it, or its host was made anew and cannot know any more."""
    decided = forward.command_id in sim.observer.by_person
    return decided or forward.agent in sim.rebuilt or _done_twice_in_a_pool(sim, forward.command_id)


def _done_twice_in_a_pool(sim: "Simulation", command_id: str) -> bool:
    """Whether two agents of a pool ran one idempotent command, of which only the last is undone (rule 4)."""
    agents = {one.agent for one in sim.ledger.of_command.get(command_id, ())}
    return len(agents) > 1 and sim.observer.commands[command_id].idempotent


# When everything has come to rest


@at_end
def every_run_has_ended(sim: "Simulation") -> str | None:
    """After the faults stop, every run reaches an end within a bound, if need be with a person's help."""
    live = [f"{run.head.id} ({run.status})" for run in sim.observer.live()]
    return f"after {sim.bound:.0f} s still live: {', '.join(live)}" if live else None


@at_end
def every_event_is_accounted_for(sim: "Simulation") -> str | None:
    """Every message ends applied, duplicate, rejected or dead: events."""
    for event_id in sim.events:
        if (sim.source, event_id) not in sim.observer.inbox:
            return f"event {event_id} was confirmed to its publisher and is nowhere"
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
def the_world_is_as_the_runs_say(sim: "Simulation") -> str | None:
    """Undone is exactly what had effect: what a run left behind on the hosts is what its state says."""
    for run in sim.observer.runs.values():
        for step, index, task in sim.observer.tasks(run):
            problem = _disagrees(sim, run, step.id, index, task)
            if problem:
                return f"{run.head.id}/{step.id}/{index} is {task.status}, and {problem}"
    return None


def _disagrees(sim: "Simulation", run: Run, step: str, index: int, task: Task) -> str | None:
    """What is wrong between a task and the hosts; nothing where a person had to guess."""
    key = (run.head.id, step, index)
    commands = [one.command_id for one in sim.ledger.of_run.get(run.head.id, ()) if one.task == key]
    if any(name in sim.observer.by_person or _done_twice_in_a_pool(sim, name) for name in commands):
        return None
    effects = sim.ledger.effects.get(key, {})
    there = [agent for agent, effect in effects.items() if effect.present]
    if any(agent in sim.rebuilt for agent in effects):
        return None
    resolved = any(
        isinstance(fact, TaskResolved) and fact.step == step for fact in sim.observer.facts[run.head.id]
    )
    if task.status is S.SUCCEEDED and not there and not resolved:
        return "its effect is not there"
    if task.status is S.COMPENSATED and task.effect_agent in there and not resolved:
        return f"its effect is still on {task.effect_agent}"
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
def pinned_definitions_stay(sim: "Simulation") -> str | None:
    """A run keeps the definition that it started with, and the database has it."""
    for run in sim.observer.runs.values():
        if run.head.version not in sim.stored_versions():
            return f"{run.head.id} is pinned to {run.head.version}, which is gone"
    return None


@at_end
def no_secret_gets_out(sim: "Simulation") -> str | None:
    """No canary secret in the databases, the logs, the trace or the queues."""
    canary = CANARY.encode()
    for path in sorted(sim.directory.rglob("*")):
        if path.is_file() and canary in path.read_bytes():
            return f"the canary is in {path.name}"
    if any(CANARY in text for _, _, text in sim.trace):
        return "the canary is in the trace or the log"
    return None

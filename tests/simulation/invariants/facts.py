"""Invariants of every fact of a history, as it is committed."""

from typing import TYPE_CHECKING, Any

from orchestrator.core.facts import (
    AttemptFailed,
    AttemptSent,
    AttemptStarted,
    AttemptSucceeded,
    EventEmitted,
    Fact,
    PivotPassed,
    ResultIgnored,
    RunEnded,
    RunQueued,
    RunYielded,
    StepExpanded,
    StepsReset,
    TaskResolved,
    TaskWaiting,
)
from orchestrator.core.model import Run, RunStatus, StepStatus, Task
from tests.simulation.invariants.tables import at_fact, is_past_pivot, to_undo
from tests.simulation.transitions import FORWARD_MOVES, PIVOT_MOVES, RUN_MOVES, UNDO_MOVES

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

S, R = StepStatus, RunStatus

PROOF = {"succeeded", "failed", "timed_out", "cancelled", "rejected", "never_seen", "expired", "returned"}
"""Statuses of an attempt that end a doubt."""

PROBED = "no_effect"
"""Code of the error with which an agent says that a probe found no effect."""

NEVER_STARTED = {"never_seen", "expired", "returned"}
"""Statuses which say that it never began."""


def _begins(fact: Fact, *, undo: bool) -> Any:
    """The fact, if an attempt forward (or an undo) begins by it; else None."""
    if isinstance(fact, AttemptSent | TaskWaiting):
        return fact if fact.undo == undo else None
    return fact if isinstance(fact, EventEmitted) and not undo else None


def _task(run: Run, fact: Any) -> Task:
    task: Task = run.steps[fact.step][fact.host_index]
    return task


def _where(run: Run, fact: Any) -> str:
    return f"{run.head.id}/{fact.step}/{fact.host_index}"


# Runs and tasks


@at_fact
def ends_are_final(sim: "Simulation", before: Run, fact: Fact, after: Run) -> str | None:
    """Ends are final; only ignored results are recorded after them."""
    if before.ended is not None and not isinstance(fact, ResultIgnored):
        return f"{before.head.id} had ended {before.ended}, then {fact}"
    return None


@at_fact
def every_transition_of_a_run_is_legal(sim: "Simulation", before: Run, fact: Fact, after: Run) -> str | None:
    """Every change of a run's status is one of those in `transitions.py`."""
    was, now = before.status, after.status
    begun = before.seq > 1 if isinstance(fact, RunQueued) else before.seq  # what it keeps is said before
    if begun and now is not was and now not in RUN_MOVES[was]:
        return f"{before.head.id} went from {was} to {now} by {fact}"
    return None


@at_fact
def every_transition_of_a_task_is_legal(sim: "Simulation", before: Run, fact: Fact, after: Run) -> str | None:
    """Every change of a task's status is one of those in `transitions.py`, or a person's wish."""
    if isinstance(fact, StepsReset):
        return None if fact.who else f"nobody wanted {fact.steps} of {before.head.id} again"
    for name, tasks in after.steps.items():
        known = before.steps.get(name, ())
        if known is tasks or len(known) != len(tasks) or isinstance(fact, StepExpanded):
            continue  # what fans out gets its tasks, which are other ones
        for index, (was, now) in enumerate(zip(known, tasks, strict=True)):
            moves = (
                PIVOT_MOVES if isinstance(fact, PivotPassed) else UNDO_MOVES if was.undoing else FORWARD_MOVES
            )
            if now.status is not was.status and now.status not in moves.get(was.status, ()):
                return f"{before.head.id}/{name}/{index} went from {was.status} to {now.status} by {fact}"
    return None


@at_fact
def nothing_begins_while_a_run_is_paused(
    sim: "Simulation", before: Run, fact: Fact, after: Run
) -> str | None:
    """A paused run begins neither an attempt nor an undo."""
    begun = _begins(fact, undo=False) or _begins(fact, undo=True)
    return f"{_where(before, begun)} began in a paused run" if begun and before.paused else None


# Attempts


@at_fact
def an_attempt_is_new_and_counted(sim: "Simulation", before: Run, fact: Fact, after: Run) -> str | None:
    """Attempts are numbered without gaps, each has an id of its own, and none begins while one is out."""
    if not isinstance(fact, AttemptSent):
        return None
    task = _task(before, fact)
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
    """No more attempts are made than the document, or a person, allows (rules 2 and 5)."""
    if not isinstance(fact, AttemptSent):
        return None
    step = sim.observer.step(before, fact.step)
    plan = step.compensate if fact.undo else step
    task = _task(after, fact)
    if plan is not None and fact.attempt > task.granted + plan.retry.attempts:
        return f"{fact.command_id}: {plan.retry.attempts} were allowed, {task.granted} granted"
    return None


@at_fact
def only_the_outstanding_attempt_counts(sim: "Simulation", before: Run, fact: Fact, after: Run) -> str | None:
    """Late, duplicate and foreign results change nothing (rule 8)."""
    if isinstance(fact, AttemptStarted | AttemptSucceeded | AttemptFailed) and fact.command_id:
        task = _task(before, fact)
        if task.command_id != fact.command_id:
            return f"{fact} was taken while '{task.command_id}' was out"
    if isinstance(fact, ResultIgnored) and after.steps != before.steps:
        return f"{fact} changed something"
    return None


@at_fact
def doubt_ends_by_proof_or_person(sim: "Simulation", before: Run, fact: Fact, after: Run) -> str | None:
    """What is in doubt is tried again only after a proof, an answer, or a person's decision (rule 7)."""
    if not isinstance(fact, AttemptSent | AttemptFailed | TaskResolved):
        return None
    if _task(before, fact).status is not S.IN_DOUBT:
        return None
    if isinstance(fact, AttemptSent):
        return f"{fact.command_id} was sent out of a doubt"
    if isinstance(fact, AttemptFailed) and fact.status not in PROOF | {"unknown"}:
        return f"the doubt about {fact.command_id} ended with '{fact.status}'"
    if isinstance(fact, TaskResolved) and not fact.who:
        return f"nobody decided about {_where(before, fact)}"
    return None


@at_fact
def what_was_lost_is_tried_again_only_where_it_may(
    sim: "Simulation", before: Run, fact: Fact, after: Run
) -> str | None:
    """What was lost, and is not idempotent, is taken for a failure only if `on_unknown` says so (rule 7)."""
    if not isinstance(fact, AttemptFailed) or fact.status != "unknown":
        return None
    step = sim.observer.step(before, fact.step)
    plan = step.compensate if fact.undo else step
    policy = "ask" if fact.undo else step.on_unknown
    if (plan is not None and plan.idempotent) or policy == "retry":
        return None
    allowed = policy == "compensate" and fact.retry_at is None
    return None if allowed else f"{fact.command_id} was lost, and is taken for a failure"


@at_fact
def a_run_yields_to_others_and_not_to_itself(
    sim: "Simulation", before: Run, fact: Fact, after: Run
) -> str | None:
    """Between two moves of a run that leave something to the next one, something was done."""
    again = isinstance(fact, RunYielded) and before.yielded_at is not None
    return f"{before.head.id} was woken for nothing" if again else None


@at_fact
def what_is_said_never_to_have_started_did_not(
    sim: "Simulation", before: Run, fact: Fact, after: Run
) -> str | None:
    """An attempt is taken for never started only if it never did, or a probe found no effect (rule 7)."""
    if not isinstance(fact, AttemptFailed) or fact.status not in NEVER_STARTED or fact.effect or fact.undo:
        return None
    begun = sim.ledger.of_command.get(fact.command_id)
    if fact.error.code == PROBED:
        took = [one for one in begun or () if one.effect_at is not None]
        return f"{fact.command_id} took effect on {took[0].life}, which a probe denied" if took else None
    if begun and _task(before, fact).instance:
        return f"{fact.command_id} had begun on {begun[0].life}, and is taken for {fact.status}"
    return None


# Forward


@at_fact
def nothing_goes_forward_on_the_way_back(
    sim: "Simulation", before: Run, fact: Fact, after: Run
) -> str | None:
    """Once a run goes back, no forward attempt begins (rule 3)."""
    begun = _begins(fact, undo=False)
    return (
        f"{_where(before, begun)} began although the run goes back" if begun and before.going_back else None
    )


@at_fact
def a_step_waits_for_its_needs(sim: "Simulation", before: Run, fact: Fact, after: Run) -> str | None:
    """A step begins once all that it needs are done."""
    begun = _begins(fact, undo=False)
    if begun is None:
        return None
    for need in sim.observer.written(before).needs[begun.step]:
        if not all(task.is_done for task in before.steps[need]):
            return f"{_where(before, begun)} began before {need} was done"
    return None


@at_fact
def fan_outs_keep_their_measure(sim: "Simulation", before: Run, fact: Fact, after: Run) -> str | None:
    """A batch begins once the one before is done; of a `foreach`, at most `max_parallel` go on at a time."""
    begun = _begins(fact, undo=False)
    step = sim.observer.step(before, begun.step) if begun else None
    if begun is None or step is None or not step.fans_out:
        return None
    tasks = before.steps[begun.step]
    batch = tasks[begun.host_index].batch
    if any(task.batch < batch and not task.is_done for task in tasks):
        return f"{_where(before, begun)} began before the batches before it were done"
    going = sum(task.status in (S.RUNNING, S.IN_DOUBT) for task in after.steps[begun.step])
    by_person = any(task.granted for task in tasks)  # whoever has two of them tried again wants that
    if step.max_parallel is not None and going > step.max_parallel and not by_person:
        return f"{_where(before, begun)}: {going} at a time, {step.max_parallel} allowed"
    return None


# Back


@at_fact
def quiesce_before_undo(sim: "Simulation", before: Run, fact: Fact, after: Run) -> str | None:
    """No undo begins before every forward task has a known outcome (rule 3)."""
    begun = _begins(fact, undo=True)
    if begun is None:
        return None
    for step, index, task in sim.observer.tasks(before):
        if not task.undoing and task.status in (S.PENDING, S.RUNNING, S.IN_DOUBT):
            return f"the undo of {_where(before, begun)} began while {step.id}/{index} was {task.status}"
    return None


@at_fact
def nothing_is_undone_past_the_pivot(sim: "Simulation", before: Run, fact: Fact, after: Run) -> str | None:
    """After the pivot no undo begins (rule 6)."""
    begun = _begins(fact, undo=True)
    passed = begun and is_past_pivot(sim, before)
    return f"{_where(before, begun)} is undone past the pivot" if passed else None


@at_fact
def undo_in_reverse_order(sim: "Simulation", before: Run, fact: Fact, after: Run) -> str | None:
    """A task is undone once, if it has effect, after all that depend on it are undone (rule 4)."""
    begun = _begins(fact, undo=True)
    if begun is None:
        return None
    task = _task(before, begun)
    if not task.effect or task.status is S.COMPENSATED:
        return f"{_where(before, begun)} is undone and has no effect"
    for name in sim.observer.written(before).dependents[begun.step]:
        if any(to_undo(sim, before, name, other) for other in before.steps[name]):
            return f"the undo of {_where(before, begun)} began before {name} was undone"
    return None


@at_fact
def fan_outs_are_undone_backwards(sim: "Simulation", before: Run, fact: Fact, after: Run) -> str | None:
    """Of a rollout the last batch is undone first, of a `foreach` the last items first (rule 4)."""
    begun = _begins(fact, undo=True)
    step = sim.observer.step(before, begun.step) if begun else None
    if begun is None or step is None or not step.fans_out or _task(before, begun).undoing:
        return None
    tasks = before.steps[begun.step]
    for index, other in enumerate(tasks):
        later = other.batch > tasks[begun.host_index].batch if step.rollout else index > begun.host_index
        waits = to_undo(sim, before, step.id, other) and (step.rollout is not None or not other.undoing)
        if later and waits:
            return f"the undo of {_where(before, begun)} began before that of {index}"
    return None


@at_fact
def an_end_says_what_is_so(sim: "Simulation", before: Run, fact: Fact, after: Run) -> str | None:
    """At an end no effect is left to be undone, and `succeeded` means that all was done (rule 11)."""
    if not isinstance(fact, RunEnded):
        return None
    tasks = sim.observer.tasks(after)
    if fact.status is R.SUCCEEDED:
        left = [step.id for step, _, task in tasks if not task.is_done]
    else:
        left = [step.id for step, _, task in tasks if to_undo(sim, after, step.id, task)]
    if left:
        return f"{after.head.id} ended {fact.status} with {', '.join(left)} open"
    undone = any(task.status is S.COMPENSATED for _, _, task in tasks)
    if fact.status is R.COMPENSATED and (not undone or after.cancel is not None):
        return f"{after.head.id} ended compensated, and nothing was"
    if fact.status is R.CANCELLED and after.cancel is None:
        return f"{after.head.id} ended cancelled, and nobody had"
    return None

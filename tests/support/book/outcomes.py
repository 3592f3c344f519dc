"""What becomes of tasks, by the book: proved by what was delivered, or refused (rules 2 to 8)."""

from collections.abc import Callable
from typing import Any, Final

from orchestrator.core import facts as f
from orchestrator.core.inputs import (
    ApproveTask,
    CancelRun,
    ChildEnded,
    EventArrived,
    ReleaseRun,
    ResolveTask,
    RetryNow,
    Wake,
)
from orchestrator.core.model import WaitOn
from schemas.messages import CommandKind
from tests.support.book.accounts import Book, Stand, must
from tests.support.book.begins import begin
from tests.support.book.undo import begin_undo, undo_task

__all__ = ["OUTCOMES"]


def _taken(book: Book, fact: f.AttemptStarted) -> None:
    entry, proof = book.entry(fact), book.verdict
    must(proof is not None and proof.entry is entry and proof.taken, "nobody said that it began", fact)
    assert proof is not None
    entry.taken_by, entry.doubt, entry.lost, entry.denied = proof.agent, False, False, set()
    entry.due = fact.due
    if not entry.back:
        entry.worker = proof.agent


def _succeeded(book: Book, fact: f.AttemptSucceeded) -> None:
    entry, proof = book.entry(fact), book.verdict
    must(proof is not None and proof.entry is entry and proof.done, "nobody said that it succeeded", fact)
    entry.close(Stand.DONE)
    if entry.back:
        entry.undone = True
    else:
        entry.effect, entry.effect_agent, entry.worker = True, fact.agent, fact.agent


def _failed(book: Book, fact: f.AttemptFailed) -> None:
    step, entry, proof = book.step(fact), book.entry(fact), book.verdict
    effect = False
    if fact.status == "not_sent":
        if fact.undo:
            begin_undo(book, step, fact.host_index)
        else:
            begin(book, fact)
        entry.made += 1
        live = book.env.registry.live({"role": "web"}, book.env.now)
        must((fact.error.code == "no_live_agent") is fact.error.retryable, "an agent may come back", fact)
        must(fact.error.code != "no_live_agent" or not live, "there is a live agent", fact)
        retryable = fact.error.retryable
    elif entry.wait in (WaitOn.EVENT, WaitOn.APPROVAL, WaitOn.TIME):
        late = isinstance(book.given, Wake) and entry.due is not None and entry.due <= book.env.now
        rejected = isinstance(book.given, ApproveTask) and not book.given.approved
        must(late or rejected, "the wait is not over", fact)
        retryable = False
    else:
        must(proof and proof.entry is entry and proof.closes and not proof.done, "nothing proves it", fact)
        assert proof is not None
        effect, retryable = proof.effect, proof.retryable
    must(fact.effect is effect, "rule 4: what has effect", fact)
    again = retryable and entry.made < entry.allowed and (entry.back or not book.going_back)
    must((fact.retry_at is not None) is again, "rules 2 and 5: attempts are counted, and made", fact)
    if effect:
        entry.effect, entry.effect_agent = True, fact.agent or entry.worker
    entry.worker = entry.worker if entry.back else fact.agent or entry.worker
    if fact.retry_at is not None:
        must(fact.retry_at > book.env.now, "a retry waits", fact)
        entry.close(Stand.REST)
        entry.not_before = fact.retry_at
    else:
        must(fact.outcome != "cancelled" or book.going_back or entry.child, "nobody gave it up", fact)
        entry.close(Stand.CANCELLED if fact.outcome == "cancelled" else Stand.FAILED)


def _done(book: Book, fact: f.TaskDone) -> None:
    step, entry, given = book.step(fact), book.entry(fact), book.given
    if fact.undo:
        undo_task(book, step, fact.host_index)
        return
    must(entry.active and entry.command is None, "there is nothing to be done", fact)
    if isinstance(given, EventArrived) and entry.wait is WaitOn.EVENT:
        known = (given.event["source"], given.event["id"])
        must((fact.step, fact.host_index) in given.tasks and known not in book.used_events, "its event", fact)
        must(step.wait and (step.wait.condition is None or given.event["data"]["ok"]), "is meant", fact)
        book.used_events.add(known)
    elif isinstance(given, ApproveTask) and entry.wait is WaitOn.APPROVAL:
        must(step.approval and (not step.approval.by or given.who in step.approval.by), "may approve", fact)
        must(given.approved, "it was rejected", fact)
    elif entry.wait in (WaitOn.TIME, WaitOn.APPROVAL):
        must(
            isinstance(given, Wake) and entry.due is not None and entry.due <= book.env.now, "its time", fact
        )
    elif entry.wait is WaitOn.CHILD:
        must(book.verdict and book.verdict.entry is entry and book.verdict.done, "the child is done", fact)
    else:
        must(step.kind == "emit", "only an event is published and done", fact)
    entry.close(Stand.DONE)
    entry.effect = True


def _doubted(book: Book, fact: f.TaskInDoubt) -> None:
    entry, proof = book.entry(fact), book.verdict
    must(entry.command is not None and entry.command.id == fact.command_id, "no attempt is out", fact)
    late = isinstance(book.given, Wake) and entry.due is not None and entry.due <= book.env.now
    said = proof is not None and proof.entry is entry and proof.doubt
    must(late or said, "rule 7: there is no doubt yet", fact)
    entry.doubt, entry.lost, entry.due = True, entry.lost or fact.lost, fact.due


def _asked(book: Book, fact: f.QuerySent) -> None:
    entry = book.entry(fact)
    must(entry.doubt and fact.due > book.env.now, "only what is in doubt is asked about, and again", fact)
    for agent in fact.agents:
        if agent not in entry.denied:
            must(book.sent(CommandKind.QUERY, fact.command_id).target == f"agent.{agent}", "asked", fact)
    pool, is_pool = entry.target.removeprefix("pool."), entry.target.startswith("pool.")
    whom = book.env.registry.members(pool) if is_pool else [entry.target.removeprefix("agent.")]
    must(fact.agents == whom, "rule 7: of a pool every member is asked", fact)
    entry.due = fact.due


def _denied(book: Book, fact: f.NeverSeen) -> None:
    proof = book.verdict
    must(proof is not None and proof.denied and proof.agent == fact.agent, "nobody denied it", fact)
    book.entry(fact).denied.add(fact.agent)


def _parked(book: Book, fact: f.TaskParked) -> None:
    step, entry = book.step(fact), book.entry(fact)
    must(entry.stand is Stand.FAILED and not entry.back, "only what failed waits for a person", fact)
    must(book.pivoted or step.on_failure == "pause", "rule 2: the run goes back", fact)
    entry.parked = book.just_parked = True


def _tolerated(book: Book, fact: f.FailureTolerated) -> None:
    step, entry = book.step(fact), book.entry(fact)
    must(entry.stand is Stand.FAILED and not entry.back, "only a failure is tolerated", fact)
    must(step.on_failure == "continue" or not book.too_many_failed(step), "rule 2: too many failed", fact)
    entry.stand, entry.tolerated = Stand.DONE, True


def _cancel_sent(book: Book, fact: f.CancelSent) -> None:
    entry = book.entry(fact)
    asked = isinstance(book.given, ResolveTask)
    must(entry.active and (asked or (book.going_back and not entry.cancel_sent)), "once, forward", fact)
    entry.cancel_sent = True
    if entry.wait is WaitOn.CHILD:
        must(book.signalled(entry.child, CancelRun).by_parent, "rule 10: the child hears from its parent")
    else:
        must(book.sent(CommandKind.CANCEL, fact.command_id).target == f"agent.{fact.agent}", "to whom", fact)


def _cancelled(book: Book, fact: f.TaskCancelled) -> None:
    entry = book.entry(fact)
    must(book.going_back and not entry.back, "only a run that goes back gives up steps", fact)
    idle = entry.stand in (Stand.IDLE, Stand.REST)
    waits = entry.stand is Stand.OPEN and entry.command is None and entry.wait is not WaitOn.CHILD
    must(idle or waits, "rule 3: what runs must reach a known outcome", fact)
    entry.close(Stand.CANCELLED)


def _hurried(book: Book, fact: f.RetryHurried) -> None:
    entry = book.entry(fact)
    must(isinstance(book.given, RetryNow) and entry.stand is Stand.REST, "nobody hurries it", fact)
    entry.not_before = book.env.now


def _resolved(book: Book, fact: f.TaskResolved) -> None:
    step, entry, given = book.step(fact), book.entry(fact), book.given
    if isinstance(given, ChildEnded):
        must(entry.back and book.verdict is not None and given.outcome == "given_up", "rule 10", fact)
    else:
        must(isinstance(given, ResolveTask) and entry.in_question, "nobody may decide that", fact)
    if fact.decision == "retry":
        must(entry.back or not book.going_back, "rule 3: nothing new goes forward", fact)
        must(
            entry.back or not (entry.child and entry.effect),
            "rule 10: what a child did is not done again",
            fact,
        )
        plan = step.compensate if entry.back and step.compensate is not None else step
        entry.close(Stand.REST)
        entry.not_before, entry.allowed = book.env.now, entry.made + plan.retry.attempts
    elif entry.back:
        entry.close(Stand.DONE if fact.decision == "done" else Stand.FAILED)
        entry.undone, entry.given_up = fact.decision == "done", fact.decision == "skip"
    else:
        if fact.decision == "skip" and entry.child and entry.effect:
            book.signalled(entry.child, ReleaseRun)  # nobody will ask it to undo itself
        entry.close(Stand.DONE)
        entry.child = entry.child if entry.effect else ""
        entry.effect = fact.decision == "done"
        entry.skipped = fact.decision == "skip"
        entry.effect_agent = (entry.worker or entry.effect_agent) if entry.effect else entry.effect_agent


OUTCOMES: Final[dict[type, Callable[[Book, Any], None]]] = {
    f.AttemptStarted: _taken, f.AttemptSucceeded: _succeeded, f.AttemptFailed: _failed, f.TaskDone: _done,
    f.TaskInDoubt: _doubted, f.QuerySent: _asked, f.NeverSeen: _denied, f.TaskParked: _parked,
    f.FailureTolerated: _tolerated, f.CancelSent: _cancel_sent, f.TaskCancelled: _cancelled,
    f.RetryHurried: _hurried, f.TaskResolved: _resolved,
}  # fmt: skip

"""What the machine claims of a run, judged by the book: a fact that nothing proves, or no rule allows, fails.

The numbers are those of docs/rules.md.
"""

from collections.abc import Callable
from typing import Any, Final

from orchestrator.core import facts as f
from orchestrator.core.definition import StepDef
from orchestrator.core.inputs import (
    AdmitRun,
    CancelRun,
    Move,
    MoveRun,
    PauseRun,
    ResultReceived,
    ResumeRun,
    RetryFrom,
    UndoRun,
    Wake,
)
from orchestrator.core.model import WaitOn
from tests.support.book.accounts import Book, Entry, Stand, must
from tests.support.book.begins import BEGINNINGS
from tests.support.book.ends import check_end, check_held, check_left_signals
from tests.support.book.outcomes import OUTCOMES

__all__ = ["judge"]


def judge(book: Book, move: Move) -> None:
    """Judge every fact of a move in order, with what is sent for it, and bring the accounts up to date."""
    book.open_move(move)
    if book.ended is not None:
        must(not (move.commands or move.children or move.emissions), "an ended run sends nothing")
    for number, fact in enumerate(move.facts, start=1):
        CLAIMS[type(fact)](book, fact)
        if isinstance(fact, f.RunYielded):
            must(number == len(move.facts), "what is left is left at the end of a move", fact)
            must(number > book.env.limits.at_once, "a move does as much as it may", fact)
    must(not book.commands, "no command without a fact", book.commands)
    must(not any(book.others.values()), "nothing is started without a fact", book.others)
    check_left_signals(book)
    _check_consequences(book)


def _check_consequences(book: Book) -> None:
    """What must have followed by the end of the move."""
    proof = book.verdict
    if proof is not None and proof.closes and isinstance(book.given, ResultReceived):
        now = proof.entry.command
        must(now is None or now.id != book.given.result.command_id, "what is proved is taken", book.given)
    if book.ended is not None or book.queued:
        return
    if isinstance(book.given, Wake) and book.deadline is not None and book.deadline <= book.env.now:
        on_time = book.pivoted or book.held or book.paused
        must(book.going_back or on_time, "a run past its time limit goes back")
    pivot = book.definition.pivot
    if pivot is not None and book.pivot_succeeded(pivot.id):
        must(book.pivoted, "rule 6: the pivot has succeeded", pivot.id)
    later = book.yielded_at is not None
    for step, _, entry in book.each():
        if book.going_back:
            if not (entry.back or later):
                _check_quiescing(step, entry)
        elif entry.stand is Stand.FAILED and not entry.back:
            must(entry.parked, "rule 2: a step that failed for good has consequences", step.id)
        elif entry.stand is Stand.IDLE and not (entry.part or book.paused or later):
            must(not all(map(book.is_done, step.needs)), "what can begin begins", step.id)


def _check_quiescing(step: StepDef, entry: Entry) -> None:
    must(entry.stand not in (Stand.IDLE, Stand.REST), "rule 3: what has not begun never will", step.id)
    if entry.active:
        must(entry.command is not None or entry.wait is WaitOn.CHILD, "rule 3: no wait goes on", step.id)
        if entry.wait is WaitOn.CHILD or entry.target.startswith("agent.") or entry.taken_by:
            must(entry.cancel_sent, "rule 3: what runs is cancelled", step.id)


# The run


def _queued(book: Book, _: f.RunQueued) -> None:
    must(book.given is None, "a run is queued when it starts, or never")
    book.queued = True


def _started(book: Book, fact: f.RunStarted) -> None:
    must(book.given is None or (book.queued and isinstance(book.given, AdmitRun)), "a run starts once")
    must(fact.steps == list(book.definition.steps), "it has the steps of its document")
    book.queued = False
    timeout = book.definition.timeout
    book.deadline = None if timeout is None else book.env.now + timeout
    must(fact.deadline == book.deadline, "its time counts from its start")
    for name in fact.steps:
        book.entries[name] = [book.new_entry(name)]


def _going_back(book: Book, fact: f.RunGoingBack) -> None:
    failure = fact.failure
    must(book.ended is None and not book.going_back, "a run turns round once")
    must(not book.pivoted, "rule 6: there is no way back past the pivot")
    if failure.step:
        step = book.definition.steps[failure.step]
        entries = book.entries[failure.step]
        must(any(one.stand is Stand.FAILED for one in entries), "rule 2: that step has not failed")
        must(book.too_many_failed(step), "as many may fail as the rollout says", failure)
        must(step.on_failure == "compensate", "on_failure says otherwise", failure)
    elif failure.code == "run_timed_out":
        must(book.deadline is not None and book.deadline <= book.env.now, "the run has time left")
    elif failure.code == "cancelled":
        must(isinstance(book.given, CancelRun), "rule 9: nobody cancelled")
        book.cancelled = True
    elif failure.code == "parent_undo":
        must(isinstance(book.given, UndoRun), "rule 10: no parent asked for it")
    else:
        must(failure.code == "expression_error", "a reason nobody gave", failure)
        must(all(map(book.is_done, book.entries)), "the run's output comes last")
    book.going_back, book.held = True, False
    for _, _, entry in book.each():
        entry.parked = False


def _pivot_passed(book: Book, fact: f.PivotPassed) -> None:
    must(book.definition.steps[fact.step].pivot and not book.pivoted, "rule 6: that is no pivot", fact)
    must(book.pivot_succeeded(fact.step), "rule 6: the pivot has not succeeded")
    must(not any(entry.back for _, _, entry in book.each()), "rule 6: nothing was undone before either")
    if book.going_back:
        book.pauses.clear()  # what was given up and is taken up again pauses again
    book.pivoted, book.going_back, book.cancelled = True, False, False
    for _, _, entry in book.each():
        if entry.stand is Stand.CANCELLED:
            entry.stand = Stand.IDLE if entry.made == 0 else Stand.FAILED


def _paused(book: Book, fact: f.RunPaused) -> None:
    must(not (book.paused or book.queued or book.held or book.ended), "there is nothing to pause")
    must(isinstance(book.given, PauseRun) if fact.who else book.just_parked, "nobody paused it", fact)
    book.paused = True


def _resumed(book: Book, fact: f.RunResumed) -> None:
    must(book.paused and isinstance(book.given, ResumeRun | CancelRun), "nobody resumed it", fact)
    book.paused = False


def _reset(book: Book, fact: f.StepsReset) -> None:
    must(isinstance(book.given, RetryFrom) and not book.going_back and book.ended is None, "no retry", fact)
    assert isinstance(book.given, RetryFrom)
    first = book.definition.steps[book.given.step]
    must(set(fact.steps) == {first.id, *first.dependents}, "a step and its dependents are reset", fact)
    for name in fact.steps:
        must(not (book.pivoted and book.definition.steps[name].pivot), "rule 6: the pivot stays done")
        for entry in book.entries[name]:
            must(entry.stand is not Stand.OPEN, "never two attempts of one task at once", name)
            must(not (entry.child and entry.effect), "rule 10: a child is not forgotten", name)
            entry.close(Stand.IDLE)
            entry.skipped = entry.tolerated = False
            entry.not_before, entry.allowed = 0, entry.made + book.definition.steps[name].retry.attempts
        for place in [place for place in book.pauses if place[0] == name]:
            del book.pauses[place]
    book.paused = False


def _moved(book: Book, fact: f.RunMoved) -> None:
    assert isinstance(book.given, MoveRun)
    old, new = book.definition, book.given.to
    must(fact.version == new.version and not book.going_back and book.ended is None, "no such move", fact)
    was = {step.id: step for step in old.document.steps}
    now = {step.id: step for step in new.document.steps}
    for name, entries in book.entries.items():
        if not entries or any(entry.begun for entry in entries):
            must(name in now and was[name] == now[name], "what has begun is unchanged", name)
            must(set(old.steps[name].needs) == set(new.steps[name].needs), "and needs the same", name)
    book.definition = new
    if book.queued:
        return
    book.entries = {name: book.entries.get(name, [book.new_entry(name)]) for name in new.steps}
    for name, entries in book.entries.items():
        if entries and not any(entry.begun for entry in entries):
            book.entries[name] = [book.new_entry(name)]


def _yielded(book: Book, _: f.RunYielded) -> None:
    must(not (book.queued or book.held or book.ended), "nothing is left to be done at once")
    must(book.going_back or not book.paused, "a paused run starts nothing, it only quiesces")
    book.yielded_at = book.env.now


def _ignored(book: Book, fact: f.ResultIgnored) -> None:
    must(isinstance(book.given, ResultReceived), "there was no result", fact)
    known = book.verdict is not None and not book.verdict.doubt
    must(not known, "rule 8: this result counts", fact)


CLAIMS: Final[dict[type, Callable[[Book, Any], None]]] = {
    f.RunQueued: _queued, f.RunStarted: _started, f.RunGoingBack: _going_back, f.PivotPassed: _pivot_passed,
    f.RunPaused: _paused, f.RunResumed: _resumed, f.StepsReset: _reset, f.RunMoved: _moved,
    f.RunYielded: _yielded,
    f.RunHeld: check_held, f.RunEnded: check_end, f.ResultIgnored: _ignored, **BEGINNINGS, **OUTCOMES,
}  # fmt: skip

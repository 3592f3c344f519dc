"""How a run may end, by the book, and what other runs are told of it (rules 9, 10 and 11)."""

from orchestrator.core.facts import RunEnded, RunHeld
from orchestrator.core.inputs import ChildEnded, ReleaseRun, UndoRun
from orchestrator.core.model import RunStatus
from tests.support.book.accounts import Book, Stand, must

__all__ = ["check_end", "check_held", "check_left_signals"]


def check_held(book: Book, fact: RunHeld) -> None:
    """A child that is done waits only if it could be undone."""
    must(book.head.parent is not None and not (book.going_back or book.paused or book.held), "no hold", fact)
    must(all(map(book.is_done, book.entries)), "rule 10: done means every step", fact)
    undoable = any(book.wants_undo(step, entry) for step, _, entry in book.each())
    must(undoable and not book.pivoted, "rule 10: nothing could be undone", fact)
    book.held = True
    _check_told(book, "done")


def check_end(book: Book, fact: RunEnded) -> None:
    """Rule 11, and what `succeeded` and `cancelled` promise."""
    must(book.ended is None and not book.paused, "ends are final", fact)
    entries = [(step, entry) for step, _, entry in book.each()]
    undone = any(entry.undone for _, entry in entries)
    given_up = any(entry.given_up for _, entry in entries)
    if fact.status is RunStatus.SUCCEEDED:
        must(all(map(book.is_done, book.entries)) and not undone, "succeeded: every step is done", fact)
        must(not book.going_back and not book.queued, "a run that goes back cannot succeed", fact)
        must(not book.held or isinstance(book.given, ReleaseRun), "rule 10: its parent has not ended", fact)
    else:
        must(book.going_back and not book.pivoted, "a run that goes forward ends well", fact)
        for step, entry in entries:
            must(entry.back or entry.stand in _KNOWN, "rule 3: each outcome is known", step.id)
            must(not book.wants_undo(step, entry), "rule 11: an effect was left behind", step.id)
        earned = (
            RunStatus.FAILED
            if given_up
            else RunStatus.CANCELLED
            if book.cancelled
            else RunStatus.COMPENSATED
            if undone
            else RunStatus.FAILED
        )
        must(fact.status is earned, f"rule 11: this run is {earned}", fact)
    was_held, book.held, book.ended = book.held, False, fact.status
    for _, entry in entries:
        if entry.child and entry.effect and not entry.undone:
            book.signalled(entry.child, ReleaseRun)
    if book.head.parent is not None and not was_held:
        _check_told(book, "given_up" if given_up else "failed" if book.going_back else "done")


_KNOWN = (Stand.DONE, Stand.FAILED, Stand.CANCELLED)


def _check_told(book: Book, outcome: str) -> None:
    """The parent hears how it stands."""
    parent = book.head.parent
    assert parent is not None
    told: ChildEnded = book.signalled(parent.run_id, ChildEnded)
    must(told.outcome == outcome, f"rule 10: the outcome is {outcome}", told)
    must((told.step, told.host_index, told.run_id) == (parent.step, parent.host_index, book.head.id), "of it")


def check_left_signals(book: Book) -> None:
    """Nobody else is told anything, but a parent that asks again."""
    if isinstance(book.given, UndoRun) and book.head.parent is not None and book.signals:
        must(book.ended is not None or book.pivoted, "rule 10: it is not undone yet")
        told: ChildEnded = book.signalled(book.head.parent.run_id, ChildEnded)
        given_up = any(entry.given_up for _, _, entry in book.each())
        outcome = "refused" if book.pivoted else "given_up" if given_up else "undone"
        must(told.outcome == outcome, "rule 10: how it stands", told)
    must(not book.signals, "a signal that nothing asks for", book.signals)

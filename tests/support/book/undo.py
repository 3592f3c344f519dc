"""The way back, by the book: when an undo may begin, and in which order (rules 3, 4, 5, 6 and 10)."""

from orchestrator.core.definition import StepDef
from tests.support.book.accounts import Book, Entry, Stand, must

__all__ = ["begin_undo", "undo_task"]


def begin_undo(book: Book, step: StepDef, index: int) -> None:
    """The task's undo may make an attempt; the first one opens its account for the way back."""
    entry, place = book.entries[step.id][index], (step.id, index)
    must(book.ended is None and book.going_back, "nothing is undone unless the run goes back", place)
    must(not book.pivoted, "rule 6: after the pivot nothing is undone", place)
    must(not book.paused, "a paused run undoes nothing", place)
    must(book.wants_undo(step, entry), "rule 4: only what has effect is undone", place)
    for other, _, task in book.each():
        quiet = task.back or task.stand in (Stand.DONE, Stand.FAILED, Stand.CANCELLED)
        must(quiet, "rule 3: quiesce first", (place, other.id))
    if entry.back:
        must(entry.stand is Stand.REST, "never two attempts of one undo at once", place)
        must(entry.not_before <= book.env.now, "a retry waits for its time", place)
        must(entry.made < entry.allowed, "rule 5: attempts are counted", place)
        return
    for name in step.dependents:
        must(not book.wanted(name), "rule 4: what depends on it is undone first", (place, name))
    if entry.part:
        _check_turn(book, step, index, entry)
    plan = step if step.compensate is None else step.compensate
    entry.back, entry.made, entry.allowed = True, 0, plan.retry.attempts


def _check_turn(book: Book, step: StepDef, index: int, entry: Entry) -> None:
    """The last batch first; items in reverse, at most `max_parallel` at a time."""
    entries, wanted = book.entries[step.id], book.wanted(step.id)
    if step.rollout is not None:
        later = [i for i in wanted if entries[i].batch > entry.batch]
        must(not later, "rule 4: the last batch is undone first", (step.id, index, later))
        return
    later = [i for i in wanted if i > index and not entries[i].back]
    must(not later, "rule 4: items are undone in reverse", (step.id, index, later))
    if step.max_parallel is not None:
        busy = [one for one in entries if one.back and one.stand in (Stand.OPEN, Stand.REST)]
        under_way = sum(not one.doubt for one in busy)  # what is in doubt does not hold up independent undos
        must(under_way < step.max_parallel, "max_parallel is kept on the way back", (step.id, index))


def undo_task(book: Book, step: StepDef, index: int) -> None:
    """A child run is undone, or there is none (a person had marked the step as done)."""
    entry, proof = book.entries[step.id][index], book.verdict
    if entry.child:
        told = proof is not None and proof.entry is entry and proof.done and entry.back
        must(told, "rule 10: no child said so", (step.id, index))
    else:
        begin_undo(book, step, index)
        entry.back = True
    entry.close(Stand.DONE)
    entry.undone = True

"""How tasks begin, by the book: each attempt, wait and event in its turn (rules 2, 3 and 7)."""

from collections.abc import Callable
from typing import Any, Final

from orchestrator.core import facts as f
from orchestrator.core.definition import StepDef
from orchestrator.core.inputs import UndoRun
from schemas.messages import CommandKind
from tests.support.book.accounts import Book, Entry, Stand, must
from tests.support.book.undo import begin_undo

__all__ = ["BEGINNINGS", "begin"]


# A step begins


def begin(book: Book, fact: Any) -> Entry:
    """The task may begin an attempt, forward."""
    step, entry = book.step(fact), book.entry(fact)
    must(book.ended is None and not (book.queued or book.held), "the run is not under way", fact)
    must(not book.going_back, "rule 3: nothing new goes forward", fact)
    must(not book.paused, "a paused run starts nothing", fact)
    must(all(map(book.is_done, step.needs)), "a step starts after what it needs", fact)
    must(entry.stand in (Stand.IDLE, Stand.REST), "never two attempts of one task at once", fact)
    must(entry.not_before <= book.env.now, "a retry waits for its time", fact)
    must(entry.made < entry.allowed, "rule 2: attempts are counted", fact)
    if entry.stand is Stand.IDLE and entry.part:
        _check_turn(book, step, fact.host_index, entry)
    return entry


def _check_turn(book: Book, step: StepDef, index: int, entry: Entry) -> None:
    """In a fan-out it is this task's turn."""
    entries = book.entries[step.id]
    if step.rollout is not None:
        before = [one for one in entries if one.batch < entry.batch]
        must(all(one.stand is Stand.DONE for one in before), "batches go in order", (step.id, index))
        if before and step.rollout.pause:
            until = book.pauses.get((step.id, entry.batch))
            must(until is not None and until <= book.env.now, "a batch waits for its pause", step.id)
        return
    must(all(one.stand is not Stand.IDLE for one in entries[:index]), "items go in order", (step.id, index))
    if step.max_parallel is not None:
        under_way = sum(one.stand in (Stand.OPEN, Stand.REST) for one in entries)
        must(under_way < step.max_parallel, "max_parallel is kept", (step.id, index))


def _expanded(book: Book, fact: f.StepExpanded) -> None:
    step, (entry,) = book.definition.steps[fact.step], book.entries[fact.step]
    begin(book, _At(fact.step))
    must(not entry.part and step.fans_out, "a step fans out once", fact)
    attempts = {"made": 0}
    if fact.hosts is None:
        must(fact.items == book.head.input["items"], "a task for each item", fact)
        book.entries[fact.step] = [book.new_entry(fact.step, part=True, **attempts) for _ in fact.items or ()]
        return
    live = [host.name for host in book.env.registry.live({"role": "web"}, book.env.now)]
    must([ref.name for ref in fact.hosts] == live and live, "a task for each live host, by name", fact)
    assert step.rollout is not None
    size = step.rollout.batch_size(len(live))
    must([ref.batch for ref in fact.hosts] == [i // size for i in range(len(live))], "batches are full", fact)
    book.entries[fact.step] = [
        book.new_entry(fact.step, part=True, host=ref.name, batch=ref.batch) for ref in fact.hosts
    ]


class _At:
    """The first task of a step."""

    def __init__(self, step: str) -> None:
        self.step, self.host_index = step, 0


def _batch_paused(book: Book, fact: f.BatchPaused) -> None:
    rollout = book.definition.steps[fact.step].rollout
    assert rollout is not None
    before = [one for one in book.entries[fact.step] if one.batch <= fact.batch]
    must(all(one.stand is Stand.DONE for one in before), "the batch is done before the pause", fact)
    must(fact.until == book.env.now + rollout.pause, "the pause is as long as the document says", fact)
    book.pauses[fact.step, fact.batch + 1] = fact.until


def _skipped(book: Book, fact: f.TaskSkipped) -> None:
    entry = begin(book, fact)
    wrong = book.step(fact).condition is not None and not book.head.input["go"]
    must(wrong, "only a false `if` skips a step", fact)
    entry.close(Stand.DONE)
    entry.skipped = True


def _sent(book: Book, fact: f.AttemptSent) -> None:
    step, entry, env = book.step(fact), book.entry(fact), book.env
    if fact.undo:
        begin_undo(book, step, fact.host_index)
    else:
        begin(book, fact)
    entry.made += 1
    kind = CommandKind.COMPENSATE if fact.undo else CommandKind.EXECUTE
    dispatch = book.sent(kind, fact.command_id)
    plan = step.compensate if fact.undo and step.compensate is not None else step
    must(dispatch.command.attempt == entry.made, "every attempt has the next number", fact)
    must(dispatch.command.id not in book.command_ids, "no command id is used twice", fact)
    must(fact.due == env.now + env.start_within + plan.timeout + env.grace, "rule 7: its time limit", fact)
    if entry.host and not fact.undo:
        must(dispatch.target == f"agent.{entry.host}", "each host gets its own command", fact)
    if fact.undo and step.compensate is not None and step.compensate.target is None and entry.effect_agent:
        must(
            dispatch.target == f"agent.{entry.effect_agent}", "rule 4: whoever has the effect undoes it", fact
        )
    book.command_ids.add(dispatch.command.id)
    entry.stand, entry.command, entry.target = Stand.OPEN, dispatch.command, dispatch.target
    entry.due, entry.taken_by, entry.cancel_sent = fact.due, "", False
    agent = dispatch.target.removeprefix("agent.")
    entry.known = env.registry.instance(agent) if agent != dispatch.target else ""
    if not fact.undo:
        entry.worker = ""


def _waiting(book: Book, fact: f.TaskWaiting) -> None:
    step, entry = book.step(fact), book.entry(fact)
    if fact.undo:
        begin_undo(book, step, fact.host_index)
        must(entry.child and fact.wait.child == entry.child, "rule 10: the child itself undoes", fact)
        book.signalled(entry.child, UndoRun)
    else:
        begin(book, fact)
        if step.kind == "workflow":
            start = book.started("child")
            must(start.run_id == fact.wait.child and start.run_id not in book.children, "a new child", fact)
            book.children.add(start.run_id)
            entry.child = start.run_id
        else:
            must(fact.due is not None and fact.due > book.env.now, "rule 12: every wait has its end", fact)
    entry.made += 1
    must(fact.attempt == entry.made, "every attempt has the next number", fact)
    entry.stand, entry.wait, entry.due, entry.cancel_sent = Stand.OPEN, fact.wait.on, fact.due, False


def _emitted(book: Book, fact: f.EventEmitted) -> None:
    entry = begin(book, fact)
    entry.made += 1
    emission = book.started("emission")
    must(emission.id == fact.event_id and emission.id not in book.command_ids, "an event once", fact)
    book.command_ids.add(emission.id)
    entry.stand = Stand.OPEN


BEGINNINGS: Final[dict[type, Callable[[Book, Any], None]]] = {
    f.StepExpanded: _expanded, f.BatchPaused: _batch_paused, f.TaskSkipped: _skipped, f.AttemptSent: _sent,
    f.TaskWaiting: _waiting, f.EventEmitted: _emitted,
}  # fmt: skip

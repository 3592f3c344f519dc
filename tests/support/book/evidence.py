"""What an input proves about a run, by the book and docs/rules.md; asked before it is applied."""

from dataclasses import replace

from orchestrator.core.answers import PROBED
from orchestrator.core.inputs import ChildEnded, CommandExpired, CommandReturned, Env, Input, ResultReceived
from orchestrator.core.model import WaitOn
from schemas.messages import NOT_STOPPABLE, Command, ErrorInfo, Result, ResultStatus
from tests.support.book.accounts import Book, Entry, Verdict

__all__ = ["holder", "verdict_on"]


def verdict_on(book: Book, given: Input, env: Env) -> Verdict | None:
    """What the input proves about an outstanding attempt; None: nothing."""
    book.env = env
    if book.ended is not None:
        return None
    match given:
        case ResultReceived(result=result):
            return _of_result(book, result)
        case CommandReturned(command=command):
            return _of_broker(book, command, returned=True)
        case CommandExpired(command=command):
            return _of_broker(book, command, returned=False)
        case ChildEnded():
            return _of_child(book, given)
    return None


def _of_child(book: Book, given: ChildEnded) -> Verdict | None:
    entries = book.entries.get(given.step, [])
    entry = entries[given.host_index] if given.host_index < len(entries) else None
    if entry is None or entry.wait is not WaitOn.CHILD or entry.child != given.run_id:
        return None
    if not entry.back:
        done = given.outcome == "done"
        given_up = given.outcome == "given_up"
        return Verdict(entry, closes=True, done=done, effect=done or given_up, retryable=not given_up)
    if given.outcome == "done":
        return Verdict(entry)  # it was done before it heard that it is to be undone
    undone = given.outcome in ("failed", "undone")
    return Verdict(entry, closes=True, done=undone, retryable=False)


def _of_broker(book: Book, command: Command, *, returned: bool) -> Verdict | None:
    """A command that no agent took: proof that it never started (rule 7)."""
    entries = book.entries.get(command.step, [])
    entry = entries[command.host_index] if command.host_index < len(entries) else None
    if entry is None or entry.command is None or entry.command.id != command.id or entry.taken_by:
        return None
    return Verdict(entry, closes=True, retryable=entry.back or not returned)


def holder(entry: Entry) -> str:
    """The agent whose word counts; empty: any member of the pool."""
    kind, _, name = entry.target.partition(".")
    return name if kind == "agent" else entry.taken_by


def _of_result(book: Book, result: Result) -> Verdict | None:
    entries = book.entries.get(result.step, [])
    entry = entries[result.host_index] if result.host_index < len(entries) else None
    if entry is None or entry.command is None or entry.command.id != result.command_id:
        return None
    if result.attempt != entry.command.attempt or holder(entry) not in ("", result.agent):
        return None
    return replace(_of_say(book, entry, result), agent=result.agent)


def _of_say(book: Book, entry: Entry, result: Result) -> Verdict:
    """The word of the agent that has the attempt."""
    step = book.definition.steps[result.step]
    error = result.error or ErrorInfo(code="x")
    ran = result.started_at is not None
    forward = not entry.back
    match result.status:
        case ResultStatus.STARTED | ResultStatus.PROGRESS:
            return Verdict(entry, taken=not entry.taken_by or entry.doubt)
        case ResultStatus.SUCCEEDED:
            unusable = forward and (
                result.error is not None or (step.output is not None and "ok" not in (result.output or {}))
            )
            return Verdict(entry, closes=True, done=not unusable, effect=forward, retryable=False)
        case ResultStatus.UNKNOWN:
            return _lost(book, entry, result, error)
        case ResultStatus.NEVER_SEEN:
            return _never_seen(book, entry, result, error)
        case ResultStatus.TIMED_OUT | ResultStatus.CANCELLED:
            return Verdict(entry, closes=True, effect=forward and ran, retryable=error.retryable)
    after_failure = step.compensate is not None and step.compensate.after_failure
    effect = forward and after_failure and result.status is ResultStatus.FAILED
    return Verdict(entry, closes=True, effect=effect, retryable=error.retryable)


def _never_seen(book: Book, entry: Entry, result: Result, error: ErrorInfo) -> Verdict:
    """Proof only from whoever had it or could have; of a pool from every member."""
    stranger = entry.taken_by or (entry.known and entry.known != result.instance_id)
    if stranger and error.code != PROBED:
        return _lost(book, entry, result, error)
    if entry.target.startswith("pool."):
        members = set(book.env.registry.members(entry.target.removeprefix("pool.")))
        if members - entry.denied - {result.agent}:
            return Verdict(entry, denied=True)
    return Verdict(entry, closes=True, retryable=error.retryable)


def _lost(book: Book, entry: Entry, result: Result, error: ErrorInfo) -> Verdict:
    """Nobody knows: repeated where that is harmless, else as the document says, else in doubt (rule 7)."""
    step = book.definition.steps[result.step]
    plan = step.compensate if entry.back and step.compensate is not None else step
    anybody = entry.target.startswith("pool.") and not entry.taken_by
    lost = error.code != NOT_STOPPABLE  # else it goes on
    retry = lost and plan.idempotent and entry.made < entry.allowed and (entry.back or not book.going_back)
    policy = "ask" if entry.back or anybody or not lost else step.on_unknown
    if retry or policy != "ask":
        retryable = error.retryable and (retry or policy == "retry")
        return Verdict(entry, closes=True, effect=not entry.back, retryable=retryable)
    return Verdict(entry, doubt=True)

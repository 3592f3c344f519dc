"""What becomes of an event, gathered over all that it asked for."""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from orchestrator.store.port import InboxRecord
from schemas.events import Event
from schemas.times import Micros

__all__ = ["NAMED", "Outcome", "delivered_later", "inbox_record", "settled"]

_FIRST: Final = ("started", "delivered", "debounced", "rejected", "throttled", "duplicate")
"""Of several outcomes, the first of these stands for all."""

MAX_REASON: Final = 2000

NAMED: Final = 100
"""How many runs the record of an event names; the others are counted."""


class Outcome(Struct, frozen=True):
    """What became of one thing that an event asked for; an outcome of `INBOX_OUTCOMES`.

    `runs`: those started or delivered to, or for a duplicate the live one; `more` are not named any more.
    """

    outcome: str
    runs: Sequence[str] = ()
    reason: str = ""
    more: int = 0


def inbox_record(event: Event, outcomes: Sequence[Outcome], at: Micros) -> InboxRecord:
    """The record of an event of which this became, at `at`."""
    found = {one.outcome for one in outcomes}
    outcome = next((name for name in _FIRST if name in found), "no_trigger")
    shown = {outcome} if outcome in ("started", "delivered") else {outcome, "duplicate"}
    runs = [run for one in outcomes if one.outcome in shown for run in one.runs]
    return InboxRecord(
        source=event.source,
        id=event.id,
        type=event.type,
        outcome=outcome,
        at=at,
        reason="; ".join(one.reason for one in outcomes if one.reason)[:MAX_REASON],
        runs=runs[:NAMED],
        more=len(runs[NAMED:]) + sum(one.more for one in outcomes if one.outcome in shown),
    )


def settled(before: InboxRecord | None, event: Event, outcome: Outcome, at: Micros) -> InboxRecord:
    """The record of an event that was debounced, now that this became of it.

    `before`: its record so far, in which it may also have started runs of other workflows; None when the
    inbox has forgotten it.
    """
    if before is None or before.outcome == "debounced":
        return inbox_record(event, [outcome], at)
    known = Outcome(before.outcome, before.runs, before.reason, before.more)
    return inbox_record(event, [known, outcome], before.at)


def delivered_later(before: InboxRecord, run_id: str) -> InboxRecord:
    """The record of an event that was kept, now that a run has taken it."""
    if before.outcome == "started":
        return before
    if before.outcome != "delivered":
        reason = "" if before.outcome == "no_trigger" else before.reason
        return replace(before, outcome="delivered", reason=reason, runs=[run_id], more=0)
    if len(before.runs) < NAMED:
        return replace(before, runs=[*before.runs, run_id])
    return replace(before, more=before.more + 1)

"""What becomes of an event, gathered over all that it asked for."""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from orchestrator.store.port import InboxRecord
from schemas.events import Event
from schemas.times import Micros

__all__ = ["Outcome", "inbox_record", "settled"]

_FIRST: Final = ("started", "delivered", "debounced", "rejected", "throttled", "duplicate")
"""Of several outcomes, the first of these stands for all."""

MAX_REASON: Final = 2000


class Outcome(Struct, frozen=True):
    """What became of one thing that an event asked for; an outcome of `INBOX_OUTCOMES`.

    `runs`: those started or delivered to, or for a duplicate the live one.
    """

    outcome: str
    runs: Sequence[str] = ()
    reason: str = ""


def inbox_record(event: Event, outcomes: Sequence[Outcome], at: Micros) -> InboxRecord:
    """The record of an event of which this became, at `at`."""
    found = {one.outcome for one in outcomes}
    outcome = next((name for name in _FIRST if name in found), "no_trigger")
    shown = {outcome} if outcome in ("started", "delivered") else {outcome, "duplicate"}
    return InboxRecord(
        source=event.source,
        id=event.id,
        type=event.type,
        outcome=outcome,
        at=at,
        reason="; ".join(one.reason for one in outcomes if one.reason)[:MAX_REASON],
        runs=[run for one in outcomes if one.outcome in shown for run in one.runs],
    )


def settled(before: InboxRecord | None, event: Event, outcome: Outcome, at: Micros) -> InboxRecord:
    """The record of an event that was debounced, now that this became of it.

    `before`: its record so far, in which it may also have started runs of other workflows; None when the
    inbox has forgotten it.
    """
    if before is None or before.outcome == "debounced":
        return inbox_record(event, [outcome], at)
    known = Outcome(before.outcome, before.runs, before.reason)
    return inbox_record(event, [known, outcome], before.at)

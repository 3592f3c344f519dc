"""What the inbox says of an event that asked for several things."""

from orchestrator.starting.outcomes import Outcome, inbox_record, settled
from schemas.events import new_event

EVENT = new_event(id="1", source="/s", type="a.b", at=0)


def outcome(*found: Outcome) -> tuple[str, list[str], str]:
    """Outcome, runs and reason of the record."""
    record = inbox_record(EVENT, found, 7)
    assert (record.source, record.id, record.type, record.at) == ("/s", "1", "a.b", 7)
    return record.outcome, record.runs, record.reason


def test_one_outcome_stands_for_all() -> None:
    """What happened before what did not; every reason is kept."""
    started, waits = Outcome("started", ["r1"]), Outcome("debounced", reason="w: waits")
    refused, twice = Outcome("rejected", reason="v: no"), Outcome("duplicate", ["r0"], "u: taken")
    late = Outcome("throttled", reason="t: too many")
    assert outcome() == ("no_trigger", [], "")
    assert outcome(twice, refused, started) == ("started", ["r1"], "u: taken; v: no")
    assert outcome(refused, waits) == ("debounced", [], "v: no; w: waits")
    assert outcome(late, twice, refused) == ("rejected", ["r0"], "t: too many; u: taken; v: no")
    assert outcome(twice, late) == ("throttled", ["r0"], "u: taken; t: too many")
    assert outcome(twice) == ("duplicate", ["r0"], "u: taken")
    assert outcome(started, Outcome("started", ["r2"])) == ("started", ["r1", "r2"], "")


def test_a_debounced_event_is_settled_when_it_is_due() -> None:
    """What became of it takes the place of that it waits; what else it has done stays."""
    waits = inbox_record(EVENT, [Outcome("debounced", reason="w: waits")], 7)
    record = settled(waits, EVENT, Outcome("started", ["r1"]), 9)
    assert (record.outcome, record.runs, record.reason) == ("started", ["r1"], "")
    record = settled(waits, EVENT, Outcome("duplicate", ["r0"], "w: taken"), 9)
    assert (record.outcome, record.runs, record.reason) == ("duplicate", ["r0"], "w: taken")
    other = inbox_record(EVENT, [Outcome("started", ["v1"]), Outcome("debounced", reason="w: waits")], 7)
    record = settled(other, EVENT, Outcome("started", ["r1"]), 9)
    assert (record.outcome, record.runs, record.at) == ("started", ["v1", "r1"], 7)
    assert settled(None, EVENT, Outcome("started", ["r1"]), 9).runs == ["r1"]

"""What the inbox says of an event that asked for several things."""

from orchestrator.starting.outcomes import NAMED, Outcome, delivered_later, inbox_record, settled
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


def test_a_kept_event_that_a_run_takes_is_delivered() -> None:
    """What it started counts more; the reason why it did nothing is gone, any other stays."""
    kept = inbox_record(EVENT, [Outcome("no_trigger", reason="kept for 60 s")], 7)
    taken = delivered_later(kept, "r1")
    assert (taken.outcome, taken.runs, taken.reason, taken.at) == ("delivered", ["r1"], "", 7)
    assert delivered_later(taken, "r2").runs == ["r1", "r2"]
    started = inbox_record(EVENT, [Outcome("started", ["s1"])], 7)
    assert delivered_later(started, "r1") == started
    other = inbox_record(EVENT, [Outcome("duplicate", ["r0"], "u: taken")], 7)
    taken = delivered_later(other, "r1")
    assert (taken.outcome, taken.runs, taken.reason) == ("delivered", ["r1"], "u: taken")


def test_of_very_many_runs_some_are_named() -> None:
    """The others are counted, also when more come."""
    many = [f"r{number}" for number in range(NAMED + 5)]
    record = inbox_record(EVENT, [Outcome("delivered", many)], 7)
    assert (record.runs, record.more) == (many[:NAMED], 5)
    assert delivered_later(record, "late").more == 6
    record = settled(record, EVENT, Outcome("started", ["s1"]), 9)
    assert (record.outcome, record.runs, record.more) == ("started", ["s1"], 0)
    record = settled(inbox_record(EVENT, [Outcome("started", many)], 7), EVENT, Outcome("started", ["s"]), 9)
    assert (len(record.runs), record.more) == (NAMED, 6)

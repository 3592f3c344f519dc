"""Which runs an event asks for, and why not."""

from typing import Any

import pytest

from orchestrator.core.definition import Definition
from orchestrator.document import read_workflow
from orchestrator.starting.triggers import MAX_KEY, Refused, Wanted, check_input, check_key, wanted_runs

STEPS = "steps: [{id: a, action: x.y, target: h1}]"


def workflow(triggers: str, name: str = "one", more: str = "") -> Definition:
    """A workflow with these triggers, as a YAML flow list."""
    return read_workflow(f"workflow: {name}\ntriggers: {triggers}\n{more}\n{STEPS}\n", "test.yaml")


def asked(definition: Definition, data: Any = None, event_type: str = "a.b") -> Wanted | Refused | None:
    """What an event asks of one workflow."""
    found = wanted_runs(
        event_type, {"type": event_type, "id": "1", "source": "/s", "data": data}, [definition]
    )
    return found[0] if found else None


@pytest.mark.parametrize(
    ("pattern", "event_type", "matches"),
    [
        ("a.b", "a.b", True),
        ("a.b", "a.b.c", False),
        ("a.b", "A.B", False),
        ("a.*", "a.b", True),
        ("a.*", "a.b.c", True),
        ("a.*", "a", False),
        ("a*", "ab", True),
        ('"*"', "anything", True),
    ],
)
def test_types_match_whole_or_by_prefix(pattern: str, event_type: str, *, matches: bool) -> None:
    """A `*` at the end stands for any suffix; nothing else is special."""
    definition = workflow(f"[{{event: {pattern}}}]")
    assert (asked(definition, event_type=event_type) is not None) is matches


def test_without_key_and_input_the_data_is_the_input() -> None:
    """An object as it is; anything else is not an input."""
    definition = workflow("[{event: a.b}]")
    assert asked(definition, {"x": 1}) == Wanted(definition, "", {"x": 1}, 1)
    assert asked(definition, [1]) == Wanted(definition, "", {}, 1)
    assert asked(definition) == Wanted(definition, "", {}, 1)


def test_key_and_input_come_from_the_event() -> None:
    """A number is a key too; the input keeps its types."""
    definition = workflow(
        '[{event: a.b, key: event.data.n, input: {n: "${{ event.data.n }}", t: "<${{ event.id }}>"}}]'
    )
    assert asked(definition, {"n": 7}) == Wanted(definition, "7", {"n": 7, "t": "<1>"}, 1)


def test_the_first_trigger_that_matches_decides() -> None:
    """One whose `if` is false is passed over; one that fails is not."""
    definition = workflow(
        '[{event: a.b, if: event.data.n > 1, input: {w: "first"}}, {event: "a.*", input: {w: "second"}}]'
    )
    assert asked(definition, {"n": 2}) == Wanted(definition, "", {"w": "first"}, 1)
    assert asked(definition, {"n": 1}) == Wanted(definition, "", {"w": "second"}, 2)
    refused = asked(definition, {})
    assert isinstance(refused, Refused)
    assert refused.reason.startswith("trigger 1: ")


@pytest.mark.parametrize(
    ("triggers", "data", "reason"),
    [
        ("[{event: a.b, if: event.data.n}]", {"n": "true"}, "not bool"),
        ("[{event: a.b, if: event.data.n > 1}]", {"n": "x"}, "trigger 1"),
        ("[{event: other}, {event: a.b, if: event.data.n}]", {}, "trigger 2"),
        ("[{event: a.b, key: event.data.n}]", {}, "no field 'n'"),
        ("[{event: a.b, key: event.data.n}]", {"n": True}, "not text"),
        ("[{event: a.b, key: event.data.n}]", {"n": ""}, "key: has 0 characters"),
        ("[{event: a.b, key: event.data.n}]", {"n": "k" * (MAX_KEY + 1)}, f"not 1 to {MAX_KEY}"),
        ('[{event: a.b, input: {n: "${{ event.data.n }}"}}]', {}, "no field 'n'"),
        ("[{event: a.b}]", {"n": "x"}, "input.n"),
    ],
)
def test_what_fails_is_refused_with_the_reason(triggers: str, data: Any, reason: str) -> None:
    """An `if`, a `key` or an `input`, or what the input schema says."""
    refused = asked(workflow(triggers, more="input: {properties: {n: {type: integer}}}"), data)
    assert isinstance(refused, Refused)
    assert refused.workflow == "one"
    assert reason in refused.reason


def test_each_workflow_is_asked_for_itself() -> None:
    """One that refuses does not keep another from starting."""
    bad, good = workflow("[{event: a.b, if: event.data.no}]", "bad"), workflow("[{event: a.b}]", "good")
    other = workflow("[{event: c.d}]", "other")
    found = wanted_runs("a.b", {"data": {}}, [bad, good, other])
    assert [type(one) for one in found] == [Refused, Wanted]


def test_event_data_is_never_evaluated_again() -> None:
    """What looks like an expression in an event is text."""
    definition = workflow('[{event: a.b, input: {n: "${{ event.data.n }}"}}]')
    assert asked(definition, {"n": "${{ event.id }}"}) == Wanted(definition, "", {"n": "${{ event.id }}"}, 1)


def test_the_checks_by_themselves() -> None:
    """Empty text is no problem."""
    definition = workflow("[]", more="input: {required: [n]}")
    assert check_input(definition, {"n": 1}) == ""
    assert check_input(definition, {}).startswith("input: ")
    assert (check_key("k"), check_key("k" * MAX_KEY)) == ("", "")
    assert check_key("")
    assert check_key("k" * (MAX_KEY + 1))

"""What differs between two versions of a workflow."""

from typing import Any

import msgspec

from orchestrator.core.changes import StepChanges, step_changes
from schemas.workflow import Workflow


def workflow(*steps: dict[str, Any]) -> Workflow:
    """A document with these steps; an action unless they say otherwise."""
    return msgspec.convert(
        {"workflow": "w", "steps": [{"action": "a.b", "target": "x", **step} for step in steps]}, Workflow
    )


def test_same_document_has_no_changes() -> None:
    """A version compared with itself shows nothing."""
    document = workflow({"id": "a", "with": {"n": [1, {"x": None}]}}, {"id": "b"})
    assert step_changes(document, document) == StepChanges((), (), {})


def test_added_removed_and_changed_are_told_apart() -> None:
    """Each step is in one list at most, with the names its document has for the fields."""
    old = workflow({"id": "a"}, {"id": "b", "if": "true", "needs": []}, {"id": "c", "needs": []})
    new = workflow({"id": "a", "with": {"n": 1}}, {"id": "c", "needs": []}, {"id": "d", "needs": []})
    changes = step_changes(old, new)
    assert changes == StepChanges(("d",), ("b",), {"a": ("with",)})
    assert [step for step in "abcd" if changes.touches(step)] == ["a", "b"]


def test_a_step_whose_implied_need_differs_is_changed() -> None:
    """A step put between two others changes the one below, which needs it now."""
    old = workflow({"id": "a"}, {"id": "b"}, {"id": "c"})
    new = workflow({"id": "a"}, {"id": "x"}, {"id": "b"}, {"id": "c"})
    assert step_changes(old, new) == StepChanges(("x",), (), {"b": ("needs",)})


def test_writing_out_the_implied_need_is_no_change() -> None:
    """`needs` that says what holds anyway, in any order and twice, is the same step; so are defaults."""
    old = workflow({"id": "a", "needs": []}, {"id": "b", "needs": []}, {"id": "c", "needs": ["a", "b"]})
    new = workflow(
        {"id": "a", "idempotent": False, "with": {}},
        {"id": "b", "needs": []},
        {"id": "c", "needs": ["b", "a", "b"]},
    )
    assert step_changes(old, new) == StepChanges((), (), {})


def test_the_order_alone_changes_nothing_where_needs_are_written() -> None:
    """Where a step stands means something only through the default of `needs`."""
    old = workflow({"id": "a", "needs": []}, {"id": "b", "needs": ["a"]})
    new = workflow({"id": "b", "needs": ["a"]}, {"id": "a", "needs": []})
    assert step_changes(old, new) == StepChanges((), (), {})


def test_values_are_compared_as_json() -> None:
    """`true` is not `1` and `1` is not `1.0`; the order of keys is nothing; null is not absent."""
    old = workflow({"id": "a", "with": {"x": True, "y": 1}})
    assert step_changes(old, workflow({"id": "a", "with": {"x": 1, "y": 1}})).changed == {"a": ("with",)}
    assert step_changes(old, workflow({"id": "a", "with": {"x": True, "y": 1.0}})).changed == {"a": ("with",)}
    assert step_changes(old, workflow({"id": "a", "with": {"y": 1, "x": True}})).changed == {}
    plain = workflow({"id": "a"})
    assert step_changes(plain, workflow({"id": "a", "output": None})).changed == {"a": ("output",)}


def test_a_step_of_another_kind_names_both_fields() -> None:
    """An action that became a sleep has lost and gained fields."""
    old = workflow({"id": "a"})
    new = msgspec.convert({"workflow": "w", "steps": [{"id": "a", "sleep": "1m"}]}, Workflow)
    assert set(step_changes(old, new).changed["a"]) == {"action", "target", "sleep"}

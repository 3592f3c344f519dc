"""What differs between two versions of a workflow, for people and as data."""

from typing import Any

import msgspec

from orchestrator.definition_diff import FieldChange, diff_definitions, diff_text
from schemas.workflow import Workflow

NAMES = ("w 1", "w 2")


def workflow(*steps: dict[str, Any], **more: Any) -> Workflow:
    """A document with these steps; an action unless they say otherwise."""
    made = [{"action": "a.b", "target": "x", **step} for step in steps]
    return msgspec.convert({"workflow": "w", "steps": made, **more}, Workflow)


A, B = {"id": "a"}, {"id": "b", "needs": []}


def test_no_difference_is_nothing() -> None:
    """Of equal documents the text is empty, and so is the structure."""
    assert diff_text(workflow(A, B), workflow(A, B), NAMES) == ""
    assert diff_definitions(workflow(A, B), workflow(A, B)).is_empty


def test_what_a_moved_run_keeps_is_named() -> None:
    """Its time limit, group and priority are those that it started with."""
    old = workflow(A, timeout="1h", description="x")
    new = workflow(A, timeout="2h", description="y", concurrency={"group": "g"}, priority=7)
    assert sorted(diff_definitions(old, new).kept) == ["concurrency", "priority", "timeout"]
    assert diff_definitions(old, workflow(A, timeout="1h", description="y")).kept == []


def test_each_change_has_its_part() -> None:
    """The frame, removed, added and changed steps; the unchanged ones are not shown."""
    old = workflow(A, B, {"id": "c", "needs": [], "timeout": "1m"})
    new = workflow(A, {"id": "c", "needs": ["a"], "timeout": "1m"}, {"id": "d"}, description="better")
    assert diff_text(old, new, NAMES).splitlines() == [
        "--- w 1",
        "+++ w 2",
        "@@ workflow @@",
        ' workflow: "w"',
        '+description: "better"',
        "@@ step b (removed) @@",
        '-id: "b"',
        '-action: "a.b"',
        '-target: "x"',
        "-needs: []",
        "@@ step c (changed) @@",
        ' action: "a.b"',
        ' target: "x"',
        "-needs: []",
        '+needs: ["a"]',
        ' timeout: "1m"',
        "@@ step d (added) @@",
        '+id: "d"',
        '+action: "a.b"',
        '+target: "x"',
        '+needs: ["c"]',
    ]


def test_the_structure_names_fields_with_both_values() -> None:
    """A changed field with the old and the new value; the steps that a moved run must not have begun."""
    old = workflow(A, B, {"id": "c", "needs": []})
    found = diff_definitions(old, workflow({**A, "with": {"n": {"m": 1}}}, B))
    assert [(change.step, change.change) for change in found.steps] == [("c", "removed"), ("a", "changed")]
    assert found.steps[1].fields == [FieldChange("with", None, {"n": {"m": 1}})]
    assert found.fixed == ["a", "c"]
    assert not found.order


def test_another_order_is_said() -> None:
    """Steps that only stand elsewhere are not changed, but the order is."""
    first, second = workflow({"id": "a", "needs": []}, B), workflow(B, {"id": "a", "needs": []})
    found = diff_definitions(first, second)
    assert (found.steps, found.order, found.fixed) == ([], True, [])
    assert diff_text(first, second, NAMES).splitlines()[-2:] == ["-a, b", "+b, a"]


def test_nested_values_differ_by_their_own_lines() -> None:
    """Of a deep template only the line that differs is marked."""
    old = workflow({"id": "a", "with": {"list": [{"x": 1}, {"y": 2}], "same": "z"}})
    new = workflow({"id": "a", "with": {"list": [{"x": 1}, {"y": 3}], "same": "z"}})
    marked = [line for line in diff_text(old, new, NAMES).splitlines()[2:] if line[0] in "+-"]
    assert [line.strip() for line in marked] == ["-      y: 2", "+      y: 3"]

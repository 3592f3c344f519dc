"""What is drawn is what the machine does: the order of undos, the pivot, the words in the boxes."""

from typing import Any

import pytest

from orchestrator.document import read_workflow
from orchestrator.graph import Sketch, sketch_of
from schemas.codec import encode

UNDO = {"action": "undo.it"}


def step(name: str, *needs: str, undo: bool = True, **more: Any) -> dict[str, Any]:
    """A step as a document has it."""
    one = {"id": name, "needs": list(needs), "action": "do.it", "target": "h", **more}
    return one | ({"compensate": UNDO} if undo else {})


def sketch(*steps: dict[str, Any], **more: Any) -> Sketch:
    """The sketch of a workflow of these steps."""
    return sketch_of(read_workflow(encode({"workflow": "w", "steps": steps, **more}), "w"))


def test_undos_run_backwards() -> None:
    """An undo waits for the undos of what depends on its step (rule 4)."""
    drawn = sketch(step("a"), step("b", "a"), step("c", "a"), step("d", "b", "c"))
    assert drawn.undo.after == {"a": ("b", "c"), "b": ("d",), "c": ("d",), "d": ()}


def test_an_undo_waits_across_steps_that_have_none() -> None:
    """Steps without an undo still carry the order from those below them to those above (rule 4)."""
    drawn = sketch(step("a"), step("b", "a", undo=False), step("c", "b"), step("d", "a"))
    assert drawn.undo.after == {"a": ("c", "d"), "c": (), "d": ()}
    assert drawn.kept == ("b",)


def test_nothing_is_undone_past_the_pivot() -> None:
    """What needs the pivot stands below it and has no undo; the rest can be undone until then (rule 6)."""
    drawn = sketch(
        step("a"),
        step("p", "a", undo=False, pivot=True),
        {"id": "late", "needs": ["p"], "workflow": "child"},
        step("latest", "late"),
        step("beside", "a"),
        step("end", "beside"),
    )
    assert drawn.pivot == "p"
    assert drawn.forward.last == {"late", "latest"}
    assert set(drawn.undo.boxes) == {"a", "beside", "end"}
    assert drawn.kept == ("p", "late", "latest")
    assert drawn.forward.boxes["late"].lines == ("workflow child",)
    assert drawn.forward.boxes["latest"].lines == ("action do.it", "on h")


def test_json_has_all_edges_of_the_document() -> None:
    """Programs get every `needs`, also those that the drawing leaves out, and the layers of both ways."""
    assert sketch(step("a"), step("b", "a"), step("c", "a", "b", undo=False)).as_json() | {"nodes": None} == {
        "workflow": "w",
        "version": sketch(step("a"), step("b", "a"), step("c", "a", "b", undo=False)).definition.version,
        "pivot": None,
        "nodes": None,
        "edges": [{"from": "a", "to": "b"}, {"from": "a", "to": "c"}, {"from": "b", "to": "c"}],
        "layers": [["a"], ["b"], ["c"]],
        "undo": {"edges": [{"from": "b", "to": "a"}], "layers": [["b"], ["a"]]},
    }


@pytest.mark.parametrize(
    ("more", "line"),
    [
        ({"target": {"pool": "p"}}, "on one of pool p"),
        ({"target": {"labels": {"role": "web"}}}, "on one with role=web"),
        ({"if": "event.data.x == 1"}, "if event.data.x == 1"),
        ({"idempotent": True}, "up to 3 attempts"),
        ({"retry": {"attempts": 7}}, "up to 7 attempts"),
        ({"on_failure": "continue"}, "goes on if it fails"),
        ({"on_failure": "pause"}, "pauses if it fails"),
        ({"foreach": "event.data.list", "max_parallel": 3}, "for each event.data.list"),
        ({"foreach": "event.data.list", "max_parallel": 3}, "3 at a time"),
        ({"undo": False, "pivot": True}, "pivot: no undo once it is done"),
        ({}, "undo undo.it"),
        ({"if": "event.data.x ==\n\t'a\u202eb'"}, "if event.data.x == 'a\\u202eb'"),
    ],
)
def test_a_box_says_what_matters(more: dict[str, Any], line: str) -> None:
    """Each property that changes what happens has its line; nothing in it can steer a terminal."""
    assert line in sketch(step("a", **more)).forward.boxes["a"].lines

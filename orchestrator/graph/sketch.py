"""What a drawing shows of a workflow: its steps as boxes, their order forward, and the order of their undos.

The undo order is the machine's (rule 4): an undo waits for the undos of everything that depends on its step.
After the pivot nothing is undone (rule 6), so steps that need the pivot have no place in it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.core.definition import Definition, StepDef, StepKind
from orchestrator.graph.describe import about_lines, forward_lines, undo_lines
from orchestrator.graph.layers import direct, layers_of
from schemas.workflow import Step

__all__ = ["Box", "Order", "Sketch", "sketch_of"]


@dataclass(frozen=True, slots=True)
class Box:
    """One step in a drawing: its id, and what is to be said about it, a line each, none of them cut."""

    step: str
    kind: StepKind
    lines: tuple[str, ...]
    pivot: bool = False


@dataclass(frozen=True, slots=True)
class Order:
    """Boxes, and after which others each one comes: without what follows from the rest.

    Those in `last` are drawn below all others.
    """

    boxes: Mapping[str, Box]
    after: Mapping[str, tuple[str, ...]]
    last: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Sketch:
    """A workflow as it is drawn.

    `about`: its description and what starts it, a line each. `kept`: steps that are never undone.
    """

    definition: Definition
    about: tuple[str, ...]
    pivot: str | None
    forward: Order
    undo: Order
    kept: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """`{workflow, version, pivot, nodes, edges, layers, undo: {edges, layers}}`.

        Edges are `{from, to}`: `to` begins when `from` has ended. Those of the document are all there; those
        of the undo are without what follows from the rest.
        """
        steps = self.definition.steps
        return {
            "workflow": self.definition.name,
            "version": self.definition.version,
            "pivot": self.pivot,
            "nodes": [self._node(step) for step in steps],
            "edges": [{"from": above, "to": step.id} for step in steps.values() for above in step.needs],
            "layers": layers_of(self.forward.after, self.forward.last),
            "undo": {
                "edges": [
                    {"from": above, "to": step}
                    for step, waits_for in self.undo.after.items()
                    for above in waits_for
                ],
                "layers": layers_of(self.undo.after, self.undo.last),
            },
        }

    def _node(self, step: str) -> dict[str, Any]:
        box, undo = self.forward.boxes[step], self.undo.boxes.get(step)
        return {
            "id": step,
            "kind": box.kind,
            "pivot": box.pivot,
            "text": list(box.lines),
            "undo": None if undo is None else list(undo.lines),
        }


def sketch_of(definition: Definition) -> Sketch:
    """What there is to draw of a workflow."""
    steps = definition.steps
    documents = {step.id: step for step in definition.document.steps}
    pivot = next((step for step in steps.values() if step.pivot), None)
    past = pivot.dependents if pivot is not None else frozenset()
    undone = {name: step for name, step in steps.items() if step.can_undo and name not in past}
    forward = Order(
        boxes={
            name: _forward_box(step, documents[name], undone=name in undone) for name, step in steps.items()
        },
        after=direct({name: step.upstream for name, step in steps.items()}),
        last=past,
    )
    undo = Order(
        boxes={name: _undo_box(step, documents[name]) for name, step in undone.items()},
        after=direct({name: step.dependents & undone.keys() for name, step in undone.items()}),
    )
    return Sketch(
        definition=definition,
        about=about_lines(definition.document),
        pivot=None if pivot is None else pivot.id,
        forward=forward,
        undo=undo,
        kept=tuple(name for name in steps if name not in undone),
    )


def _forward_box(step: StepDef, document: Step, *, undone: bool) -> Box:
    return Box(step.id, step.kind, forward_lines(step, document, undone=undone), step.pivot)


def _undo_box(step: StepDef, document: Step) -> Box:
    return Box(step.id, step.kind, undo_lines(step, document))

"""What a document says, read from its text: the invariants believe nothing that the compiler made of it."""

from dataclasses import dataclass

from schemas.workflow import Step, Workflow

__all__ = ["Written", "read"]


@dataclass(frozen=True)
class Written:
    """`needs`: by step those that it says it needs. `dependents`: those that need it, all the way."""

    needs: dict[str, frozenset[str]]
    dependents: dict[str, frozenset[str]]
    undoable: frozenset[str]
    """Steps with an undo, or whose child run has its own."""
    pivot: str
    """Empty for none."""


def read(document: Workflow) -> Written:
    """Read a document."""
    needs: dict[str, frozenset[str]] = {}
    above: list[str] = []
    for step in document.steps:
        needs[step.id] = frozenset(above[-1:] if step.needs is None else step.needs)
        above.append(step.id)
    return Written(
        needs,
        {step.id: _dependents(step.id, needs) for step in document.steps},
        frozenset(step.id for step in document.steps if _is_undoable(step)),
        next((step.id for step in document.steps if step.pivot), ""),
    )


def _is_undoable(step: Step) -> bool:
    return step.compensate is not None or step.workflow is not None


def _dependents(name: str, needs: dict[str, frozenset[str]]) -> frozenset[str]:
    found: set[str] = set()
    ahead = [name]
    while ahead:
        needed = ahead.pop()
        more = {step for step, wanted in needs.items() if needed in wanted} - found
        found |= more
        ahead += more
    return frozenset(found)

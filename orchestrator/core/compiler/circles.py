"""Workflows that start each other without end."""

from collections.abc import Mapping

from orchestrator.core.definition import Definition
from orchestrator.core.graph import cycles

__all__ = ["workflow_circles"]


def workflow_circles(definitions: Mapping[str, Definition]) -> list[list[str]]:
    """Circles among workflows, by their `workflow` steps: each as names, every one starting the next.

    The last starts the first. Workflows that are not in `definitions` are left out of account. At most 20.
    """
    starts = {
        name: sorted({step.child for step in definition.steps.values()} & definitions.keys())
        for name, definition in definitions.items()
    }
    return [list(circle) for circle in cycles(starts)]

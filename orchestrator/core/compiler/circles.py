"""Workflows that start each other without end, or would wait for themselves."""

from collections.abc import Mapping

from orchestrator.core.definition import Definition
from orchestrator.core.graph import cycles

__all__ = ["group_deadlocks", "workflow_circles"]


def workflow_circles(definitions: Mapping[str, Definition]) -> list[list[str]]:
    """Circles among workflows, by their `workflow` steps: each as names, every one starting the next.

    The last starts the first. Workflows that are not in `definitions` are left out of account. At most 20.
    """
    return [list(circle) for circle in cycles(_starts(definitions))]


def group_deadlocks(definitions: Mapping[str, Definition]) -> list[list[str]]:
    """Workflows that start, by others perhaps, one that is always in their own concurrency group.

    Each as names, every one starting the next, from the first that is in the group to the last. Groups whose
    names are templates are left out of account, and so are workflows that are not in `definitions`.
    """
    starts, groups = _starts(definitions), dict[str, str]()
    for name, definition in definitions.items():
        if definition.concurrency is not None and definition.concurrency.group.is_constant:
            groups[name] = definition.concurrency.group.render({})
    found: list[list[str]] = []
    for name, group in groups.items():
        ways, seen = [[name]], {name}
        for way in ways:  # grows on the way: the shortest come first
            for child in starts[way[-1]]:
                if child not in seen:
                    seen.add(child)
                    (found if groups.get(child) == group else ways).append([*way, child])
    return found


def _starts(definitions: Mapping[str, Definition]) -> dict[str, list[str]]:
    """By workflow those of the others that it starts."""
    return {
        name: sorted({step.child for step in definition.steps.values()} & definitions.keys())
        for name, definition in definitions.items()
    }

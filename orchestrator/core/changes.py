"""What differs between two versions of a workflow, step by step.

Steps are compared by what their documents say with defaults left out and `needs` applied: a step that
takes its need from the one above it has changed when another one stands there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from schemas.workflow import Step, Workflow

__all__ = ["StepChanges", "step_changes", "step_fields"]


@dataclass(frozen=True, slots=True)
class StepChanges:
    """Ids of steps only in the new version and only in the old one; names of the fields that differ by id.

    Each in the order of the document: of the new one, but for `removed`.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: dict[str, tuple[str, ...]]

    def touches(self, step: str) -> bool:
        """Whether this step of the old version is gone or changed in the new one."""
        return step in self.changed or step in self.removed


def step_changes(old: Workflow, new: Workflow) -> StepChanges:
    """What became of the steps of `old` in `new`."""
    before, after = step_fields(old), step_fields(new)
    changed = {
        step: names
        for step, fields in after.items()
        if step in before and (names := _different(before[step], fields))
    }
    return StepChanges(
        added=tuple(step for step in after if step not in before),
        removed=tuple(step for step in before if step not in after),
        changed=changed,
    )


def step_fields(document: Workflow) -> dict[str, dict[str, Any]]:
    """Each step's fields as the document names them; what is as by default is left out, `needs` never is.

    `needs` is sorted: the order in which needed steps are written means nothing.
    """
    return {
        step.id: {**msgspec.to_builtins(step), "needs": _needs(document, step, index)}
        for index, step in enumerate(document.steps)
    }


def _needs(document: Workflow, step: Step, index: int) -> list[str]:
    """What a step needs; if it does not say, the step just above."""
    if step.needs is not None:
        return sorted(set(step.needs))
    return [document.steps[index - 1].id] if index else []


def _different(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the fields that differ. As JSON, in which `true` is not `1`; the order of keys is nothing."""
    return tuple(
        name
        for name in dict.fromkeys((*before, *after))
        if _text(before.get(name, msgspec.UNSET)) != _text(after.get(name, msgspec.UNSET))
    )


def _text(value: Any) -> bytes:
    return b"" if value is msgspec.UNSET else msgspec.json.encode(value, order="sorted")

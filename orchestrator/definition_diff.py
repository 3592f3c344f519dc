"""What differs between two versions of a workflow, for people and as data."""

from collections.abc import Iterator
from difflib import unified_diff
from typing import Any

import msgspec
from msgspec import Struct

from orchestrator.core.changes import step_changes, step_fields
from schemas.workflow import Workflow

__all__ = ["DefinitionDiff", "FieldChange", "StepChange", "diff_definitions", "diff_text"]


_KEPT = ("timeout", "concurrency", "priority")
"""What a run takes from its document when it starts, and has from then on."""


class FieldChange(Struct, frozen=True):
    """A field that differs; null is also what a document does not say."""

    field: str
    old: Any
    new: Any


class StepChange(Struct, frozen=True):
    """A step that was added, removed or changed; then `fields` are those that differ."""

    step: str
    change: str
    fields: list[FieldChange]


class DefinitionDiff(Struct, frozen=True):
    """The differences of two documents.

    `workflow`: fields outside the steps. `order`: whether the steps that both have stand in another order.
    `fixed`: the steps of the old one that are changed or gone; a live run can only be moved while it has
    begun none of them. `kept`: the fields outside the steps that differ, and that a moved run has from
    the old one all the same.
    """

    workflow: list[FieldChange]
    steps: list[StepChange]
    order: bool
    fixed: list[str]
    kept: list[str]

    @property
    def is_empty(self) -> bool:
        """Whether nothing differs."""
        return not (self.workflow or self.steps or self.order)


def diff_definitions(old: Workflow, new: Workflow) -> DefinitionDiff:
    """What became of `old` in `new`."""
    before, after = step_fields(old), step_fields(new)
    changes = step_changes(old, new)
    steps = [StepChange(step, "removed", _fields(before[step], {})) for step in changes.removed]
    for step in after:
        if step in changes.added:
            steps.append(StepChange(step, "added", _fields({}, after[step])))
        elif step in changes.changed:
            differing = changes.changed[step]
            fields = [FieldChange(name, before[step].get(name), after[step].get(name)) for name in differing]
            steps.append(StepChange(step, "changed", fields))
    both = [step for step in before if step in after]
    workflow = _fields(_frame(old), _frame(new))
    return DefinitionDiff(
        workflow=workflow,
        steps=steps,
        order=both != [step for step in after if step in before],
        fixed=[step for step in before if changes.touches(step)],
        kept=[change.field for change in workflow if change.field in _KEPT],
    )


def diff_text(old: Workflow, new: Workflow, names: tuple[str, str]) -> str:
    """A unified diff, one part for each step that differs; empty when nothing does."""
    found = diff_definitions(old, new)
    if found.is_empty:
        return ""
    lines = [f"--- {names[0]}", f"+++ {names[1]}"]
    lines += _part("workflow", _frame(old), _frame(new))
    before, after = step_fields(old), step_fields(new)
    for change in found.steps:
        lines += _part(
            f"step {change.step} ({change.change})",
            before.get(change.step, {}),
            after.get(change.step, {}),
        )
    if found.order:
        lines += ["@@ order of the steps @@", f"-{', '.join(before)}", f"+{', '.join(after)}"]
    return "\n".join(lines)


def _part(title: str, old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    """The lines of one part, with what stands around them; none when it is the same."""
    before, after = (list(_lines(fields)) if fields else [] for fields in (old, new))
    found = list(unified_diff(before, after, n=2, lineterm=""))[2:]
    if found:
        yield f"@@ {title} @@"
        yield from (line for line in found if not line.startswith("@@"))


def _lines(value: Any, name: str = "", depth: int = 0) -> Iterator[str]:
    """A value on lines of its own, as YAML would show it; scalars are JSON."""
    indent = "  " * depth
    head = f"{indent}{name}:" if name else indent
    if isinstance(value, dict) and value:
        if name:
            yield head
        for key, inner in value.items():
            yield from _lines(inner, str(key), depth + 1 if name else depth)
    elif isinstance(value, list) and any(isinstance(inner, dict | list) for inner in value):
        yield head
        for number, inner in enumerate(value):
            yield from _lines(inner, f"- {number}", depth + 1)
    else:
        yield f"{head} {msgspec.json.encode(value).decode()}".rstrip()


def _frame(document: Workflow) -> dict[str, Any]:
    """The document without its steps."""
    found: dict[str, Any] = msgspec.to_builtins(document)
    found.pop("steps")
    return found


def _fields(old: dict[str, Any], new: dict[str, Any]) -> list[FieldChange]:
    return [
        FieldChange(name, old.get(name), new.get(name))
        for name in dict.fromkeys((*old, *new))
        if _text(old, name) != _text(new, name)
    ]


def _text(fields: dict[str, Any], name: str) -> bytes | None:
    return msgspec.json.encode(fields[name], order="sorted") if name in fields else None

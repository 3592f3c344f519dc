"""A tree of nodes against the shapes in `schemas.workflow`: every difference, in words a user expects.

What fits is built into the structs all the same, with stand-ins for what does not, so that one reading of a
document finds the wrong shapes, the circles and the bad expressions together.
"""

import re
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any, Final

from msgspec import NODEFAULT, Struct, inspect

from orchestrator.core.definition import Path
from orchestrator.document.diagnostics import Diagnostic
from orchestrator.document.nodes import Node
from schemas import workflow
from schemas.workflow import Workflow

__all__ = ["Shape", "fit"]

_BAD: Final = object()

_NOT_YET: Final = {
    "Workflow": ("timeout", "concurrency", "priority"),
    "Trigger": ("schedule",),
    "Step": (
        *(
            "workflow",
            "wait_for",
            "approve",
            "sleep",
            "emit",
            "foreach",
            "max_parallel",
            "rollout",
            "start_within",
        ),
        *("pivot", "on_failure", "on_unknown", "priority"),
    ),
    "Compensate": ("start_within", "on_unknown"),
    "Selector": ("labels", "all"),
}
"""What later versions of the document may say; here it is refused like any unknown field, but by its name."""

_INSTEAD: Final = {
    "action": frozenset({"workflow", "wait_for", "approve", "sleep", "emit"}),
    "target": frozenset({"workflow", "wait_for", "approve", "sleep", "emit"}),
    "event": frozenset({"schedule"}),
    "pool": frozenset({"labels"}),
}
"""Fields of later versions that make a required field unnecessary: its absence is then no second mistake."""

_NAMED: Final = {
    inspect.type_info(kind).pattern: (what, hint)  # type: ignore[attr-defined]
    for kind, what, hint in (
        (workflow.Duration, "a duration", "write a whole number and a unit: 500ms, 30s, 5m, 2h, 1d"),
        (workflow.StepId, "a step's id", "use letters, digits, - and _, beginning with a letter; 63 at most"),
        (
            workflow.WorkflowName,
            "a workflow's name",
            "use letters, digits, - _ and ., beginning with a letter",
        ),
        (workflow.ActionName, "an action's name", "use letters, digits, - _ and ., beginning with a letter"),
        (workflow.EventPattern, "an event's type", "for example com.example.order.placed or com.example.*"),
    )
}


_BASIC: Final[dict[type[inspect.Type], tuple[Any, str]]] = {
    inspect.NoneType: (type(None), "nothing"),
    inspect.BoolType: (bool, "true or false"),
    inspect.StrType: (str, "text"),
    inspect.IntType: (int, "a whole number"),
    inspect.FloatType: (int | float, "a number"),
    inspect.ListType: (list, "a list"),
    inspect.DictType: (dict, "a map"),
    inspect.StructType: (dict, "a map"),
}
"""The Python types that fit, and the words for them."""


class Shape:
    """What came of a document: the struct, the diagnostics, and the paths where stand-ins stand."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.found: list[Diagnostic] = []
        self.wrong: set[Path] = set()
        self.document: Any = None

    def covers(self, path: Path) -> bool:
        """Whether something at or above `path` was found wrong, so that more would only repeat it."""
        return any(path[:length] in self.wrong for length in range(len(path) + 1))

    @property
    def order_unsure(self) -> bool:
        """Whether some step does not say as it should what it needs."""
        return any(path[2:3] == ("needs",) for path in self.wrong)


def fit(root: Node, file: str, kind: type[Struct] = Workflow) -> Shape:
    """Fit a document's root node into `kind`; `document` is None only when it is no map at all."""
    fitter = _Fitter(Shape(file))
    value = fitter.value(root, inspect.type_info(kind), ())
    if value is not _BAD:
        fitter.shape.document = value
    return fitter.shape


class _Fitter:
    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self._further: dict[type[inspect.Type], Callable[[Node, Any, Path], Any]] = {
            inspect.StructType: self._struct,
            inspect.ListType: self._list,
            inspect.DictType: self._map,
            inspect.StrType: self._text,
            inspect.IntType: self._number,
            inspect.FloatType: self._number,
        }

    def _wrong(self, node: Node, path: Path, message: str, hint: str = "") -> Any:
        self.shape.found.append(Diagnostic(self.shape.file, node.line, node.column, message, hint, path))
        self.shape.wrong.add(path)
        return _BAD

    def value(self, node: Node, kind: inspect.Type, path: Path) -> Any:
        """The node's value as `kind`, or `_BAD` when it does not fit, which is then recorded."""
        if node.bad:
            self.shape.wrong.add(path)
            return _BAD
        options = _options(kind)
        fitting = [option for option in options if _accepts(node.data, option)]
        if not fitting:
            return self._unexpected(node, options, path)
        fit_further = self._further.get(type(fitting[0]))
        return node.data if fit_further is None else fit_further(node, fitting[0], path)

    def _unexpected(self, node: Node, options: list[inspect.Type], path: Path) -> Any:
        """Record that the node has none of the basic types it may have."""
        named = [option for option in options if not isinstance(option, inspect.NoneType)]
        first = named[0]
        hint = ""
        if isinstance(node.data, dict | list) or node.data is None:
            pass
        elif isinstance(first, inspect.StrType):
            hint = _NAMED[first.pattern][1] if first.pattern in _NAMED else "put it in quotes"
        elif isinstance(first, inspect.BoolType) and node.data in ("yes", "on", "no", "off"):
            hint = f"in YAML 1.2 '{node.data}' is text"
        expected = " or ".join(_expected(option) for option in named)
        return self._wrong(node, path, f"expected {expected}, got {_got(node.data)}", hint)

    def _struct(self, node: Node, kind: inspect.StructType, path: Path) -> Any:
        entries = node.entries or {}
        fields = {field.encode_name: field for field in kind.fields}
        values = {}
        for name, (key, value) in entries.items():
            if name in fields:
                fitted = self.value(value, fields[name].type, (*path, name))
                if fitted is not _BAD:
                    values[fields[name].name] = fitted
                elif name == "id" and isinstance(value.data, str):
                    values["id"] = value.data  # others may refer to it, wrong as it is
            else:
                self._unknown(key, kind, path)
        for name, field in fields.items():
            if field.name not in values and field.required:
                values[field.name] = _stand_in(name, path)
                self.shape.wrong.add((*path, name))
                if name not in entries and not _INSTEAD.get(name, frozenset()) & entries.keys():
                    self._wrong(node, (*path, name), f"missing field '{name}'")
        return kind.cls(**values)

    def _unknown(self, key: Node, kind: inspect.StructType, path: Path) -> None:
        name = str(key.data)
        if name in _NOT_YET.get(kind.cls.__name__, ()):
            self._wrong(key, (*path, name), f"unknown field '{name}': not supported by this version")
            return
        known = [field.encode_name for field in kind.fields]
        near = get_close_matches(name, known, 1)
        hint = f"did you mean '{near[0]}'?" if near else f"known here: {', '.join(known)}"
        self._wrong(key, (*path, name), f"unknown field '{_cut(name)}'", hint)

    def _list(self, node: Node, kind: inspect.ListType, path: Path) -> Any:
        items = node.items or []
        if kind.min_length is not None and len(items) < kind.min_length:
            return self._wrong(node, path, f"expected at least {kind.min_length} entry, got none")
        if kind.max_length is not None and len(items) > kind.max_length:
            return self._wrong(node, path, f"{len(items)} entries, more than the limit of {kind.max_length}")
        fitted = []
        for i, item in enumerate(items):
            value = self.value(item, kind.item_type, (*path, i))
            if value is _BAD and isinstance(kind.item_type, inspect.StructType):
                value = self._blank(kind.item_type, (*path, i))
            if value is not _BAD:
                fitted.append(value)
        return fitted

    def _map(self, node: Node, kind: inspect.DictType, path: Path) -> Any:
        """A map of any keys, whose values have a shape unless they may be anything."""
        if isinstance(kind.value_type, inspect.AnyType):
            return node.data
        values = {
            name: self.value(value, kind.value_type, (*path, name))
            for name, (_, value) in (node.entries or {}).items()
        }
        return {name: value for name, value in values.items() if value is not _BAD}

    def _blank(self, kind: inspect.StructType, path: Path) -> Any:
        """A struct of stand-ins, so that the entries after it keep their places."""
        required = [field for field in kind.fields if field.default is NODEFAULT and field.required]
        return kind.cls(**{field.name: _stand_in(field.encode_name, path) for field in required})

    def _text(self, node: Node, kind: inspect.StrType, path: Path) -> Any:
        text = node.data
        if kind.min_length is not None and len(text) < kind.min_length:
            return self._wrong(node, path, "must not be empty")
        if kind.max_length is not None and len(text) > kind.max_length:
            return self._wrong(node, path, f"longer than {kind.max_length} characters")
        if kind.pattern is not None and re.search(kind.pattern, text) is None:
            what, hint = _NAMED.get(kind.pattern, ("what is expected here", ""))
            return self._wrong(node, path, f"'{_cut(text)}' is not {what}", hint)
        return text

    def _number(self, node: Node, kind: inspect.IntType | inspect.FloatType, path: Path) -> Any:
        if kind.ge is not None and node.data < kind.ge:
            return self._wrong(node, path, f"{node.data} is less than {kind.ge}")
        if kind.le is not None and node.data > kind.le:
            return self._wrong(node, path, f"{node.data} is more than {kind.le}")
        return float(node.data) if isinstance(kind, inspect.FloatType) else node.data


def _stand_in(name: str, path: Path) -> Any:
    """Something in the place of a required field that is missing or wrong."""
    return [] if name == "steps" else f"?{path[-1]}" if name == "id" and path else "?"


def _options(kind: inspect.Type) -> list[inspect.Type]:
    """The types that a value may have, without what is said about them."""
    if isinstance(kind, inspect.Metadata):
        return _options(kind.type)
    if isinstance(kind, inspect.UnionType):
        return [simple for option in kind.types for simple in _options(option)]
    return [kind]


def _accepts(value: Any, kind: inspect.Type) -> bool:
    """Whether `value` has the basic type of `kind`."""
    if isinstance(kind, inspect.AnyType):
        return True
    accepted = _BASIC[type(kind)][0]
    return isinstance(value, accepted) and (not isinstance(value, bool) or accepted is bool)


def _expected(kind: inspect.Type) -> str:
    """What is expected, in words."""
    if isinstance(kind, inspect.StrType) and kind.pattern in _NAMED:
        return _NAMED[kind.pattern][0]
    return _BASIC[type(kind)][1]


def _got(value: Any) -> str:
    """What is there instead, in words."""
    if isinstance(value, str):
        return f"text '{_cut(value)}'"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"the number {value}"
    return "nothing" if value is None else "a list" if isinstance(value, list) else "a map"


def _cut(text: str, limit: int = 60) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"

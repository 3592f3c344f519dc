"""A tree of nodes against the shapes in `schemas.workflow`: every difference, in words a user expects.

What fits is built into the structs all the same, with stand-ins for what does not, so that one reading of a
document finds the wrong shapes, the circles and the bad expressions together.
"""

import re
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any, Final

from msgspec import Struct, inspect

from orchestrator.core.definition import Path
from orchestrator.document.diagnostics import Diagnostic
from orchestrator.document.nodes import Node
from schemas import workflow
from schemas.workflow import Workflow

__all__ = ["Shape", "fit"]

_BAD: Final = object()

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
        (workflow.EventType, "an event's type", "for example com.example.order.placed"),
        (workflow.Share, "a part in percent", "write 1% to 100%, or a number of hosts"),
    )
}

_DO: Final = {
    "sleep": "write a whole number and a unit: 500ms, 30s, 5m, 2h, 1d",
    "steps": "split it: a step can start another workflow, by workflow: NAME",
}
"""What to do where the shape alone does not tell: hints by the field's name."""

_BASIC: Final[dict[type[inspect.Type], tuple[Any, str]]] = {
    inspect.NoneType: (type(None), "nothing"),
    inspect.BoolType: (bool, "true or false"),
    inspect.StrType: (str, "text"),
    inspect.IntType: (int, "a whole number"),
    inspect.FloatType: (int | float, "a number"),
    inspect.ListType: (list, "a list"),
    inspect.DictType: (dict, "a map"),
    inspect.StructType: (dict, "a map"),
    inspect.LiteralType: (str, "one of some words"),
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
            inspect.LiteralType: self._word,
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
        if isinstance(first, inspect.StructType):
            hint = f"write {{{', '.join(f'{one.encode_name}: …' for one in first.fields if one.required)}}}"
        elif isinstance(node.data, dict | list) or node.data is None:
            pass
        elif isinstance(first, inspect.StrType):
            usual = _NAMED[first.pattern][1] if first.pattern in _NAMED else "put it in quotes"
            hint = _DO.get(str(path[-1]), usual) if path else usual
        elif isinstance(first, inspect.BoolType) and node.data in ("yes", "on", "no", "off"):
            hint = f"in YAML 1.2 '{node.data}' is text"
        expected = " or ".join(dict.fromkeys(_expected(option) for option in named))
        return self._wrong(node, path, f"expected {expected}, got {_got(node.data)}", hint)

    def _struct(self, node: Node, kind: inspect.StructType, path: Path) -> Any:
        entries = node.entries or {}
        fields = {field.encode_name: field for field in kind.fields}
        values: dict[str, Any] = {}
        for name, (key, value) in entries.items():
            if name in fields:
                self._field(value, fields[name], (*path, name), values)
            elif meant := self._unknown(key, kind, path):
                self.shape.wrong.add((*path, meant))  # it counts as there
                values.setdefault(fields[meant].name, _stand_in(fields[meant], path))
        for name, field in fields.items():
            if field.required and field.name not in values:
                values[field.name] = _stand_in(field, path)
                self._wrong(node, (*path, name), f"missing field '{name}'")
        return kind.cls(**values)

    def _field(self, node: Node, field: inspect.Field, path: Path, values: dict[str, Any]) -> None:
        """Put the field's value, or something in its place, among `values`."""
        kind = field.type
        if field.encode_name in workflow.STEP_KINDS:
            kind = _given(kind)  # `approve:` with nothing behind it is no step that does nothing
        fitted = self.value(node, kind, path)
        if fitted is not _BAD:
            values[field.name] = fitted
        elif field.encode_name == "id" and isinstance(node.data, str):
            values[field.name] = node.data  # others may refer to it, wrong as it is
        elif field.required or field.default is None:
            values[field.name] = _stand_in(field, path[:-1])  # wrong, but there

    def _unknown(self, key: Node, kind: inspect.StructType, path: Path) -> str:
        """Record an unknown field; gives the one that was meant, if that can be seen."""
        name = str(key.data)
        known = [field.encode_name for field in kind.fields]
        near = get_close_matches(name, known, 1)
        hint = f"did you mean '{near[0]}'?" if near else f"known here: {', '.join(known)}"
        self._wrong(key, (*path, name), f"unknown field '{_cut(name)}'", hint)
        return near[0] if near else ""

    def _list(self, node: Node, kind: inspect.ListType, path: Path) -> Any:
        items = node.items or []
        if not self._has_length(node, len(items), kind, path):
            return _BAD
        fitted = []
        for i, item in enumerate(items):
            value = self.value(item, kind.item_type, (*path, i))
            if value is _BAD and isinstance(kind.item_type, inspect.StructType):
                value = _blank(kind.item_type, (*path, i))  # so that the entries after it keep their places
            if value is not _BAD:
                fitted.append(value)
        return fitted

    def _has_length(
        self, node: Node, length: int, kind: inspect.ListType | inspect.DictType, path: Path
    ) -> bool:
        """Whether there are neither too few entries nor too many; says so when not."""
        if kind.min_length is not None and length < kind.min_length:
            self._wrong(node, path, f"expected at least {kind.min_length} entry, got none")
            return False
        if kind.max_length is not None and length > kind.max_length:
            message = f"{length} entries, more than the limit of {kind.max_length}"
            self._wrong(node, path, message, _DO.get(str(path[-1]), ""))
            return False
        return True

    def _map(self, node: Node, kind: inspect.DictType, path: Path) -> Any:
        """A map of any keys, whose values have a shape unless they may be anything."""
        entries = node.entries or {}
        if not self._has_length(node, len(entries), kind, path):
            return _BAD
        if isinstance(kind.value_type, inspect.AnyType):
            return node.data
        values = {
            name: self.value(value, kind.value_type, (*path, name)) for name, (_, value) in entries.items()
        }
        return {name: value for name, value in values.items() if value is not _BAD}

    def _text(self, node: Node, kind: inspect.StrType, path: Path) -> Any:
        text = node.data
        if kind.min_length is not None and len(text) < kind.min_length:
            return self._wrong(node, path, "must not be empty")
        if kind.max_length is not None and len(text) > kind.max_length:
            hint = "split it: give a step an output and use that" if _is_expression(kind) else ""
            return self._wrong(node, path, f"longer than {kind.max_length} characters", hint)
        if kind.pattern is not None and re.search(kind.pattern, text) is None:
            what, hint = _NAMED.get(kind.pattern, ("what is expected here", ""))
            return self._wrong(node, path, f"'{_cut(text)}' is not {what}", hint)
        return text

    def _word(self, node: Node, kind: inspect.LiteralType, path: Path) -> Any:
        if node.data in kind.values:
            return node.data
        near = get_close_matches(node.data, [str(value) for value in kind.values], 1)
        hint = f"did you mean '{near[0]}'?" if near else ""
        return self._wrong(node, path, f"'{_cut(node.data)}' is not {_expected(kind)}", hint)

    def _number(self, node: Node, kind: inspect.IntType | inspect.FloatType, path: Path) -> Any:
        if kind.ge is not None and node.data < kind.ge:
            return self._wrong(node, path, f"{node.data} is less than {kind.ge}")
        if kind.le is not None and node.data > kind.le:
            return self._wrong(node, path, f"{node.data} is more than {kind.le}")
        return float(node.data) if isinstance(kind, inspect.FloatType) else node.data


def _stand_in(field: inspect.Field, path: Path) -> Any:
    """Something in the place of a field of what stands at `path`, where it is missing or wrong."""
    if field.encode_name == "id" and path:
        return f"?{path[-1]}"
    kind = _options(_given(field.type))[0]
    if isinstance(kind, inspect.StructType):
        return _blank(kind, (*path, field.encode_name))
    simple = {inspect.ListType: [], inspect.DictType: {}, inspect.IntType: 1, inspect.FloatType: 1.0}
    return simple.get(type(kind), "?")


def _blank(kind: inspect.StructType, path: Path) -> Any:
    """A struct of stand-ins."""
    return kind.cls(**{field.name: _stand_in(field, path) for field in kind.fields if field.required})


def _given(kind: inspect.Type) -> inspect.Type:
    """The type without `null`, which only means that a field is absent."""
    options = [option for option in _options(kind) if not isinstance(option, inspect.NoneType)]
    return options[0] if len(options) == 1 else inspect.UnionType(tuple(options))


def _is_expression(kind: inspect.StrType) -> bool:
    return kind.max_length == workflow.MAX_EXPRESSION


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
    if isinstance(kind, inspect.LiteralType):
        return f"one of {', '.join(str(value) for value in kind.values)}"
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
    text = re.sub(r"\s", " ", text)
    return text if len(text) <= limit else text[: limit - 1] + "…"

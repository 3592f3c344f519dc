"""Templates: JSON values whose strings may hold `${{ CEL }}`.

A string that is nothing but one expression (spaces around it do not count) gives the expression's value.
Any other gives text: strings go in as they are, numbers and booleans as JSON writes them; a list, a map or
null in the middle of text is an error. `$${{` gives the text `${{`. Keys are never templates, and what an
expression gives is never looked at for expressions again.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol, Self

import msgspec

from orchestrator.core.expressions import Expression, ExpressionError, Fault
from orchestrator.core.lexing import Mention, split_template
from schemas.codec import MAX_DEPTH

__all__ = ["Template"]

_ROOM: Final = MAX_DEPTH - 4
_MAX_FAULTS: Final = 100
_MAX_EXPRESSIONS: Final = 1_000
Path = tuple[str | int, ...]


class _Plan(Protocol):
    """How one part of a template is made; `room` is how many levels it may have."""

    def render(self, scope: Mapping[str, Any], room: int) -> Any: ...


class Template:
    """A compiled template. Make one with `compile`."""

    __slots__ = ("_plan", "mentions", "references")

    mentions: tuple[tuple[Path, Mention], ...]
    """Each use of a step, with its place: the path in the value, and the offset in the string."""
    references: frozenset[str]
    """Ids of the steps it reads."""

    def __init__(self, plan: _Plan, found: tuple[tuple[Path, Mention], ...]) -> None:
        self._plan = plan
        self.mentions = found
        self.references = frozenset(mention.step for _, mention in found if mention.step is not None)

    @classmethod
    def compile(cls, value: Any, scope: frozenset[str]) -> Self:
        """Compile `value`; its expressions may use the names in `scope`. `ExpressionError` has all faults."""
        compiler = _Compiler(scope)
        plan = compiler.compile(value, ())
        if compiler.faults:
            raise ExpressionError(*compiler.faults)
        return cls(plan, tuple(compiler.mentions))

    @property
    def is_constant(self) -> bool:
        """Whether it holds no expression: rendering it costs nothing and cannot fail."""
        return isinstance(self._plan, _Constant)

    def render(self, scope: Mapping[str, Any]) -> Any:
        """The value with every expression evaluated; `ExpressionError` when one fails.

        Parts without expressions are shared between renderings: do not change the result.
        """
        return self._plan.render(scope, _ROOM)

    def render_text(self, scope: Mapping[str, Any]) -> str:
        """The value, which must be text that is not empty."""
        value = self.render(scope)
        if not isinstance(value, str) or not value:
            what = "empty text" if value == "" else "no text"
            raise ExpressionError(Fault(f"the template gives {what}, where a name is needed"))
        return value


@dataclass(frozen=True, slots=True)
class _Constant:
    value: Any

    def render(self, scope: Mapping[str, Any], room: int) -> Any:  # noqa: ARG002 - as every plan
        return self.value


@dataclass(frozen=True, slots=True)
class _Value:
    expression: Expression

    def render(self, scope: Mapping[str, Any], room: int) -> Any:
        return self.expression.evaluate(scope, room)


@dataclass(frozen=True, slots=True)
class _Text:
    parts: tuple[str | Expression, ...]

    def render(self, scope: Mapping[str, Any], room: int) -> str:  # noqa: ARG002 - as every plan
        return "".join(part if isinstance(part, str) else _as_text(part, scope) for part in self.parts)


@dataclass(frozen=True, slots=True)
class _List:
    items: tuple[_Plan, ...]

    def render(self, scope: Mapping[str, Any], room: int) -> list[Any]:
        return [item.render(scope, room - 1) for item in self.items]


@dataclass(frozen=True, slots=True)
class _Map:
    items: tuple[tuple[str, _Plan], ...]

    def render(self, scope: Mapping[str, Any], room: int) -> dict[str, Any]:
        return {key: item.render(scope, room - 1) for key, item in self.items}


def _as_text(expression: Expression, scope: Mapping[str, Any]) -> str:
    """The expression's value as a part of some text."""
    value = expression.evaluate(scope)
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float):
        return msgspec.json.encode(value).decode()
    kind = "null" if value is None else "a list" if isinstance(value, list) else "a map"
    raise ExpressionError(
        Fault(
            f"gives {kind}, which cannot stand inside text, in: {expression.source.strip()}",
            "let the whole value be the one expression, or pick the part that is text",
        )
    )


class _Compiler:
    """Walks a value once, gathering faults and mentions on the way."""

    def __init__(self, scope: frozenset[str]) -> None:
        self.scope = scope
        self.faults: list[Fault] = []
        self.expressions = 0
        self.mentions: list[tuple[Path, Mention]] = []

    def compile(self, value: Any, path: Path) -> _Plan:
        """The plan for `value`, which stands at `path`."""
        if len(path) > _ROOM:
            self.faults.append(Fault(f"nested deeper than {_ROOM} levels", path=path))
            return _Constant(None)
        if isinstance(value, str):
            return self._text(value, path)
        if isinstance(value, list):
            items = tuple(self.compile(item, (*path, i)) for i, item in enumerate(value))
            constants = _constants(items)
            return (
                _List(items) if constants is None else _Constant(value if constants == value else constants)
            )
        if isinstance(value, dict):
            pairs = tuple((key, self._entry(key, item, path)) for key, item in value.items())
            values = _constants(plan for _, plan in pairs)
            if values is None:
                return _Map(pairs)
            written = dict(zip(value, values, strict=True))
            return _Constant(value if written == value else written)
        return _Constant(value)

    def _entry(self, key: str, item: Any, path: Path) -> _Plan:
        if "${{" in key:
            self.faults.append(Fault("a key cannot hold an expression", "only values can", path=(*path, key)))
        return self.compile(item, (*path, key))

    def _text(self, text: str, path: Path) -> _Plan:
        if "${{" not in text:
            return _Constant(text)
        parts: list[str | Expression] = []
        for piece in split_template(text):
            if len(self.faults) >= _MAX_FAULTS:
                break
            if isinstance(piece, Fault):
                self.faults.append(Fault(piece.message, piece.hint, piece.offset, path))
                continue
            content, offset, is_expression = piece
            part = self._expression(content, offset, path) if is_expression else content
            if part is not None:
                parts.append(part)
        whole = [part for part in parts if not (isinstance(part, str) and part.isspace())]
        if len(whole) == 1 and isinstance(whole[0], Expression):
            return _Value(whole[0])
        if all(isinstance(part, str) for part in parts):
            return _Constant("".join(part for part in parts if isinstance(part, str)))
        return _Text(tuple(parts))

    def _expression(self, source: str, offset: int, path: Path) -> Expression | None:
        self.expressions += 1
        if self.expressions > _MAX_EXPRESSIONS:
            if self.expressions == _MAX_EXPRESSIONS + 1:
                message = f"more than {_MAX_EXPRESSIONS} expressions in one template"
                hint = "make it of fewer, or split the step"
                self.faults.append(Fault(message, hint, offset, path))
            return None
        try:
            expression = Expression.compile(source, self.scope)
        except ExpressionError as error:
            moved = (Fault(fault.message, fault.hint, offset + fault.offset, path) for fault in error.faults)
            self.faults.extend(moved)
            return None
        for mention in expression.mentions:
            self.mentions.append((path, _moved(mention, offset)))
        return expression


def _moved(mention: Mention, offset: int) -> Mention:
    """The mention, seen from the start of the string that the expression stands in."""
    return Mention(mention.step, mention.offset + offset, mention.field, mention.field_offset + offset)


def _constants(plans: Iterable[_Plan]) -> list[Any] | None:
    """What the plans give, if that is known already."""
    found = list(plans)
    values = [plan.value for plan in found if isinstance(plan, _Constant)]
    return values if len(values) == len(found) else None

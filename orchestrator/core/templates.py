"""Templates: JSON values whose strings may hold `${{ CEL }}`.

A string that is nothing but one expression (spaces around it do not count) gives the expression's value.
Any other gives text: strings go in as they are, numbers and booleans as JSON writes them; a list, a map or
null in the middle of text is an error. `$${{` gives the text `${{`. Keys are never templates, and what an
expression gives is never looked at for expressions again.

Where secrets are allowed, `${{ secret("name") }}` may stand alone or in text. Such a string gives null, and
`secrets` says what belongs there: the value itself is known to nobody here.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol, Self

import msgspec

from orchestrator.core.expressions import Expression, ExpressionError, Fault
from orchestrator.core.lexing import Mention, secret_name, split_template
from schemas.codec import MAX_DEPTH
from schemas.errors import InvalidInput
from schemas.names import check_name
from schemas.secrets import SecretName, SecretRef

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

    __slots__ = ("_plan", "_secrets", "expressions", "mentions", "references")

    mentions: tuple[tuple[Path, Mention], ...]
    """Each use of a step, with its place: the path in the value, and the offset in the string."""
    references: frozenset[str]
    """Ids of the steps it reads."""
    expressions: tuple[Expression, ...]

    def __init__(
        self,
        plan: _Plan,
        found: tuple[tuple[Path, Mention], ...],
        secrets: "tuple[_Secret, ...]" = (),
        expressions: tuple[Expression, ...] = (),
    ) -> None:
        self._plan = plan
        self.expressions = expressions
        self._secrets = secrets
        self.mentions = found
        self.references = frozenset(mention.step for _, mention in found if mention.step is not None)

    @classmethod
    def compile(cls, value: Any, scope: frozenset[str], *, secrets: bool = False) -> Self:
        """Compile `value`; its expressions may use the names in `scope`. `ExpressionError` has all faults.

        `secrets`: whether it may name some.
        """
        compiler = _Compiler(scope, secrets=secrets)
        plan = compiler.compile(value, ())
        if compiler.faults:
            raise ExpressionError(*compiler.faults)
        return cls(plan, tuple(compiler.mentions), tuple(compiler.secrets), tuple(compiler.compiled))

    @property
    def is_constant(self) -> bool:
        """Whether it holds no expression: rendering it costs nothing and cannot fail."""
        return isinstance(self._plan, _Constant)

    def render(self, scope: Mapping[str, Any]) -> Any:
        """The value with every expression evaluated; `ExpressionError` when one fails.

        Parts without expressions are shared between renderings: do not change the result.
        """
        return self._plan.render(scope, _ROOM)

    def secrets(self, scope: Mapping[str, Any]) -> list[SecretRef]:
        """What belongs in the places of secrets, where `render` gives null; raises as that does."""
        return [secret.reference(scope) for secret in self._secrets]

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
class _Secret:
    """A string with secrets in it."""

    path: Path
    parts: tuple[str | Expression | SecretName, ...]

    def render(self, scope: Mapping[str, Any], room: int) -> None:  # noqa: ARG002 - as every plan
        return None

    def reference(self, scope: Mapping[str, Any]) -> SecretRef:
        parts = [_as_text(part, scope) if isinstance(part, Expression) else part for part in self.parts]
        return SecretRef(list(self.path), parts)


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

    def __init__(self, scope: frozenset[str], *, secrets: bool) -> None:
        self.scope = scope
        self.allows_secrets = secrets
        self.secrets: list[_Secret] = []
        self.faults: list[Fault] = []
        self.expressions = 0
        self.compiled: list[Expression] = []
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
        parts: list[str | Expression | SecretName] = []
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
        return self._plan(parts, path)

    def _plan(self, parts: list[str | Expression | SecretName], path: Path) -> _Plan:
        """How the text of these parts is made."""
        whole = [part for part in parts if not (isinstance(part, str) and part.isspace())]
        if any(isinstance(part, SecretName) for part in parts):
            self.secrets.append(_Secret(path, tuple(whole if len(whole) == 1 else parts)))
            return self.secrets[-1]
        if len(whole) == 1 and isinstance(whole[0], Expression):
            return _Value(whole[0])
        plain = [part for part in parts if not isinstance(part, SecretName)]
        texts = [part for part in plain if isinstance(part, str)]
        return _Constant("".join(texts)) if len(texts) == len(plain) else _Text(tuple(plain))

    def _expression(self, source: str, offset: int, path: Path) -> Expression | SecretName | None:
        self.expressions += 1
        if self.expressions > _MAX_EXPRESSIONS:
            if self.expressions == _MAX_EXPRESSIONS + 1:
                message = f"more than {_MAX_EXPRESSIONS} expressions in one template"
                hint = "make it of fewer, or split the step"
                self.faults.append(Fault(message, hint, offset, path))
            return None
        if self.allows_secrets and (name := secret_name(source)) is not None:
            return self._secret(name, offset + source.index("secret"), path)
        try:
            expression = Expression.compile(source, self.scope)
        except ExpressionError as error:
            moved = (Fault(fault.message, fault.hint, offset + fault.offset, path) for fault in error.faults)
            self.faults.extend(moved)
            return None
        self.compiled.append(expression)
        for mention in expression.mentions:
            self.mentions.append((path, _moved(mention, offset)))
        return expression

    def _secret(self, name: str, offset: int, path: Path) -> SecretName | None:
        try:
            return SecretName(check_name(name, "name of a secret"))
        except InvalidInput as error:
            self.faults.append(Fault(error.message, error.hint, offset, path))
            return None


def _moved(mention: Mention, offset: int) -> Mention:
    """The mention, seen from the start of the string that the expression stands in."""
    return Mention(mention.step, mention.offset + offset, mention.field, mention.field_offset + offset)


def _constants(plans: Iterable[_Plan]) -> list[Any] | None:
    """What the plans give, if that is known already."""
    found = list(plans)
    values = [plan.value for plan in found if isinstance(plan, _Constant)]
    return values if len(values) == len(found) else None

"""The text of CEL expressions and templates, as far as it must be understood without evaluating it.

Offsets are 0-based, in characters.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from schemas.workflow import MAX_EXPRESSION

__all__ = [
    "Fault",
    "Mention",
    "Token",
    "mentions",
    "names",
    "path_from",
    "plain_path",
    "secret_name",
    "split_template",
    "tokens",
]

_TOKEN: Final = re.compile(
    r"""
    (?P<space>   [\s]+ | //[^\n]* )
  | (?P<string>  (?:[bB]?[rR]|[rR][bB])(?: \"{3}.*?\"{3} | '{3}.*?'{3} | "[^"\n]*" | '[^'\n]*' )
               | [bB]?(?: \"{3}(?:\\.|[^\\])*?\"{3} | '{3}(?:\\.|[^\\])*?'{3}
                        | "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*' ) )
  | (?P<number>  0[xX][0-9a-fA-F]+[uU]? | (?:\d+\.\d+|\d+|\.\d+)(?:[eE][+-]?\d+)?[uU]? )
  | (?P<ident>   [A-Za-z_][A-Za-z0-9_]* | `[^`\n]+` )
  | (?P<other>   . )
    """,
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_SIMPLE_STRING: Final = re.compile(r"""(["'])([^"'\\]*)\1""")
_OPENING: Final = re.compile(r"\$?\$\{\{")


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong in an expression: where (`path` inside the value, `offset` in the string) and what."""

    message: str
    hint: str = ""
    offset: int = 0
    path: tuple[str | int, ...] = ()


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of CEL: `kind` is string, number, ident or other."""

    kind: str
    text: str
    offset: int


@dataclass(frozen=True, slots=True)
class Mention:
    """`steps.<step>.<field>` in an expression; `step` is None when the step cannot be known beforehand."""

    step: str | None
    offset: int
    field: str | None = None
    field_offset: int = 0


def tokens(source: str) -> list[Token]:
    """The tokens of a CEL text; never fails, since what is no token is an `other` of one character."""
    found = []
    for match in _TOKEN.finditer(source):
        kind = match.lastgroup or "other"
        if kind != "space":
            found.append(Token(kind, match[0], match.start()))
    return found


def names(parts: list[Token]) -> list[Token]:
    """The identifiers that are not the field of something: variables and functions."""
    return [part for i, part in enumerate(parts) if part.kind == "ident" and not _selects(parts, i - 1)]


def mentions(parts: list[Token], root: str = "steps") -> list[Mention]:
    """Every use of the map `root`, with the key it is asked for."""
    found = []
    for i, part in enumerate(parts):
        if part.kind == "ident" and part.text == root and not _selects(parts, i - 1):
            key, after = _key(parts, i + 1)
            field, end = _key(parts, after) if key is not None else (None, after)
            offset = parts[end - 1].offset if field is not None else 0
            if field is not None and parts[end - 1].text == "]":
                offset = parts[end - 2].offset
            found.append(Mention(key, part.offset, field, offset))
    return found


def plain_path(parts: list[Token], scope: frozenset[str]) -> tuple[str, ...] | None:
    """`("steps", "a", "output")` for `steps.a.output`; None for all but a path from a name in `scope`."""
    if not parts or parts[0].text not in scope:
        return None
    path = [parts[0].text]
    i = 1
    while i < len(parts):
        key, i = _key(parts, i)
        if key is None:
            return None
        path.append(key)
    return tuple(path)


def path_from(parts: list[Token], i: int) -> tuple[str, ...]:
    """`("input", "a")` for `input.a[n].b`: the name at token `i` and the keys written out behind."""
    path: list[str] = []
    key: str | None = parts[i].text
    i += 1
    while key is not None:
        path.append(key)
        key, i = _key(parts, i)
    return tuple(path)


def secret_name(source: str) -> str | None:
    """The name in `secret("name")`; None for all but exactly this call of a literal."""
    if "secret" not in source:
        return None
    parts = [part.text for part in tokens(source)]
    if len(parts) != 4 or parts[:2] != ["secret", "("] or parts[3] != ")":  # noqa: PLR2004 - secret ( name )
        return None
    literal = _SIMPLE_STRING.fullmatch(parts[2])
    return None if literal is None else literal[2]


def split_template(text: str) -> Iterator[tuple[str, int, bool] | Fault]:
    """The pieces of a template: (text, offset, whether it is an expression). `$${{` is a literal `${{`.

    A `}}` inside a string or a map of the expression does not end it. Ends with a `Fault` when a `${{` is
    not closed within the longest expression allowed.
    """
    position = 0
    literal = ""
    while opening := _OPENING.search(text, position):
        literal += text[position : opening.start()]
        if opening[0].startswith("$$"):
            literal += opening[0][1:]
            position = opening.end()
            continue
        if literal:
            yield literal, 0, False
            literal = ""
        length = _expression_length(text[opening.end() : opening.end() + MAX_EXPRESSION + 2])
        if length is None:
            message = f"'${{{{' is not closed within {MAX_EXPRESSION} characters"
            yield Fault(message, "close it with '}}', or write '$${{' for the text", opening.start())
            return
        yield text[opening.end() : opening.end() + length], opening.end(), True
        position = opening.end() + length + 2
    literal += text[position:]
    if literal:
        yield literal, 0, False


def _expression_length(text: str) -> int | None:
    """How far it is to the `}}` that closes the expression at the start of `text`."""
    depth = 0
    position = 0
    while match := _TOKEN.match(text, position):
        position = match.end()
        if match[0].startswith("//"):
            position = match.start() + 2  # the end of the expression may stand behind it
        elif match[0] == "{":
            depth += 1
        elif match[0] == "}":
            if depth == 0 and text.startswith("}", position):
                return match.start()
            depth -= 1
    return None


def _selects(parts: list[Token], i: int) -> bool:
    """Whether token `i` is the dot of `a.b` (and not that of the absolute name `.b`)."""
    if i < 1 or parts[i].text != ".":
        return False
    before = parts[i - 1]
    return (
        before.kind in ("string", "number")
        or before.text in (")", "]", "}")
        or (before.kind == "ident" and before.text != "in")
    )


def _key(parts: list[Token], i: int) -> tuple[str | None, int]:
    """The key in `.key` or `["key"]` at token `i`, and the token after it; None when there is neither."""
    after = [part.text for part in parts[i : i + 3]]
    if after[:1] == ["."] and len(after) > 1 and parts[i + 1].kind == "ident" and after[2:] != ["("]:
        return after[1].strip("`"), i + 2
    if len(after) == 3 and after[0] == "[" and after[2] == "]":  # noqa: PLR2004 - [ key ]
        literal = _SIMPLE_STRING.fullmatch(after[1])
        if literal is not None:
            return literal[2], i + 3
    return None, i

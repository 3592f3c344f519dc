"""References to secrets: a command says where a secret's value belongs, and only the agent puts it there.

They travel beside the arguments and never in them, so that data from outside cannot ask for a secret.
"""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final

from msgspec import Meta, Struct

from schemas.errors import InvalidInput
from schemas.names import NAME_PATTERN

__all__ = ["MAX_FILLED", "SecretName", "SecretRef", "fill"]

MAX_FILLED: Final = 1024 * 1024
"""Most characters that all references of a command may give together."""


class SecretName(Struct, frozen=True, forbid_unknown_fields=True):
    """The secret that an agent knows by this name."""

    name: Annotated[str, Meta(pattern=NAME_PATTERN)]


class SecretRef(Struct, frozen=True, forbid_unknown_fields=True):
    """One text in which secrets stand. `path` leads to its place in the arguments, where null stands now.

    The `parts` one after the other are the text: some as it is, and the values of secrets.
    """

    path: Annotated[list[str | int], Meta(min_length=1, max_length=64)]
    parts: Annotated[list[str | SecretName], Meta(min_length=1, max_length=2_001)]


def fill(
    args: dict[str, Any], secrets: Sequence[SecretRef], value_of: Callable[[str], str]
) -> dict[str, Any]:
    """`args` with every reference's text in its place; `args` itself is not changed.

    Raises `InvalidInput` with the code `bad_reference` for a path that does not lead to a null, and for more
    than `MAX_FILLED` characters; and whatever `value_of` raises for a name that it does not know.
    """
    filled: Any = args
    room = MAX_FILLED
    for secret in secrets:
        text = "".join(part if isinstance(part, str) else value_of(part.name) for part in secret.parts)
        room -= len(text)
        if room < 0:
            message = f"the texts with secrets have more than {MAX_FILLED} characters"
            raise InvalidInput(message, code="bad_reference", hint="pass on fewer, or shorter ones")
        filled = _placed(filled, secret.path, 0, text)
    return dict(filled)


def _placed(value: Any, path: list[str | int], depth: int, text: str) -> Any:
    """A copy of `value` with `text` where the rest of the path leads; what is beside it is shared."""
    if depth == len(path):
        if value is None:
            return text
    elif isinstance(value, dict) and (key := path[depth]) in value:
        return {**value, key: _placed(value[key], path, depth + 1, text)}
    elif isinstance(value, list) and isinstance(at := path[depth], int) and 0 <= at < len(value):
        return [*value[:at], _placed(value[at], path, depth + 1, text), *value[at + 1 :]]
    place = ".".join(str(key) for key in path)
    raise InvalidInput(
        f"a secret is to be put where none belongs: args.{place}"[:500],
        code="bad_reference",
        hint="a reference names a place of the arguments that holds null",
    )

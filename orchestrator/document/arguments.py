"""What an action's announced JSON Schema has against its arguments in a document, where they are text."""

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any, Final, NamedTuple

from jsonschema import Draft202012Validator, ValidationError
from referencing import Registry

from orchestrator.core.definition import Path

__all__ = ["Misfit", "misfits"]

_MAX_MISFITS: Final = 20
_MAX_TEXT: Final = 200
_AROUND: Final = frozenset(
    ("type", "required", "additionalProperties", "minProperties", "maxProperties", "minItems", "maxItems")
)
"""Keywords that can be judged of a list or map although expressions are inside it."""


class Misfit(NamedTuple):
    """One thing wrong, at `path` in the arguments. No path: the schema itself is of no use."""

    path: Path | None
    message: str
    hint: str = ""


def misfits(
    schema: Mapping[str, Any],
    arguments: Mapping[str, Any],
    is_template: Callable[[str], bool],
    is_secret: Callable[[str], bool],
) -> list[Misfit]:
    """What does not fit (at most 20). Of text for which `is_template` holds the value is not known.

    Nor is it where `is_secret` holds, but that it will be text.
    The schema comes from an agent: no reference in it is followed outside of it.
    """
    unknown = frozenset(_templates(arguments, (), is_template))
    secrets = frozenset(_templates(arguments, (), is_secret))
    try:
        errors = Draft202012Validator(schema, registry=Registry()).iter_errors(arguments)
        found = (misfit for error in errors for misfit in _judge(error, unknown, secrets))
        return list(dict.fromkeys(islice(found, _MAX_MISFITS)))
    except Exception as error:  # noqa: BLE001 - what an agent's author wrote; nothing to do with the document
        return [Misfit(None, f"its schema cannot be used ({type(error).__name__})")]


def _templates(value: Any, path: Path, is_template: Callable[[str], bool]) -> Iterator[Path]:
    if isinstance(value, str):
        if is_template(value):
            yield path
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _templates(item, (*path, key), is_template)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _templates(item, (*path, index), is_template)


def _judge(error: ValidationError, unknown: frozenset[Path], secrets: frozenset[Path]) -> Iterator[Misfit]:
    """An error as what is wrong, unless it may only be there because a value is not known."""
    path: Path = tuple(error.absolute_path)
    if path in secrets and error.validator == "type":
        yield Misfit(path, f"a secret is text, not {error.validator_value}", "let the action take it as text")
    if any(path[: len(place)] == place for place in unknown):
        return
    if error.validator not in _AROUND and any(place[: len(path)] == path for place in unknown):
        return
    if error.validator == "additionalProperties" and error.validator_value is False:
        schema: Any = error.schema
        given: Any = error.instance
        known = schema.get("properties", {})
        hint = f"there are: {', '.join(known)}" if known else "there are none"
        for key in given:
            if key not in known:
                yield Misfit((*path, key), f"there is no argument '{key}'", hint)
    else:
        yield Misfit(path, _cut(error.message))


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 1] + "…"

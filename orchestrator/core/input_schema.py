"""The JSON Schema (draft 2020-12) of a run's input.

References lead inside the schema only: nothing is ever fetched. `pattern` runs on Python's regular
expressions, which a pattern like `(a+)+$` can keep busy for very long: whoever may store a workflow document
is trusted that far, as with expressions.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

from jsonschema import Draft202012Validator, ValidationError
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from orchestrator.core.lexing import Fault

__all__ = ["InputSchema", "check_schema"]

_MAX_PROBLEMS: Final = 20
_MAX_TEXT: Final = 200
_DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
_HOLDS_DATA: Final = ("const", "enum", "default", "examples")


class InputSchema:
    """A schema that `check_schema` found nothing wrong with, ready for use."""

    __slots__ = ("_validator",)

    def __init__(self, schema: dict[str, Any]) -> None:
        self._validator = Draft202012Validator(schema, registry=Registry()) if schema else None

    def check(self, value: Any) -> list[str]:
        """What is wrong with `value`, one readable line each (at most 20); empty when it fits."""
        if self._validator is None:
            return []
        try:
            return [_line(error) for error in islice(self._validator.iter_errors(value), _MAX_PROBLEMS)]
        except RecursionError:
            return ["the input cannot be checked: the schema refers to itself without end"]
        except Exception as error:  # noqa: BLE001 - what only a $ref reaches is checked by no meta-schema
            return [f"the input cannot be checked: {_cut(str(error))}"]


def check_schema(schema: dict[str, Any]) -> list[Fault]:
    """Every fault of the schema itself, with its path. A `$ref` that leads out of it is one."""
    meta = Draft202012Validator(
        Draft202012Validator.META_SCHEMA, format_checker=Draft202012Validator.FORMAT_CHECKER
    )
    return [_keyword_fault(error) for error in meta.iter_errors(schema)] or list(_reference_faults(schema))


def _keyword_fault(error: ValidationError) -> Fault:
    """What the meta-schema has against a keyword."""
    path = tuple(error.absolute_path)
    if path[-1:] == ("type",):
        types = "string, number, integer, boolean, object, array and null"
        return Fault(f"{_cut(repr(error.instance))} is not a type", f"there are {types}", path=path)
    if error.validator == "format":
        return Fault(f"{_cut(repr(error.instance))} is not a valid {error.validator_value}", path=path)
    return Fault(_cut(error.message), path=path)


def _reference_faults(schema: dict[str, Any]) -> Iterator[Fault]:
    """References that lead nowhere, or out of the document."""
    if schema.get("$schema", _DRAFT).rstrip("#") != _DRAFT:
        yield Fault(f"only the draft {_DRAFT} is supported", "leave $schema out", path=("$schema",))
        return
    resolver = Registry().resolver_with_root(DRAFT202012.create_resource(schema))
    for path, reference in _references(schema, ()):
        if not reference.startswith("#"):
            message = f"'{_cut(reference)}' leads out of this document"
            yield Fault(message, "write the schema under $defs and refer to '#/$defs/…'", path=path)
            continue
        try:
            is_schema = isinstance(resolver.lookup(reference).contents, dict | bool)
        except Unresolvable:
            is_schema = False
        if not is_schema:
            yield Fault(f"'{_cut(reference)}' leads to no schema", "refer to '#/$defs/…'", path=path)


def _references(value: Any, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Every `$ref` and `$dynamicRef` that is a keyword, with its path."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key in ("$ref", "$dynamicRef") and isinstance(item, str):
                yield (*path, key), item
            elif key not in _HOLDS_DATA:
                yield from _references(item, (*path, key))
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from _references(item, (*path, i))


def _line(error: ValidationError) -> str:
    """`input.url: 'x' is too short`."""
    place = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in error.absolute_path)
    return f"input{_cut(place)}: {_cut(error.message)}"


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 1] + "…"

"""The JSON Schema of a run's input."""

from typing import Any

import pytest

from tests.support.definitions import compile_, problem, step

pytestmark = pytest.mark.unit


SCHEMA = {
    "type": "object",
    "required": ["url"],
    "properties": {
        "url": {"type": "string"},
        "next": {"$ref": "#"},
        "tags": {"items": {"$ref": "#/$defs/tag"}},
    },
    "$defs": {"tag": {"enum": ["a", "b"]}},
}


def test_input_is_checked() -> None:
    """Each misfit is one readable line with its path; what fits gives none."""
    definition = compile_(step("a"), input=SCHEMA)
    assert definition.check_input({"url": "x", "next": {"url": "y"}, "tags": ["a"]}) == []
    assert definition.check_input({"url": 5, "next": {}, "tags": ["a", "c"]}) == [
        "input.url: 5 is not of type 'string'",
        "input.next: 'url' is a required property",
        "input.tags[1]: 'c' is not one of ['a', 'b']",
    ]
    assert definition.check_input(None) == ["input: None is not of type 'object'"]


def test_no_schema_takes_anything() -> None:
    """Without a schema every input fits."""
    assert compile_(step("a")).check_input({"x": [1]}) == []


def test_problems_with_the_input_are_limited() -> None:
    """Neither many problems nor a long value makes a long answer."""
    definition = compile_(step("a"), input={"items": {"type": "string", "maxLength": 1}})
    lines = definition.check_input([1] * 1000)
    assert len(lines) == 20
    assert all(len(line) < 500 for line in definition.check_input(["x" * 100_000]))


@pytest.mark.parametrize(
    ("schema", "path", "message"),
    [
        ({"type": "objekt"}, ("type",), "'objekt' is not a type"),
        ({"properties": {"x": {"pattern": "("}}}, ("properties", "x", "pattern"), "'(' is not a valid regex"),
        ({"required": "x"}, ("required",), "'x' is not of type 'array'"),
        ({"minimum": "1"}, ("minimum",), "'1' is not of type 'number'"),
        (
            {"$ref": "https://example.com/s.json"},
            ("$ref",),
            "'https://example.com/s.json' leads out of this document",
        ),
        (
            {"items": {"$ref": "file:///etc/passwd"}},
            ("items", "$ref"),
            "'file:///etc/passwd' leads out of this document",
        ),
        ({"$ref": "#/$defs/x"}, ("$ref",), "'#/$defs/x' leads to no schema"),
        ({"required": ["a"], "$ref": "#/required"}, ("$ref",), "'#/required' leads to no schema"),
        ({"$ref": "#nope"}, ("$ref",), "'#nope' leads to no schema"),
        (
            {"$schema": "http://json-schema.org/draft-07/schema#"},
            ("$schema",),
            "only the draft https://json-schema.org/draft/2020-12/schema is supported",
        ),
    ],
)
def test_bad_schemas(schema: dict[str, Any], path: tuple[str, ...], message: str) -> None:
    """The schema itself is checked, and nothing outside the document is ever referred to."""
    assert problem(step("a"), input=schema)[:2] == (("input", *path), message)


@pytest.mark.parametrize(
    "schema",
    [
        {"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object"},
        {"$id": "https://example.com/x", "$ref": "#/$defs/a", "$defs": {"a": True}},
        {"$ref": "#a", "$defs": {"x": {"$anchor": "a"}}},
        {"properties": {"$ref": {"type": "string"}}, "default": {"$ref": "https://example.com"}},
    ],
)
def test_good_schemas(schema: dict[str, Any]) -> None:
    """References inside the document work; `$ref` as a property's name or inside data is no reference."""
    assert compile_(step("a"), input=schema).check_input({}) == []


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"$ref": "#/x-mine", "x-mine": {"type": 5}},
        {"$ref": "#/x-mine", "x-mine": {"items": 3}},
    ],
)
def test_schemas_that_break_in_use(schema: dict[str, Any]) -> None:
    """What no check of the schema finds is a problem of the input, not a crash."""
    (line,) = compile_(step("a"), input=schema).check_input([1])
    assert line.startswith("the input cannot be checked")

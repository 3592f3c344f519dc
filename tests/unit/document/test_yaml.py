"""Reading YAML: the core schema of 1.2, and nothing that could do harm."""

import time
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from orchestrator.document import check_text
from orchestrator.document.nodes import MAX_BYTES, MAX_DEPTH, Node, parse

pytestmark = pytest.mark.unit

ANCHOR = "anchors and aliases are not supported"
NO_NUMBER = "is not a number that JSON can hold"
TWICE = "'a' is here twice, first on line"


def data(text: str) -> Any:
    """What `text` means; it must have nothing wrong."""
    root, found = parse(text, "f.yaml")
    assert found == []
    assert root is not None
    return root.data


def wrong(text: str) -> list[tuple[int, int, str]]:
    """Line, column and message of all that is wrong with `text` as YAML."""
    return [(one.line, one.column, one.message) for one in parse(text, "f.yaml")[1]]


@pytest.mark.parametrize(
    ("scalar", "value"),
    [
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("Off", "Off"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("12", 12),
        ("-3", -3),
        ("+3", 3),
        ("017", 17),
        ("0o17", 15),
        ("0xfF", 255),
        ("1_000", "1_000"),
        ("0b11", "0b11"),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1.", 1.0),
        ("1e3", 1000.0),
        ("12:30:00", "12:30:00"),
        ("2026-01-01", "2026-01-01"),
        ("=", "="),
        ("<<", "<<"),
        ("'12'", "12"),
        ('"true"', "true"),
        ("!!str 12", "12"),
        ("! 12", "12"),
        ("18446744073709551616", 18446744073709551616),
        ("|\n  a\n   b\n", "a\n b\n"),
        (">-\n  a\n  b\n", "a b"),
        ('"\\u00e9\\/"', "é/"),
    ],
)
def test_scalars(scalar: str, value: Any) -> None:
    """Plain scalars mean what YAML 1.2's core schema says; everything quoted is text."""
    result = data(f"k: {scalar}")["k"]
    assert result == value
    assert type(result) is type(value)


def test_the_right_version_may_be_named() -> None:
    """A document may say that it is YAML 1.2, and begin and end as documents do."""
    assert data("%YAML 1.2\n---\na: 1\n...\n") == {"a": 1}


def test_json_is_yaml() -> None:
    """A JSON document reads as itself."""
    assert data('{"a": [1, -2.5e3, true, null, "x\\n\\u00e9\\ud83d\\ude00"], "b": {}}') == {
        "a": [1, -2500.0, True, None, "x\né😀"],
        "b": {},
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", [(1, 1, "the document is empty")]),
        ("# nothing\n", [(1, 1, "the document is empty")]),
        ("a: 1\nb:\n  a: 1\n  a: 2\na: 3\n", [(4, 3, f"{TWICE} 3"), (5, 1, f"{TWICE} 1")]),
        ("a: &x [1]\nb: *x\n", [(1, 4, ANCHOR), (2, 4, ANCHOR)]),
        ("&x a: 1\n", [(1, 1, ANCHOR)]),
        ("<<: {a: 1}\n", [(1, 1, "merge keys are not supported")]),
        ("a: !!python/x:os.system [x]\n", [(1, 4, "the tag 'python/x:os.system' is not supported")]),
        ("a: !x {b: 1}\n", [(1, 4, "the tag '!x' is not supported")]),
        ("a: !!int 5\n", [(1, 4, "the tag 'int' is not supported")]),
        ("a: !!binary aGk=\n", [(1, 4, "the tag 'binary' is not supported")]),
        ("1: a\n", [(1, 1, "a key must be text")]),
        ("true: a\n", [(1, 1, "a key must be text")]),
        ("? [a]\n: b\n", [(1, 3, "a key must be text")]),
        ("? {a: b}\n: c\n", [(1, 3, "a key must be text")]),
        ("a: .nan\nb: -.inf\n", [(1, 4, f".nan {NO_NUMBER}"), (2, 4, f"-.inf {NO_NUMBER}")]),
        ("a: 1e999\n", [(1, 4, "1e999 is too large a number")]),
        ("a: " + "9" * 5000, [(1, 4, "a number this long is not supported")]),
        ('a: "\\ud800"\n', [(1, 4, "half of a surrogate pair is no character")]),
        ("a: 1\n---\nb: 1\n", [(2, 1, "a second document in one file")]),
        ("%YAML 1.1\n---\na: yes\n", [(1, 1, "directives are not supported")]),
        ("# c\n\n%TAG ! x:\n---\na: yes\n", [(3, 1, "directives are not supported")]),
        ("[" * 60 + "]" * 60, [(1, 52, "nested deeper than 50 levels")]),
        ("a: [1,\n", [(2, 1, "not valid YAML: expected the node content, but found '<stream end>'")]),
        ("a: b: c\n", [(1, 5, "not valid YAML: mapping values are not allowed here")]),
        ("a: @x\n", [(1, 4, "not valid YAML: found character '@' that cannot start any token")]),
        ("a: é\nb: x\x07\n", [(2, 5, "not valid YAML: special characters are not allowed")]),
        ('a: "\\UFFFFFFFF"\n', [(1, 1, "this is not YAML that can be read")]),
    ],
)
def test_refusals(text: str, expected: list[tuple[int, int, str]]) -> None:
    """What is ambiguous, dangerous or not JSON is refused where it stands."""
    assert wrong(text) == expected


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("a: {b: ${{ x }}}", 'text that holds ${{ … }} is best put in quotes: "${{ … }}"'),
        ("a:\n\t- b", "indent with spaces, not with tabs"),
    ],
)
def test_hints(text: str, hint: str) -> None:
    """The usual slips come with what to do."""
    assert parse(text, "f.yaml")[1][0].hint == hint


def test_a_bomb_stays_small() -> None:
    """A billion laughs are refused as the anchors they are made of, at once."""
    text = "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
    for name, above in zip("bcdefghi", "abcdefgh", strict=True):
        text += f"{name}: &{name} [{','.join([f'*{above}'] * 10)}]\n"
    started = time.process_time()
    assert all(message.startswith("anchors") for _, _, message in wrong(text))
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    "text", ["[" * 10_000, "{a: " * 10_000, "- " * 10_000, "? " * 10_000, "[\n" * 10_000]
)
def test_depth_is_refused_quickly(text: str) -> None:
    """Deep nesting neither exhausts the stack nor takes long."""
    started = time.process_time()
    assert wrong(text)[-1][2].startswith(("nested deeper", "not valid YAML", "this is not YAML"))
    assert time.process_time() - started < 5


def test_size_is_limited() -> None:
    """A text beyond 1 MiB is not even parsed."""
    (one,) = check_text("a: " + "x" * MAX_BYTES, "f.yaml")
    assert one.message == f"{MAX_BYTES + 3} bytes, more than the limit of {MAX_BYTES}"


def test_number_of_nodes_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """A text of very many small values is refused before it becomes work."""
    monkeypatch.setattr("orchestrator.document.nodes.MAX_NODES", 100)
    assert data("[" + "1," * 99 + "]")
    assert wrong("[" + "1," * 150 + "]") == [(1, 200, "more than 100 keys and values")]


def test_not_utf8() -> None:
    """Bytes that are no UTF-8 are refused where they stand."""
    (one,) = check_text("a: é\nb: é".encode() + b"\xff", "f.yaml")
    assert (one.line, one.column, one.message) == (2, 5, "this is not UTF-8 text")


def test_depth_allowed() -> None:
    """The deepest nesting that is allowed is read."""
    assert data("[" * MAX_DEPTH + "]" * MAX_DEPTH)


def test_positions() -> None:
    """Every node knows where it begins: after a mark of the byte order, behind keys, in flow and block."""
    root, _ = parse('\ufeffé: {b: [1, "x"]}\n  \nc:\n  - d: |\n      t\n', "f.yaml")
    assert root is not None

    def at(*path: str | int) -> tuple[int, int]:
        node: Node = root
        for key in path:
            if isinstance(key, str):
                assert node.entries is not None
                node = node.entries[key][1]
            else:
                assert node.items is not None
                node = node.items[key]
        return node.line, node.column

    assert [at(), at("é", "b"), at("é", "b", 1), at("c", 0), at("c", 0, "d")] == [
        (1, 1),
        (1, 8),
        (1, 12),
        (4, 5),
        (4, 8),
    ]


@settings(max_examples=150, deadline=None)
@example("0\n\n0")
@given(st.text(max_size=80) | st.text("ab:-[]{}&*!|>'\"%@`#?,\n\t \\<~.019$", max_size=80))
def test_any_text_is_read_or_refused(text: str) -> None:
    """No text makes the reader fail: there is a result or there are diagnostics inside the text."""
    found = check_text(text, "f.yaml")
    assert found
    for one in found:
        assert 1 <= one.line <= text.count("\n") + text.count("\r") + 2
        assert one.column >= 1
        assert one.message
        assert "\n" not in one.message


_FIELDS = [
    "workflow",
    "steps",
    "id",
    "action",
    "target",
    "needs",
    "if",
    "with",
    "timeout",
    "retry",
    "compensate",
    "output",
    "triggers",
    "input",
    "pool",
    "event",
    "key",
    "attempts",
    "delay",
    "type",
    "properties",
    "$ref",
    "pattern",
]
_text = st.text(st.characters(exclude_categories=()), max_size=8)  # lone surrogates, too
_leaf = st.none() | st.booleans() | st.integers() | st.floats() | _text | st.just("${{ steps.a.output }}")
_shape = st.recursive(
    _leaf,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_FIELDS), inner, max_size=5),
    max_leaves=25,
)


@settings(max_examples=150, deadline=None)
@given(
    st.fixed_dictionaries({"workflow": st.just("w"), "steps": st.lists(_shape, max_size=4), "input": _shape})
)
def test_any_data_is_checked(document: dict[str, Any]) -> None:
    """No data of any shape makes the checker fail."""
    for one in check_text(_as_yaml(document), "f.yaml"):
        assert one.message


def _as_yaml(value: Any) -> str:
    """The value in flow style, all text quoted."""
    match value:
        case dict():
            return "{" + ", ".join(f"{_as_yaml(key)}: {_as_yaml(item)}" for key, item in value.items()) + "}"
        case list():
            return "[" + ", ".join(_as_yaml(item) for item in value) + "]"
        case str():
            escaped = "".join(c if c.isascii() and c.isalnum() else f"\\U{ord(c):08x}" for c in value)
            return f'"{escaped}"'
        case None:
            return "null"
        case bool():
            return str(value).lower()
    return str(value).replace("inf", ".inf").replace("nan", ".nan")

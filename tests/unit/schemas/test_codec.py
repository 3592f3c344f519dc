"""The codec's limits, one by one. Random bytes are in tests/property/test_codec.py."""

from typing import Any

import pytest

from schemas.codec import MAX_DEPTH, MAX_INTEGER, MAX_MESSAGE_BYTES, Malformed, decode, decode_json, encode
from schemas.messages import Presence, Result


def code_of(body: bytes, limit: int = MAX_MESSAGE_BYTES) -> str:
    """The code with which `body` is refused."""
    with pytest.raises(Malformed) as caught:
        decode_json(body, limit=limit)
    return caught.value.code


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"{} x",
        b"NaN",
        b"[Infinity]",
        b"-Infinity",
        b"1e999",
        b"1" * 400,
        b"9" * 100_000,
        b"0." + b"1" * 100 + b"e",
        str(MAX_INTEGER + 1).encode(),
        str(-MAX_INTEGER - 2).encode(),
        b'{"a": 1, "a": 1}',
        b'[{"a": {"b": 1, "\\u0062": 2}}]',
        b'"\xff"',
        b'"\xed\xa0\x80"',
        b'"\\ud800"',
        b'"\\udc00"',
        b'"\x00"',
        b"\xef\xbb\xbf{}",
        '"é"'.encode("utf-16"),
        b"'a'",
        b"01",
        b"[1,]",
    ],
)
def test_what_is_not_strict_json_is_malformed(body: bytes) -> None:
    """NaN, numbers beyond 64 bits, names given twice, lone surrogates and broken text are all `malformed`."""
    assert code_of(body) == "malformed"


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b" null ", None),
        (str(MAX_INTEGER).encode(), MAX_INTEGER),
        (str(-MAX_INTEGER - 1).encode(), -MAX_INTEGER - 1),
        (b"1e15", 1e15),
        (b'{"a": {"a": 1}, "b": [{"a": 1}, {"a": 2}]}', {"a": {"a": 1}, "b": [{"a": 1}, {"a": 2}]}),
        (b'"\\ud83d\\ude00"', "😀"),
        (b'"\\u0000"', "\x00"),
    ],
)
def test_strict_json_is_read(body: bytes, value: Any) -> None:
    """What looks odd but is sound JSON is read as it is."""
    assert decode_json(body) == value


def nested(depth: int) -> bytes:
    """Arrays and objects in turn, so many in each other."""
    return b'[{"a":' * (depth // 2) + b"[]" * (depth % 2) + b"1" * (1 - depth % 2) + b"}]" * (depth // 2)


@pytest.mark.parametrize("depth", [1, MAX_DEPTH - 1, MAX_DEPTH])
def test_depth_up_to_the_limit(depth: int) -> None:
    """Nesting up to the limit is read."""
    decode_json(nested(depth))


@pytest.mark.parametrize(
    "body",
    [
        nested(MAX_DEPTH + 1),
        nested(500),
        nested(5_000),
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 100_000,
        b'["\\"",' * 100 + b"1" + b"]" * 100,
        b'["\\\\",' * 100 + b"1" + b"]" * 100,
    ],
)
def test_depth_beyond_the_limit(body: bytes) -> None:
    """Nesting beyond the limit is `too_deep`, closed or not, whatever strings stand between."""
    assert code_of(body) == "too_deep"


@pytest.mark.parametrize(
    "value",
    ["[" * 100_000, '"[' * 1_000, "\\[" * 1_000, '\\"[' * 1_000, [[]] * 10_000, [{"{": "["}] * 1_000],
)
def test_brackets_in_strings_and_side_by_side_are_not_depth(value: Any) -> None:
    """Brackets inside strings, behind any escapes, and many in a row, are no nesting."""
    assert decode_json(encode(value)) == value


def test_size_limit_is_exact() -> None:
    """As many bytes as the limit are read, one more is `too_large`."""
    assert decode_json(b'"abc"', limit=5) == "abc"
    assert code_of(b'"abc" ', limit=5) == "too_large"


def test_a_reason_is_never_long() -> None:
    """A refusal does not carry the payload with it: it becomes a header of the dead letter."""
    body = encode({"status": "x" * 100_000})
    with pytest.raises(Malformed) as caught:
        decode(body, Result)
    assert len(caught.value.message) <= 500


def test_a_naive_time_is_malformed() -> None:
    """A time without an offset names no moment, and is refused where it enters."""
    announced = {"name": "a", "instance_id": "i", "version": "1", "at": "2026-01-31T12:00:00"}
    with pytest.raises(Malformed, match="timezone"):
        decode(encode(announced), Presence)
    assert decode(encode({**announced, "at": "2026-01-31T12:00:00Z"}), Presence).name == "a"


def test_unknown_fields_of_messages_are_ignored() -> None:
    """A newer peer may add a field."""
    announced = {"name": "a", "instance_id": "i", "version": "1", "at": "2026-01-31T12:00:00Z", "new": [1]}
    assert decode(encode(announced), Presence).name == "a"

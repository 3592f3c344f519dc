"""Decoders that do not raise on what the network may bring."""

from datetime import UTC, datetime
from struct import pack
from typing import Any

from pamqp import decode, encode

from runtime.bus.tolerant import UNREADABLE_HEADER, install

install()


def table(levels: int) -> bytes:
    """A table in a table in a table …, as AMQP encodes it."""
    body = b""
    for _ in range(levels):
        inner = len(body).to_bytes(4, "big") + body
        body = b"\x01kF" + inner
    return len(body).to_bytes(4, "big") + body


def test_what_can_be_read_is_read_as_before() -> None:
    """Good values come out as pamqp reads them, with the bytes consumed."""
    assert decode.by_type(b"\x02hi!", "shortstr") == (3, "hi")
    assert decode.by_type((1_700_000_000).to_bytes(8, "big"), "timestamp") == (
        8,
        datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC),
    )
    assert decode.by_type(table(2) + b"rest", "table") == (len(table(2)), {"k": {"k": {}}})


def test_what_cannot_be_read_is_replaced() -> None:
    """A bad value costs its own bytes and no more, so that what follows is read."""
    assert decode.by_type(b"\x02\xff\xfe!", "shortstr") == (3, "??")
    assert decode.by_type(b"\xff" * 8, "timestamp")[0] == 8
    for bad in (table(33), table(5000), b"\x00\x00\x00\x04\x01\xffI\x00"):
        consumed, got = decode.by_type(bad + b"rest", "table")
        assert consumed == len(bad)
        assert isinstance(got, dict)
        assert list(got) == [UNREADABLE_HEADER]


def test_what_was_read_can_be_sent_on() -> None:
    """Text that is not UTF-8 and numbers beyond 32 bits come in a form that pamqp can write again."""
    values: dict[bytes, Any] = {
        b"S\x00\x00\x00\x01\xff": bytearray(b"\xff"),
        b"d" + pack(">d", 1e300): "1e+300",
    }
    values |= {b"d" + pack(">d", 1.5): 1.5, b"A\x00\x00\x00\x06S\x00\x00\x00\x01\xfe": [bytearray(b"\xfe")]}
    for raw, value in values.items():
        body = b"\x01k" + raw
        _, got = decode.by_type(len(body).to_bytes(4, "big") + body, "table")
        assert isinstance(got, dict)
        assert got == {"k": value}
        assert encode.field_table(got)

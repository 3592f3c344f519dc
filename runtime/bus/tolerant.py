"""Makes the AMQP decoder take what RabbitMQ takes.

RabbitMQ does not look into a message's properties. pamqp does, and a timestamp in nanoseconds, a key that is
not UTF-8 or a deep table raises there, inside the reader of the connection: the connection is lost, the
message comes again, and the connection is lost again. With `install` such a value is replaced, the message
arrives, and whoever gets it can refuse it.
"""

import math
from datetime import UTC, datetime
from typing import Any, Final

from pamqp import decode

__all__ = ["UNREADABLE_HEADER", "install"]

UNREADABLE_HEADER: Final = "x-baton-unreadable"
"""The one header of a message whose headers cannot be read; says why."""

MAX_DEPTH: Final = 32  # tables in tables; deeper ones could be read but not sent on

_MAX_FLOAT: Final = 3.4e38  # pamqp reads 64 bits and writes 32
_NO_TIME: Final = datetime.fromtimestamp(0, UTC)


def install() -> None:
    """Replace three of pamqp's decoders, for the whole process, by ones that do not raise."""
    decode.METHODS.update(timestamp=_timestamp, shortstr=_short_string, table=_table)


def _readable(raw: bytes) -> str:
    """UTF-8, with `?` for what is none; never longer than `raw`, so that it can be written again."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode(errors="replace").replace("\ufffd", "?")


def _timestamp(value: bytes) -> tuple[int, datetime]:
    try:
        return decode.timestamp(value)
    except (ValueError, OverflowError, OSError):
        return 8, _NO_TIME


def _short_string(value: bytes) -> tuple[int, str]:
    try:
        return decode.short_str(value)
    except UnicodeDecodeError:
        end = value[0] + 1
        return end, _readable(value[1:end])


def _table(value: bytes) -> tuple[int, dict[str, Any]]:
    try:
        consumed, table = decode.field_table(value)
        deep = _depth(table) > MAX_DEPTH
    except (ValueError, OverflowError, OSError, RecursionError) as error:
        return int.from_bytes(value[:4]) + 4, {UNREADABLE_HEADER: str(error)}
    if deep:
        return consumed, {UNREADABLE_HEADER: f"tables nested deeper than {MAX_DEPTH}"}
    return consumed, {name: _sendable(item) for name, item in table.items()}


def _sendable(value: Any) -> Any:
    """The value as pamqp can write it too: a dead letter carries the headers of the message it was."""
    match value:
        case bytes():  # text that is not UTF-8
            return bytearray(value)
        case float() if math.isfinite(value) and abs(value) > _MAX_FLOAT:
            return repr(value)
        case dict():
            return {name: _sendable(item) for name, item in value.items()}
        case list():
            return [_sendable(item) for item in value]
    return value


def _depth(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(_depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(_depth, value), default=0)
    return 0

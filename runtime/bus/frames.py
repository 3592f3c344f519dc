"""The AMQP frames of what we publish."""

import struct
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from aiormq import spec
from pamqp import encode, frame

from runtime.bus.port import Message

__all__ = ["encode_message", "encode_properties"]

PERSISTENT: Final = 2

# AMQP 0-9-1, 4.2.6.1: the bits that say which properties follow, in this order.
CONTENT_TYPE, HEADERS, DELIVERY_MODE, EXPIRATION, MESSAGE_ID = 0x8000, 0x2000, 0x1000, 0x0100, 0x0080

HEADER_FRAME, BODY_FRAME, FRAME_END = 2, 3, b"\xce"
BASIC_CLASS: Final = 60

_frame_start = struct.Struct(">BHI").pack  # 4.2.3: type, channel, size
_content_start = struct.Struct(">HHQ").pack  # 4.2.6.1: class, weight, size of the body


def encode_message(message: Message, message_id: str, channel: int, max_body: int) -> list[bytes]:
    """The frames that publish `message` on the channel of this number, none with more than `max_body` bytes.

    pamqp makes an object of each frame and asks it for each of fourteen properties by name, which was most of
    the cost of a publish. Raises `ValueError` or `TypeError` for what AMQP cannot carry.
    """
    seconds, body = message.expiration, message.body
    properties = encode_properties(
        message.content_type,
        message.headers,
        None if seconds is None else str(max(0, round(seconds * 1000))),
        message_id,
    )
    content = _content_start(BASIC_CLASS, 0, len(body)) + properties
    frames = [
        _publish_frame(message.exchange, message.routing_key, message.mandatory, channel),
        _frame_start(HEADER_FRAME, channel, len(content)) + content + FRAME_END,
    ]
    for first in range(0, len(body), max_body):
        part = body[first : first + max_body]
        frames += (_frame_start(BODY_FRAME, channel, len(part)), part, FRAME_END)
    return frames


def encode_properties(
    content_type: str, headers: Mapping[str, Any], expiration: str | None, message_id: str
) -> bytes:
    """The flags and values of a persistent message's properties; `expiration` is in milliseconds."""
    flags = CONTENT_TYPE | DELIVERY_MODE | MESSAGE_ID
    table = time_to_live = b""
    if headers:
        flags |= HEADERS
        table = encode.field_table(dict(headers))
    if expiration is not None:
        flags |= EXPIRATION
        time_to_live = _short(expiration)
    return b"%b%b%b%c%b%b" % (
        flags.to_bytes(2, "big"),
        _short(content_type),
        table,
        PERSISTENT,
        time_to_live,
        _short(message_id),
    )


@lru_cache(maxsize=1024)
def _publish_frame(exchange: str, routing_key: str, mandatory: bool, channel: int) -> bytes:  # noqa: FBT001 - the key of a cache
    publish = spec.Basic.Publish(exchange=exchange, routing_key=routing_key, mandatory=mandatory)
    return frame.marshal(publish, channel)


def _short(text: str) -> bytes:
    data = text.encode()
    return bytes((len(data),)) + data

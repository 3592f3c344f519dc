"""Reads AMQP frames from what has arrived, many at a time.

aiormq waits three times for each frame, and pamqp asks for the type of each field by name: together a third
of what an agent did. With `install` frames are cut from a buffer, and the four kinds that traffic consists of
are decoded directly; every other frame, and whatever is unusual in these, is pamqp's to decode.
"""

from struct import Struct
from struct import error as StructError  # noqa: N812 - it is one, whatever its name
from typing import Any, Final, cast

import aiormq.connection
from aiormq import Channel, spec
from aiormq.connection import FrameReceiver
from aiormq.exceptions import AMQPConnectionError, InvalidFrameError
from pamqp import decode, frame
from pamqp.body import ContentBody
from pamqp.exceptions import PAMQPException
from pamqp.frame import FrameTypes
from pamqp.header import ContentHeader

from runtime.bus.frames import CONTENT_TYPE, DELIVERY_MODE, EXPIRATION, HEADERS, MESSAGE_ID
from runtime.bus.tolerant import readable

__all__ = ["decode_frame", "install"]

READ_BYTES: Final = 256 * 1024  # asked for at once
FRAME_END: Final = 0xCE
START_BYTES: Final = 7  # of a frame: type, channel, size; one more byte ends it

METHOD, HEADER, BODY = 1, 2, 3
DELIVER, ACK = b"\0\x3c\0\x3c", b"\0\x3c\0\x50"  # class basic; methods deliver and ack
KNOWN: Final = CONTENT_TYPE | HEADERS | DELIVERY_MODE | EXPIRATION | MESSAGE_ID

_start = Struct(">BHI").unpack_from
_content = Struct(">HHQH").unpack_from
_tag = Struct(">QB").unpack_from


def install() -> None:
    """Let connections of this process read this way from now on."""
    aiormq.connection.FrameReceiver = _BufferedReceiver  # type: ignore[misc]
    aiormq.connection.Channel = _DirectChannel  # type: ignore[attr-defined]


class _BufferedReceiver(FrameReceiver):
    """aiormq's own until the connection is open, then ours: its loop takes frames with `async for`."""

    _buffer = b""
    _at = 0

    async def __anext__(self) -> tuple[int, int, FrameTypes]:
        while True:
            at, buffer = self._at, self._buffer
            if len(buffer) - at > START_BYTES:
                end = at + START_BYTES + _start(buffer, at)[2] + 1
                if len(buffer) >= end:
                    self._at = end
                    return decode_frame(buffer[at:end])
            self._buffer, self._at = buffer[at:] + await self._more(), 0

    async def _more(self) -> bytes:
        try:
            read = await self.reader.read(READ_BYTES)
        except OSError as error:
            raise AMQPConnectionError(f"the connection broke: {error!r}") from error
        if not read:
            raise AMQPConnectionError("the broker closed the connection")
        return read


class _DirectChannel(Channel):
    """Calls a consumer that is a plain function at once; aiormq makes a task of each delivery."""

    async def _on_deliver_frame(self, frame: spec.Basic.Deliver) -> None:
        header = await self._get_frame()
        if not isinstance(header, ContentHeader):
            raise InvalidFrameError(f"{header!r} where a content header belongs")
        message = await self._read_content(frame, header)
        consumer = self.consumers.get(frame.consumer_tag or "")
        if consumer is None:
            return  # cancelled meanwhile; the broker gets the message back with the channel
        waiting = consumer(message)
        if waiting is not None:
            self.create_task(waiting).add_done_callback(self._on_consumer_done)


def decode_frame(data: bytes) -> tuple[int, int, FrameTypes]:
    """What `pamqp.frame.unmarshal` makes of one whole frame; `InvalidFrameError` if it is none."""
    try:
        kind, channel, size = _start(data)
        found = _decode(kind, data) if data[-1] == FRAME_END else None
        return (START_BYTES + size + 1, channel, found) if found is not None else frame.unmarshal(data)
    except (PAMQPException, StructError, IndexError, ValueError) as error:
        raise InvalidFrameError(str(error)) from error


def _decode(kind: int, data: bytes) -> FrameTypes | None:
    """The frame, if it is one that is decoded here."""
    if kind == BODY:
        return ContentBody(data[START_BYTES:-1])
    if kind == HEADER:
        return _header(data)
    if kind == METHOD:
        method = data[START_BYTES : START_BYTES + 4]
        if method == DELIVER:
            return _deliver(data)
        if method == ACK:
            tag, multiple = _tag(data, START_BYTES + 4)
            return spec.Basic.Ack(delivery_tag=tag, multiple=bool(multiple))
    return None


def _deliver(data: bytes) -> spec.Basic.Deliver:
    deliver = spec.Basic.Deliver.__new__(spec.Basic.Deliver)  # without checking names that others chose
    deliver.consumer_tag, at = _short(data, START_BYTES + 4)
    deliver.delivery_tag, redelivered = _tag(data, at)
    deliver.redelivered = bool(redelivered & 1)
    deliver.exchange, at = _short(data, at + 9)
    deliver.routing_key, at = _short(data, at)
    return deliver


def _header(data: bytes) -> ContentHeader | None:
    class_id, weight, size, flags = _content(data, START_BYTES)
    if flags & ~KNOWN:
        return None
    at = START_BYTES + 14
    properties = spec.Basic.Properties()
    if flags & CONTENT_TYPE:
        properties.content_type, at = _short(data, at)
    if flags & HEADERS:
        used, table = decode.METHODS["table"](data[at:-1])
        properties.headers, at = cast(dict[str, Any], table), at + used
    if flags & DELIVERY_MODE:
        properties.delivery_mode, at = data[at], at + 1
    if flags & EXPIRATION:
        properties.expiration, at = _short(data, at)
    if flags & MESSAGE_ID:
        properties.message_id, at = _short(data, at)
    header = ContentHeader(weight, size, properties)
    header.class_id = class_id
    return header


def _short(data: bytes, at: int) -> tuple[str, int]:
    """A short string, what is not UTF-8 in it replaced, and where it ends."""
    end = at + 1 + data[at]
    return readable(data[at + 1 : end]), end

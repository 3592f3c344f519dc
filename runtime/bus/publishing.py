"""Publishes a batch of messages on an aiormq channel.

aiormq publishes one message at a time, each with a lock, a task, two futures and a write of its own, which
was a third of all that a coordinator did. Here that is paid once for a batch. What the broker says of each
message still comes through aiormq, which finds one of our `_Place`s where it would find its own future.
"""

from collections.abc import Iterator, Sequence

from aiormq import Channel
from aiormq.abc import ChannelFrame
from aiormq.exceptions import PublishError

from runtime.bus.frames import encode_message
from runtime.bus.port import Message, PublishOutcome

__all__ = ["Publication"]

WRITE_BYTES = 64 * 1024  # written at once; then we wait for the socket to take it


class Publication:
    """One batch on its way. `outcomes` has a place for each message, filled in as it becomes known."""

    def __init__(self, channel: Channel, outcomes: list[PublishOutcome]) -> None:
        self.errors: list[BaseException] = []
        """Why the broker did not take a message."""
        self._channel = channel
        self._outcomes = outcomes
        self._left = len(outcomes)
        self._ids: list[str] = []
        self._settled = channel.create_future()  # the channel ends it with an error when it is closed

    async def run(self, messages: Sequence[Message], ids: Iterator[str]) -> None:
        """Publish, and return once each message's outcome is known. Raises one of `TRANSPORT_ERRORS`.

        `ids` gives the AMQP message ids. `ValueError` or `TypeError` for what AMQP cannot carry; then
        nothing went out.
        """
        channel = self._channel
        try:
            encoded = [
                (id_, encode_message(message, id_, channel.number, channel.max_content_size))
                for message, id_ in zip(messages, ids, strict=False)
            ]
            async with channel.lock:
                await self._write(encoded)
            await self._settled
        finally:
            self._settled.cancel()
            for id_ in self._ids:
                channel.message_id_delivery_tag.pop(id_, None)

    async def _write(self, encoded: list[tuple[str, list[bytes]]]) -> None:
        """Write everything, a piece at a time."""
        piece: list[bytes] = []
        ids: list[str] = []
        size = 0
        for id_, frames in encoded:
            ids.append(id_)
            piece += frames
            size += sum(map(len, frames))
            if size >= WRITE_BYTES:
                await self._send(b"".join(piece), ids)
                piece, ids, size = [], [], 0
        if ids:
            await self._send(b"".join(piece), ids)

    async def _send(self, payload: bytes, ids: list[str]) -> None:
        """Hand some messages to the connection and wait until the socket has them.

        The broker counts what it gets, so what was not handed over must not count here either.
        """
        channel = self._channel
        before = channel.delivery_tag
        for id_ in ids:
            channel.delivery_tag += 1
            channel.confirmations[channel.delivery_tag] = _Place(self, len(self._ids))  # type: ignore[assignment]
            channel.message_id_delivery_tag[id_] = channel.delivery_tag
            self._ids.append(id_)
        drained = channel.create_future()
        try:
            await channel.write_queue.put(ChannelFrame(payload, should_close=False, drain_future=drained))
        except BaseException:
            for tag in range(before + 1, channel.delivery_tag + 1):
                channel.confirmations.pop(tag, None)
            channel.delivery_tag = before
            raise
        await drained

    def settle(self, place: int, outcome: PublishOutcome, error: BaseException | None = None) -> None:
        """Note what became of one message."""
        self._outcomes[place] = outcome
        if error is not None:
            self.errors.append(error)
        self._left -= 1
        if not self._left and not self._settled.done():
            self._settled.set_result(None)


class _Place:
    """One message of a publication, as aiormq sees it: like a future, as far as it looks."""

    __slots__ = ("_place", "_publication")

    def __init__(self, publication: Publication, place: int) -> None:
        self._publication = publication
        self._place = place

    def done(self) -> bool:
        """It is asked for once, before it is told, and told once."""
        return False

    def set_result(self, _: object) -> None:
        """The broker has it."""
        self._publication.settle(self._place, PublishOutcome.CONFIRMED)

    def set_exception(self, error: BaseException) -> None:
        """No queue takes it, or the broker refuses it."""
        if isinstance(error, PublishError):
            self._publication.settle(self._place, PublishOutcome.RETURNED)
        else:
            self._publication.settle(self._place, PublishOutcome.UNCONFIRMED, error)

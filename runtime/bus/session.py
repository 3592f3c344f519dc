"""One standing pair of AMQP connections, gone for good once either is lost.

Publishing has a connection of its own: a broker short of memory or disk stops reading from publishers, and
acknowledgements must get through then.
"""

import asyncio
import errno
import logging
import os
from collections.abc import Coroutine, Iterable
from typing import Any, Self, TypeVar, cast
from urllib.parse import urlsplit

import aio_pika
from aiormq import Channel, spec
from aiormq.abc import DeliveredMessage
from aiormq.exceptions import (
    AMQPError,
    AuthenticationError,
    ChannelAccessRefused,
    ChannelPreconditionFailed,
    InvalidFrameError,
    ProbableAuthenticationError,
)
from pamqp.exceptions import PAMQPException

from runtime.bus.ledger import AckLedger
from runtime.bus.port import Declarations, Delivery
from schemas.errors import InvalidInput

__all__ = ["TRANSPORT_ERRORS", "Session", "Source", "explain"]

T = TypeVar("T")
log = logging.getLogger(__name__)

# aiormq reports a closed channel as a RuntimeError. TimeoutError and ConnectionError are OSErrors.
TRANSPORT_ERRORS = (AMQPError, OSError, PAMQPException, RuntimeError)

CONNECT_TIMEOUT = 10.0  # seconds for both connections and the declarations
CLOSE_TIMEOUT = 3.0  # seconds for saying goodbye
DEFAULT_PORTS = {"amqp": 5672, "amqps": 5671}
HEARTBEAT = 10  # seconds; a peer that says nothing for about three of them is taken for dead

REFUSED = "the broker refuses the user or the password; check the AMQP URL"
ADVICE: tuple[tuple[type[AMQPError], str, str], ...] = (
    (ProbableAuthenticationError, "", REFUSED),
    (AuthenticationError, "", REFUSED),
    (
        ChannelPreconditionFailed,
        "inequivalent",
        "delete the queue or exchange once it is empty, or choose another namespace",
    ),
    (
        ChannelAccessRefused,
        "",
        "give the user configure, write and read permission on the namespace's names",
    ),
)
"""What a person must do: for errors of this type with this word in the broker's text."""


def explain(error: BaseException) -> str:
    """What went wrong with the broker and, where a person must act, what to do. Holds no credentials."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.errno is not None and error.errno in errno.errorcode:
        return os.strerror(error.errno)  # event loops word it differently
    text = str(error.args[-1] if error.args else "") or type(error).__name__
    if isinstance(error, StopAsyncIteration) or text.startswith("Server connection reset"):
        return os.strerror(errno.ECONNRESET)  # aiormq's two ways of saying it, which may alternate
    if isinstance(error, InvalidFrameError) and "Connection.OpenOk" in text:
        return "create the AMQP URL's virtual host, give the user access to it, or correct the URL's path"
    for kind, word, advice in ADVICE:
        if isinstance(error, kind) and word in text:
            return f"{advice} ({text})"
    return text


def place(url: str) -> str:
    """`host:port/vhost` of an AMQP URL, for logs; `InvalidInput` if it is none."""
    try:
        parts = urlsplit(url)
        port = parts.port or DEFAULT_PORTS[parts.scheme]
    except (ValueError, KeyError):
        port = 0
    if not port or not parts.hostname:
        raise InvalidInput(
            "the AMQP URL cannot be read",
            code="bad_amqp_url",
            hint="write amqp://user:password@host:port/vhost",
        )
    return f"{parts.hostname}:{port}{parts.path.rstrip('/')}"


class Session:
    """Two connections with everything declared. Made by `open`, which raises one of `TRANSPORT_ERRORS`."""

    def __init__(self, declarations: Declarations, timeout: float) -> None:
        self.gone: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Done, with the reason, once a connection is lost or closed."""
        self._declarations = declarations
        self._timeout = timeout
        self._connections: list[aio_pika.abc.AbstractConnection] = []
        self._publisher: Channel | None = None
        self._opening = asyncio.Lock()

    @classmethod
    async def open(cls, url: str, declarations: Declarations, *, name: str, timeout: float) -> Self:  # noqa: ASYNC109 - it is kept
        """Connect and declare; `timeout` bounds what later runs through `bounded`."""
        session = cls(declarations, timeout)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                for purpose in ("consume", "publish"):
                    await session._connect(url, f"{name} {purpose}")
                await session.bounded(session.declare())
                await session.bounded(session.publisher())
        except BaseException:
            await session.close()
            raise
        return session

    async def _connect(self, url: str, name: str) -> None:
        connection = await aio_pika.connect(
            url, heartbeat=HEARTBEAT, client_properties={"connection_name": name}
        )
        self._connections.append(connection)
        connection.close_callbacks.add(lambda _, error: self._lost(error))

    def _lost(self, error: BaseException | None) -> None:
        if not self.gone.done():
            self.gone.set_result(explain(error) if error is not None else "the connection was closed")

    async def close(self) -> None:
        """Close both connections; what was not acknowledged goes back to its queue."""
        self._lost(None)
        for connection in self._connections:
            try:
                async with asyncio.timeout(CLOSE_TIMEOUT):
                    await connection.close()
            except TRANSPORT_ERRORS:
                continue  # it was lost already, or is beyond a goodbye

    async def bounded(self, work: Coroutine[Any, Any, T]) -> T:
        """Await `work` while the session stands, and not beyond the timeout; then raise `ConnectionError`.

        In aiormq, what waits for a lost connection may wait for ever, fail with a bare `Exception` or look
        like the waiting task's own cancellation; here that all becomes one of `TRANSPORT_ERRORS`.
        """
        task = asyncio.ensure_future(work)
        try:
            await asyncio.wait((task, self.gone), timeout=self._timeout, return_when=asyncio.FIRST_COMPLETED)
            if task.done() and not task.cancelled() and type(task.exception()) is not Exception:
                return task.result()
        finally:
            task.add_done_callback(_look_away)
            task.cancel()
        raise ConnectionError(self.gone.result() if self.gone.done() else "no answer in time")

    async def declare(self) -> None:
        """Declare everything, on a channel of its own since a refusal closes it."""
        channel = await self._channel(self._connections[0])
        for exchange in self._declarations.exchanges:
            await channel.exchange_declare(exchange.name, exchange_type=exchange.kind, durable=True)
        for queue in self._declarations.queues:
            await channel.queue_declare(queue.name, durable=True, arguments=dict(queue.arguments))
        for binding in self._declarations.bindings:
            await channel.queue_bind(binding.queue, binding.exchange, binding.key)
        await channel.close()

    async def publisher(self) -> Channel:
        """The channel to publish on; the broker closes it for a missing exchange, then it is opened again."""
        async with self._opening:
            if self._publisher is None or self._publisher.is_closed:
                if self._publisher is not None:
                    await self.declare()
                self._publisher = await self._channel(self._connections[1])
            return self._publisher

    async def source(self) -> "Source":
        """A new channel to take messages from."""
        return Source(self, await self._channel(self._connections[0]))

    @staticmethod
    async def _channel(connection: aio_pika.abc.AbstractConnection) -> Channel:
        channel = connection.channel(publisher_confirms=True, on_return_raises=True)
        await channel.initialize()
        return cast(Channel, await channel.get_underlay_channel())


class Source:
    """A channel that messages arrive on, and what of them is settled."""

    def __init__(self, session: Session, channel: Channel) -> None:
        self.session = session
        self.channel = channel
        self._ledger = AckLedger()
        self._order = asyncio.Lock()  # frames must leave in the order the ledger was asked
        self._highest = 0  # tag
        self._taken = -1  # how many there are in all, once that is known

    def delivery(self, queue: str, message: DeliveredMessage) -> Delivery:
        """`message` as the port shows it."""
        self._highest = max(self._highest, message.delivery_tag or 0)
        properties = message.header.properties
        return Delivery(
            queue=queue,
            exchange=message.exchange or "",
            routing_key=message.routing_key or "",
            body=message.body,
            headers=properties.headers or {},
            content_type=properties.content_type or "",
            redelivered=bool(message.redelivered),
            handle=(self, message.delivery_tag),
        )

    async def get(self, queue: str, limit: int) -> list[Delivery]:
        """Take up to `limit` messages; the channel closes once all of them are settled."""
        taken: list[Delivery] = []
        while len(taken) < limit:
            message = await self.channel.basic_get(queue)
            if not isinstance(message.delivery, spec.Basic.GetOk):
                break
            taken.append(self.delivery(queue, message))
        self._taken = len(taken)
        if not taken:
            await self.channel.close()
        return taken

    async def finish(self, consumer: str) -> None:
        """Consume no more; the channel closes once all that it delivered is settled."""
        await self._tell(self._finish(consumer))

    async def ack(self, tags: Iterable[int]) -> None:
        """Acknowledge; nothing happens when the connection is gone."""
        await self._tell(self._ack(tags))

    async def release(self, tags: Iterable[int]) -> None:
        """Put back, lowest tag first; nothing happens when the connection is gone."""
        await self._tell(self._release(tags))

    async def _finish(self, consumer: str) -> None:
        await self.channel.basic_cancel(consumer)
        self._taken = self._highest

    async def _ack(self, tags: Iterable[int]) -> None:
        async with self._order:
            frames = self._ledger.acks(tags)
            for left, (tag, multiple) in zip(range(len(frames) - 1, -1, -1), frames, strict=True):
                await self.channel.basic_ack(tag, multiple, wait=not left)

    async def _release(self, tags: Iterable[int]) -> None:
        async with self._order:
            for tag in self._ledger.settle(tags):
                await self.channel.basic_nack(tag, requeue=True)

    async def _tell(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await self.session.bounded(work)
            if self._ledger.settled == self._taken:
                await self.session.bounded(self.channel.close())
        except TRANSPORT_ERRORS as error:
            log.debug("a connection went away with its deliveries: %s", explain(error))


def _look_away(task: asyncio.Task[Any]) -> None:
    """Take a left task's error, so that asyncio does not complain that nobody did."""
    if not task.cancelled():
        task.exception()

"""The bus on RabbitMQ, 3.10 to 4.x."""

import asyncio
import itertools
import logging
import secrets
from collections.abc import Iterable, Iterator, Sequence

from aiormq import Channel
from aiormq.abc import DeliveredMessage
from aiormq.exceptions import ChannelNotFoundEntity

from runtime.bus import tolerant
from runtime.bus.port import (
    Declarations,
    Delivery,
    Handler,
    Message,
    PublishOutcome,
    Subscription,
)
from runtime.bus.publishing import Publication
from runtime.bus.session import TRANSPORT_ERRORS, Session, Source, explain, place
from schemas.errors import NotFound, Unreachable

__all__ = ["AmqpBus"]

log = logging.getLogger(__name__)

FIRST_DELAY = 0.1  # seconds before the first new attempt
LONGEST_DELAY = 5.0  # seconds
WINDOW = 1000  # messages whose confirms are awaited together

_random = secrets.SystemRandom()


class AmqpBus:
    """The bus of `runtime.bus.port` on an AMQP broker.

    `url` is `amqp[s]://user:password@host[:port]/vhost`, else `InvalidInput`; it is never logged whole. The
    broker shows `name` for the connections. `timeout` in seconds: a publish not confirmed by then is
    `UNCONFIRMED`.
    """

    def __init__(self, url: str, declarations: Declarations, *, name: str, timeout: float = 10.0) -> None:
        tolerant.install()
        self._url = url
        self._place = place(url)
        self._declarations = declarations
        self._name = name
        self._timeout = timeout
        self._session: Session | None = None
        self._connected = asyncio.Event()
        self._supervisor: asyncio.Task[None] | None = None
        self._consumers: set[_Consumer] = set()
        self._ids = _message_ids()
        self._problem = ""

    @property
    def connected(self) -> bool:
        """Whether a connection stands now."""
        return self._connected.is_set()

    async def start(self) -> None:
        """Connect and declare, however long that takes; what stands in the way is logged once."""
        self._supervisor = asyncio.create_task(self._supervise(), name=f"{self._name}: broker")
        await self.wait_connected()

    async def stop(self) -> None:
        """Close the connections; deliveries not acknowledged go back to their queues."""
        tasks = [consumer.task for consumer in self._consumers]
        if self._supervisor is not None:
            tasks.append(self._supervisor)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
        self._session = None
        self._connected.clear()

    async def wait_connected(self) -> None:
        """Return once a connection stands."""
        await self._connected.wait()

    async def _supervise(self) -> None:
        """Keep a session standing. One log line per change."""
        delays, told = _delays(), ""
        while True:
            try:
                session = await Session.open(
                    self._url, self._declarations, name=self._name, timeout=self._timeout
                )
            except Exception as error:  # noqa: BLE001 - whatever it is, it is told, and trying again is right
                if (problem := explain(error)) != told:
                    log.warning("cannot use the broker at %s, will keep trying: %s", self._place, problem)
                    told = problem
                await asyncio.sleep(next(delays))
                continue
            self._session = session
            self._connected.set()
            log.info("connected to the broker at %s", self._place)
            told = await asyncio.shield(session.gone)
            self._connected.clear()
            self._session = None
            log.warning("lost the broker at %s, connecting again: %s", self._place, told)
            await session.close()
            delays = _delays()
            await asyncio.sleep(next(delays))

    # publishing

    async def publish(self, messages: Sequence[Message]) -> list[PublishOutcome]:
        """Publish all, side by side; without a connection all are `UNCONFIRMED` at once.

        An exchange's name, key or header that AMQP cannot carry is our own fault and raises.
        """
        outcomes: list[PublishOutcome] = []
        for window in (messages[first : first + WINDOW] for first in range(0, len(messages), WINDOW)):
            outcomes += await self._publish_window(window)
        return outcomes

    async def _publish_window(self, messages: Sequence[Message]) -> list[PublishOutcome]:
        outcomes = [PublishOutcome.UNCONFIRMED] * len(messages)
        session = self._session
        if session is not None:
            try:
                problem = await session.bounded(self._publish_all(session, messages, outcomes))
            except TRANSPORT_ERRORS as error:
                problem = f"{explain(error)}; it may be short of memory or disk"
            if not session.gone.done():  # of a lost session the supervisor has told
                self._tell(problem)
        return outcomes.copy()  # a publish that was given up must not write into what the caller has

    def _tell(self, problem: str) -> None:
        """Log what keeps messages from being taken, once, and that it is over."""
        if problem == self._problem:
            return
        self._problem = problem
        if problem:
            log.warning("the broker at %s does not take messages: %s", self._place, problem)
        else:
            log.info("the broker at %s takes messages again", self._place)

    async def _publish_all(
        self, session: Session, messages: Sequence[Message], outcomes: list[PublishOutcome]
    ) -> str:
        """Publish, fill in `outcomes` as they become known, and return what went wrong, if anything."""
        publication = Publication(await session.publisher(), outcomes)
        errors = publication.errors
        try:
            await publication.run(messages, self._ids)
        except TRANSPORT_ERRORS as error:
            errors.append(error)
        return "; ".join(sorted({explain(error) for error in errors}))

    # consuming

    async def subscribe(self, queue: str, handler: Handler, *, prefetch: int) -> Subscription:
        """Deliver from `queue` to `handler` from now on, across reconnections; returns at once."""
        consumer = _Consumer(self, queue, handler, prefetch=prefetch)
        self._consumers.add(consumer)
        consumer.task.add_done_callback(lambda _: self._consumers.discard(consumer))
        return consumer

    def is_current(self, delivery: Delivery) -> bool:
        """Whether its connection stands."""
        source, _ = delivery.handle
        return not source.session.gone.done()

    async def ack(self, deliveries: Iterable[Delivery]) -> None:
        """Acknowledge; deliveries of a lost connection are passed over."""
        await asyncio.gather(*(source.ack(tags) for source, tags in _by_source(deliveries)))

    async def peek(self, queue: str, limit: int) -> list[Delivery]:
        """Take up to `limit` messages from the head of `queue`; each must be acked or released."""
        try:
            session = self._session
            if session is None:
                raise ConnectionError("not connected")
            source = await session.bounded(session.source())
            return await session.bounded(source.get(queue, limit))
        except ChannelNotFoundEntity as error:
            raise NotFound(f"the broker has no queue '{queue}'", hint=explain(error)) from None
        except TRANSPORT_ERRORS as error:
            raise Unreachable(
                f"cannot reach the broker at {self._place}: {explain(error)}",
                hint="try again when the broker is back",
            ) from None

    async def release(self, deliveries: Iterable[Delivery]) -> None:
        """Put peeked messages back at the head of their queue, in order."""
        await asyncio.gather(*(source.release(tags) for source, tags in _by_source(deliveries)))

    async def session(self) -> Session:
        """The session that stands, once one does."""
        while self._session is None:
            await self._connected.wait()
        return self._session


class _Consumer:
    """A subscription: consumes, and consumes again after whatever ended it, until cancelled."""

    def __init__(self, bus: AmqpBus, queue: str, handler: Handler, *, prefetch: int) -> None:
        self._bus = bus
        self._queue = queue
        self._handler = handler
        self._prefetch = prefetch
        self._source: Source | None = None
        self._tag = f"baton-{secrets.token_hex(8)}"
        self.task = asyncio.create_task(self._run(), name=f"consume {queue}")

    async def cancel(self) -> None:
        """Stop new deliveries; those already handed over can still be acknowledged."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        if self._source is not None:
            await self._source.finish(self._tag)

    async def _run(self) -> None:
        delays, told = _delays(), ""
        while True:
            session = await self._bus.session()
            try:
                if told:  # the queue may be gone
                    await session.bounded(session.declare())
                channel, ended = await self._begin(session)
                if told:
                    log.info("consuming from %s", self._queue)
                delays, told = _delays(), ""
                problem = await self._end(session, channel, ended)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is told, and trying again is right
                problem = explain(error)
            if problem != told and not session.gone.done():  # of a lost session the bus has told
                log.warning("cannot consume from %s, will keep trying: %s", self._queue, problem)
                told = problem
            await asyncio.sleep(next(delays))

    async def _begin(self, session: Session) -> tuple[Channel, asyncio.Future[str]]:
        """Consume on a new channel; the future is done when the broker ends that."""
        source = await session.bounded(session.source())
        channel = source.channel
        ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        channel.on_consumer_cancel_callbacks.add(lambda _: ended.set_result("its queue was deleted"))

        async def take(message: DeliveredMessage) -> None:
            try:
                self._handler(source.delivery(self._queue, message))
            except Exception:
                log.exception("the handler of %s failed; the message stays with the broker", self._queue)

        await session.bounded(channel.basic_qos(prefetch_count=self._prefetch))
        self._source = source
        await session.bounded(channel.basic_consume(self._queue, take, consumer_tag=self._tag))
        return channel, ended

    @staticmethod
    async def _end(session: Session, channel: Channel, ended: asyncio.Future[str]) -> str:
        """Wait until the connection, the channel or the consumer is gone, and say why."""
        closing = channel.closing
        await asyncio.wait((session.gone, ended, closing), return_when=asyncio.FIRST_COMPLETED)
        if session.gone.done():
            return session.gone.result()
        if ended.done():
            await session.bounded(channel.close())
            return ended.result()
        error = None if closing.cancelled() else closing.exception()
        return explain(error) if error is not None else "the channel was closed"


def _delays() -> Iterator[float]:
    """Seconds between attempts: doubling to a limit, with jitter so that many do not come back at once."""
    delay = FIRST_DELAY
    while True:
        yield delay * _random.uniform(0.5, 1.0)
        delay = min(2 * delay, LONGEST_DELAY)


def _message_ids() -> Iterator[str]:
    prefix = secrets.token_hex(8)
    return (f"{prefix}-{number}" for number in itertools.count(1))


def _by_source(deliveries: Iterable[Delivery]) -> Iterable[tuple[Source, list[int]]]:
    tags: dict[Source, list[int]] = {}
    for delivery in deliveries:
        source, tag = delivery.handle
        tags.setdefault(source, []).append(tag)
    return tags.items()

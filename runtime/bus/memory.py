"""The bus without a broker, for tests: ours and those of people who write agents.

One `MemoryBroker` stands for the broker, a `MemoryBus` for each process's connection to it. It behaves as
`runtime.bus.port` says and as RabbitMQ's quorum queues do, in one process, with no time of its own: what
expires, expires when `expire` is called.
"""

import asyncio
import heapq
import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import count
from typing import Any

from runtime.bus.port import (
    Binding,
    Declarations,
    Delivery,
    Exchange,
    Handler,
    Message,
    PublishOutcome,
    Subscription,
)
from schemas.errors import Conflict, NotFound, Unreachable

__all__ = ["MemoryBroker", "MemoryBus"]

log = logging.getLogger(__name__)


@dataclass(order=True, slots=True)
class _Stored:
    """A message in a queue; `number` is its place."""

    number: int
    message: Message = field(compare=False)
    expires_at: float | None = field(compare=False)
    returns: int = field(default=0, compare=False)

    def headers(self) -> dict[str, Any]:
        """The message's headers, and how often it was delivered in vain."""
        count = {"x-delivery-count": self.returns} if self.returns else {}
        return {**self.message.headers, **count}


@dataclass(eq=False, slots=True)
class _Held:
    """A message handed to a bus and not settled."""

    queue: "_Queue"
    stored: _Stored
    consumer: "_Consumer | None" = None


class MemoryBroker:
    """Exchanges and queues in memory. `clock` gives seconds.

    Of the queue arguments `x-dead-letter-exchange`, `x-delivery-limit` and `x-single-active-consumer` count.
    """

    def __init__(self, clock: Callable[[], float] = lambda: 0.0) -> None:
        self.clock = clock
        self.buses: list[MemoryBus] = []
        self.available = True
        self._exchanges: dict[str, Exchange] = {}
        self._queues: dict[str, _Queue] = {}
        self._bindings: dict[Binding, None] = {}

    def drop_connections(self) -> None:
        """Cut every connection; each bus is back at once, and what it had not acknowledged comes again."""
        self.go_away()
        self.come_back()

    def go_away(self) -> None:
        """Cut every connection and accept none until `come_back`."""
        self.available = False
        for bus in self.buses:
            bus.disconnect()

    def come_back(self) -> None:
        """Accept connections again."""
        self.available = True
        for bus in self.buses:
            bus.connect()

    def expire(self) -> None:
        """Dead-letter what stands at the head of a queue and has expired by the clock."""
        for queue in list(self._queues.values()):
            queue.serve()

    def declare(self, declarations: Declarations) -> None:
        """Make what is missing; `Conflict` where something of that name but of another kind exists."""
        for exchange in declarations.exchanges:
            if self._exchanges.setdefault(exchange.name, exchange) != exchange:
                raise Conflict(
                    f"exchange '{exchange.name}' exists with another type", hint="use another name"
                )
        for queue in declarations.queues:
            made = self._queues.setdefault(queue.name, _Queue(self, queue.name, queue.arguments))
            if made.arguments != dict(queue.arguments):
                raise Conflict(f"queue '{queue.name}' exists with other arguments", hint="use another name")
        self._bindings.update(dict.fromkeys(declarations.bindings))

    def queue(self, name: str) -> "_Queue | None":
        """The queue of that name, if there is one."""
        return self._queues.get(name)

    def queues_of(self, message: Message) -> list[str] | None:
        """The queues that `message` belongs to, or None if there is no such exchange."""
        exchange = self._exchanges.get(message.exchange)
        if exchange is None:
            return None
        return sorted(
            {
                binding.queue
                for binding in self._bindings
                if binding.exchange == exchange.name
                and _matches(exchange.kind, binding.key, message.routing_key)
            }
        )

    def route(self, message: Message) -> int | None:
        """Put `message` into each queue it belongs to; how many, or None if there is no such exchange."""
        queues = self.queues_of(message)
        if queues is None:
            return None
        for name in queues:
            self._queues[name].put(message)
        return len(queues)


class _Queue:
    """One queue: what is ready, in order, and who consumes."""

    def __init__(self, broker: MemoryBroker, name: str, arguments: Mapping[str, Any]) -> None:
        self.name = name
        self.arguments = dict(arguments)
        self._broker = broker
        self._numbers = count()
        self._ready: list[_Stored] = []
        self._consumers: deque[_Consumer] = deque()

    def put(self, message: Message) -> None:
        """Take a new message."""
        seconds = message.expiration
        expires_at = None if seconds is None else self._broker.clock() + seconds
        heapq.heappush(self._ready, _Stored(next(self._numbers), message, expires_at))
        self.serve()

    def put_back(self, stored: _Stored) -> None:
        """Take back a message that was not acknowledged, to its old place; too often, and it is dead."""
        stored.returns += 1
        limit = self.arguments.get("x-delivery-limit")
        if limit is not None and stored.returns > limit:
            self._bury(stored, "delivery_limit")
        else:
            heapq.heappush(self._ready, stored)

    def take(self) -> _Stored | None:
        """The first message that has not expired; those that have are dead-lettered."""
        while self._ready:
            stored = heapq.heappop(self._ready)
            if stored.expires_at is None or stored.expires_at > self._broker.clock():
                return stored
            self._bury(stored, "expired")
        return None

    def join(self, consumer: "_Consumer") -> None:
        """Serve `consumer` too."""
        self._consumers.append(consumer)
        self.serve()

    def leave(self, consumer: "_Consumer") -> None:
        """Serve `consumer` no more."""
        if consumer in self._consumers:
            self._consumers.remove(consumer)
        self.serve()

    def serve(self) -> None:
        """Hand over what can be handed over, in turn to each consumer that may have more."""
        while self._broker.available and (stored := self.take()) is not None:
            consumer = self._next()
            if consumer is None:
                heapq.heappush(self._ready, stored)
                return
            consumer.hand(_Held(self, stored, consumer))

    def _next(self) -> "_Consumer | None":
        if self.arguments.get("x-single-active-consumer"):
            return next((one for one in list(self._consumers)[:1] if one.has_room), None)
        for _ in range(len(self._consumers)):
            consumer = self._consumers[0]
            self._consumers.rotate(-1)
            if consumer.has_room:
                return consumer
        return None

    def _bury(self, stored: _Stored, reason: str) -> None:
        exchange = self.arguments.get("x-dead-letter-exchange")
        if exchange is None:
            return
        message = stored.message
        first = {
            "x-first-death-reason": reason,
            "x-first-death-queue": self.name,
            "x-first-death-exchange": message.exchange,
        }
        death = {
            "reason": reason,
            "queue": self.name,
            "exchange": message.exchange,
            "routing-keys": [message.routing_key],
            "time": datetime.fromtimestamp(self._broker.clock(), UTC),
            "count": 1,
        }
        headers = {**first, **stored.headers()}
        headers["x-death"] = [death, *headers.get("x-death", ())]
        self._broker.route(replace(message, exchange=exchange, headers=headers, expiration=None))


class _Consumer:
    """A subscription, whose connection may come and go."""

    def __init__(self, bus: "MemoryBus", queue: str, handler: Handler, prefetch: int) -> None:
        self.queue = queue
        self.held = 0
        self._bus = bus
        self._handler = handler
        self._prefetch = prefetch

    @property
    def has_room(self) -> bool:
        """Whether one more message may be handed over."""
        return self.held < self._prefetch

    def hand(self, held: _Held) -> None:
        """Hold the message for the bus and call the handler soon, unless the connection is lost by then."""
        self.held += 1
        delivery = self._bus.hold(held)
        asyncio.get_running_loop().call_soon(self._call, held, delivery)

    def _call(self, held: _Held, delivery: Delivery) -> None:
        if not self._bus.holds(held):
            return
        try:
            self._handler(delivery)
        except Exception:
            log.exception("the handler of %s failed; the message stays with the broker", self.queue)

    async def cancel(self) -> None:
        """Stop new deliveries; those already handed over can still be acknowledged."""
        self._bus.forget(self)
        await asyncio.sleep(0)  # what was handed over reaches the handler before this returns


class MemoryBus:
    """The bus of `runtime.bus.port` on a `MemoryBroker`."""

    def __init__(self, broker: MemoryBroker, declarations: Declarations) -> None:
        self._broker = broker
        self._declarations = declarations
        self._connected = asyncio.Event()
        self._held: dict[_Held, None] = {}
        self._consumers: list[_Consumer] = []

    @property
    def connected(self) -> bool:
        """Whether a connection stands now."""
        return self._connected.is_set()

    async def start(self) -> None:
        """Connect and declare, once the broker is available."""
        self._broker.buses.append(self)
        self.connect()
        await self.wait_connected()

    async def stop(self) -> None:
        """Close the connection; deliveries not acknowledged go back to their queues."""
        self.disconnect()
        self._consumers.clear()
        if self in self._broker.buses:
            self._broker.buses.remove(self)

    async def wait_connected(self) -> None:
        """Return once a connection stands."""
        await self._connected.wait()

    def connect(self) -> None:
        """What the broker's coming back does; nothing while it is away."""
        if self._broker.available and not self.connected:
            self._broker.declare(self._declarations)
            self._connected.set()
            for consumer in self._consumers:
                self._join(consumer)

    def disconnect(self) -> None:
        """What losing the connection does."""
        self._connected.clear()
        for consumer in self._consumers:
            self._leave(consumer)
        held, self._held = list(self._held), {}
        for one in held:
            one.queue.put_back(one.stored)
            if one.consumer is not None:
                one.consumer.held -= 1
        for queue in dict.fromkeys(one.queue for one in held):
            queue.serve()

    async def publish(self, messages: Sequence[Message]) -> list[PublishOutcome]:
        """Publish all; without its exchange, or without a connection, a message is `UNCONFIRMED`."""
        outcomes = [self._publish_one(message) for message in messages]
        await asyncio.sleep(0)  # as on a real bus, others have their turn before the outcome is known
        return outcomes

    def _publish_one(self, message: Message) -> PublishOutcome:
        queues = self._broker.route(message) if self.connected else None
        if queues is None:
            return PublishOutcome.UNCONFIRMED
        return PublishOutcome.RETURNED if message.mandatory and not queues else PublishOutcome.CONFIRMED

    async def subscribe(self, queue: str, handler: Handler, *, prefetch: int) -> Subscription:
        """Deliver from `queue` to `handler` from now on, across reconnections."""
        consumer = _Consumer(self, queue, handler, prefetch)
        self._consumers.append(consumer)
        if self.connected:
            self._join(consumer)
        return consumer

    def is_current(self, delivery: Delivery) -> bool:
        """Whether its connection stands."""
        return self.holds(delivery.handle)

    async def ack(self, deliveries: Iterable[Delivery]) -> None:
        """Acknowledge; deliveries of a lost connection are passed over."""
        for queue in dict.fromkeys(held.queue for held in self._settle(deliveries)):
            queue.serve()

    async def peek(self, queue: str, limit: int) -> list[Delivery]:
        """Take up to `limit` messages from the head of `queue`; each must be acked or released."""
        if not self.connected:
            raise Unreachable("not connected to the broker", hint="try again when the broker is back")
        source = self._broker.queue(queue)
        if source is None:
            raise NotFound(f"the broker has no queue '{queue}'", hint="check its name")
        taken: list[Delivery] = []
        while len(taken) < limit and (stored := source.take()) is not None:
            taken.append(self.hold(_Held(source, stored)))
        return taken

    async def release(self, deliveries: Iterable[Delivery]) -> None:
        """Put peeked messages back at the head of their queue, in order."""
        settled = self._settle(deliveries)
        for held in settled:
            held.queue.put_back(held.stored)
        for queue in dict.fromkeys(held.queue for held in settled):
            queue.serve()

    def _settle(self, deliveries: Iterable[Delivery]) -> list[_Held]:
        settled: list[_Held] = []
        for delivery in deliveries:
            held: _Held = delivery.handle
            if held in self._held:
                del self._held[held]
                settled.append(held)
                if held.consumer is not None:
                    held.consumer.held -= 1
        return settled

    # for the broker's parts

    def hold(self, held: _Held) -> Delivery:
        """Note a message as handed over and not settled, and show it as a delivery."""
        self._held[held] = None
        message = held.stored.message
        return Delivery(
            queue=held.queue.name,
            exchange=message.exchange,
            routing_key=message.routing_key,
            body=message.body,
            headers=held.stored.headers(),
            content_type=message.content_type,
            redelivered=held.stored.returns > 0,
            handle=held,
        )

    def holds(self, held: _Held) -> bool:
        """Whether the message is still this bus's to handle."""
        return held in self._held

    def forget(self, consumer: _Consumer) -> None:
        """End a subscription."""
        if consumer in self._consumers:
            self._consumers.remove(consumer)
        self._leave(consumer)

    def _join(self, consumer: _Consumer) -> None:
        queue = self._broker.queue(consumer.queue)
        if queue is None:
            log.warning("cannot consume from %s: the broker has no such queue", consumer.queue)
        else:
            queue.join(consumer)

    def _leave(self, consumer: _Consumer) -> None:
        queue = self._broker.queue(consumer.queue)
        if queue is not None:
            queue.leave(consumer)


def _matches(kind: str, pattern: str, key: str) -> bool:
    if kind == "fanout":
        return True
    return _topic(pattern.split("."), key.split(".")) if kind == "topic" else pattern == key


def _topic(pattern: list[str], words: list[str]) -> bool:
    """AMQP's topic match: `*` is one word, `#` any number of them."""
    if not pattern:
        return not words
    head, rest = pattern[0], pattern[1:]
    if head == "#":
        return any(_topic(rest, words[skip:]) for skip in range(len(words) + 1))
    return bool(words) and head in ("*", words[0]) and _topic(rest, words[1:])

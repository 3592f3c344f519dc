"""The simulated bus: the broker in memory behind connections that are slow, reorder, break and lose confirms.

What it may do, a real broker and network do too: a message of a lost connection comes again, marked; a
publish that was cut off may or may not have arrived; deliveries reach a handler in any order. What was
published in one call arrives in order, whole or up to some message.
"""

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from random import Random
from typing import Any, TypeVar

from runtime.bus.memory import MemoryBroker, MemoryBus
from runtime.bus.port import Declarations, Delivery, Handler, Message, PublishOutcome, Subscription
from tests.simulation.clockwork import Life, SimLoop, outside

__all__ = ["Network", "SimBus", "Watcher"]

T = TypeVar("T")

_MOMENT = 0.000_001
RECONNECT = (0.01, 2.0)
"""Seconds until a lost connection is made again."""


def _now(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that waits for nothing."""
    try:
        work.send(None)
    except StopIteration as done:
        value: T = done.value
        return value
    raise AssertionError("it waits")


class Watcher:
    """Who sees all that passes between processes and broker; `who` is the process, with its life's number."""

    def published(self, who: str, message: Message) -> None:
        """A message reaches the broker."""

    def told(self, who: str, message: Message, outcome: PublishOutcome) -> None:
        """A process learns what became of a message that it published."""

    def routed(self, message: Message, queues: Sequence[str]) -> None:
        """The broker is about to put a message into these queues; also one that it dead-letters itself."""

    def taken(self, who: str, delivery: Delivery) -> None:
        """The broker hands a message over."""

    def acknowledges(self, who: str, delivery: Delivery) -> None:
        """A process says that it is done with a message."""

    def acknowledged(self, who: str, delivery: Delivery) -> None:
        """The broker learns of that, and drops the message."""


class _Broker(MemoryBroker):
    """Tells the network's watcher of every message that it puts into queues."""

    def __init__(self, network: "Network") -> None:
        super().__init__(network.loop.time)
        self._network = network

    def route(self, message: Message) -> int | None:
        """See the class."""
        self._network.watcher.routed(message, self.queues_of(message) or ())
        return super().route(message)


class Network:
    """The broker and all connections to it. `up`: they can be made; the rates are per message or call."""

    def __init__(self, loop: SimLoop, rng: Random) -> None:
        self.loop = loop
        self.rng = rng
        self.watcher = Watcher()
        self.broker = _Broker(self)
        self.up = True
        self.slow_rate = 0.0
        self.doubt_rate = 0.0
        self.slowed = self.doubted = self.cut_off = 0
        self._buses: list[SimBus] = []

    def latency(self) -> float:
        """Seconds for one way."""
        if self.slow_rate and self.rng.random() < self.slow_rate:
            self.slowed += 1
            return self.rng.uniform(0.05, 3.0)
        return self.rng.uniform(0.000_2, 0.004)

    def buses(self) -> list["SimBus"]:
        """Every bus that is started."""
        return list(self._buses)

    def attach(self, bus: "SimBus") -> None:
        """A bus begins to connect."""
        self._buses.append(bus)
        self.reconnect(bus, self.latency())

    def detach(self, bus: "SimBus") -> None:
        """A bus is gone for good."""
        if bus in self._buses:
            self._buses.remove(bus)

    def reconnect(self, bus: "SimBus", delay: float) -> None:
        """Make its connection after `delay`, or as soon after that as one can be made."""
        outside(self.loop.call_later, delay, self._connect, bus)

    def _connect(self, bus: "SimBus") -> None:
        if bus in self._buses and self.up:
            bus.inner.connect()
        elif bus in self._buses:
            self.loop.call_later(0.5, self._connect, bus)

    def cut(self, bus: "SimBus") -> None:
        """Break a connection; it is made again by itself."""
        if bus.connected:
            self.cut_off += 1
            outside(bus.lose)
            self.reconnect(bus, self.rng.uniform(*RECONNECT))

    def go_down(self) -> None:
        """Break every connection, and let none be made until `come_up`."""
        self.up = False
        for bus in self.buses():
            self.cut(bus)

    def come_up(self) -> None:
        """Let connections be made."""
        self.up = True

    def arrive(self, who: str, message: Message) -> PublishOutcome:
        """A message reaches the broker."""
        self.watcher.published(who, message)
        queues = self.broker.route(message)
        if message.expiration is not None:
            self.loop.call_later(message.expiration + _MOMENT, self.broker.expire)
        if queues is None:
            return PublishOutcome.UNCONFIRMED
        return PublishOutcome.RETURNED if message.mandatory and not queues else PublishOutcome.CONFIRMED


_Confirms = asyncio.Future[list[PublishOutcome] | None]
"""What the broker says of the messages of one call; None if the connection broke before."""


class SimBus:
    """See `runtime.bus.port.Bus`. One process's connection."""

    def __init__(self, network: Network, declarations: Declarations, life: Life) -> None:
        self.inner = MemoryBus(network.broker, declarations)
        self._network = network
        self.life = life
        self._generation = 0
        self._busy_until = 0.0
        self._in_flight: dict[_Confirms, Sequence[Message]] = {}
        """What each call still has on its way to the broker; empty once only the confirms are awaited."""
        life.at_death.append(self._vanish)

    def __str__(self) -> str:
        """Whose it is."""
        return str(self.life)

    @property
    def connected(self) -> bool:
        """Whether a connection stands now."""
        return self.inner.connected

    async def start(self) -> None:
        """Connect; returns once that is done."""
        self._network.attach(self)
        await self.wait_connected()

    async def stop(self) -> None:
        """Close the connection."""
        self._vanish()
        await asyncio.sleep(0)

    async def wait_connected(self) -> None:
        """Return once a connection stands."""
        await self.inner.wait_connected()

    def lose(self) -> None:
        """The connection breaks: of what is on its way, some arrived and nobody knows."""
        self._generation += 1
        in_flight, self._in_flight = self._in_flight, {}
        for future, messages in in_flight.items():
            if self._network.up and messages:
                for message in messages[: self._network.rng.randint(0, len(messages))]:
                    self._network.arrive(str(self), message)
            if not future.done():
                future.set_result(None)
        self.inner.disconnect()

    def _vanish(self) -> None:
        self._network.detach(self)
        outside(self.lose)

    async def publish(self, messages: Sequence[Message]) -> list[PublishOutcome]:
        """Publish all; each outcome says whether the broker surely has it."""
        if not self.connected or not messages:
            await asyncio.sleep(0)
            return [PublishOutcome.UNCONFIRMED] * len(messages)
        loop, network = self._network.loop, self._network
        future: _Confirms = loop.create_future()
        self._in_flight[future] = messages
        self._busy_until = max(self._busy_until + _MOMENT, loop.time() + network.latency())
        outside(loop.call_at, self._busy_until, self._reach, future, self._generation)
        outcomes = await future or [PublishOutcome.UNCONFIRMED] * len(messages)
        for message, outcome in zip(messages, outcomes, strict=True):
            network.watcher.told(str(self), message, outcome)
        return outcomes

    def _reach(self, future: _Confirms, generation: int) -> None:
        """The messages of one call reach the broker; the confirms are on their way back."""
        if generation != self._generation:
            return
        network = self._network
        outcomes = []
        messages, self._in_flight[future] = self._in_flight[future], ()
        for message in messages:
            outcome = network.arrive(str(self), message)
            if network.doubt_rate and network.rng.random() < network.doubt_rate:
                network.doubted += 1
                outcome = PublishOutcome.UNCONFIRMED
            outcomes.append(outcome)
        network.loop.call_later(network.latency(), self._confirm, future, outcomes)

    def _confirm(self, future: _Confirms, outcomes: list[PublishOutcome]) -> None:
        if self._in_flight.pop(future, None) is not None and not future.done():
            future.set_result(outcomes)

    async def subscribe(self, queue: str, handler: Handler, *, prefetch: int) -> Subscription:
        """Deliver from `queue` to `handler`, in any order."""

        def relay(delivery: Delivery) -> None:
            network = self._network
            network.watcher.taken(str(self), delivery)
            network.loop.call_later(
                network.latency(),
                self._deliver,
                handler,
                delivery,
                self._generation,
                context=self.life.context.copy(),
            )

        inner = outside(_now, self.inner.subscribe(queue, relay, prefetch=prefetch))
        return _Subscription(self.inner, inner)

    def _deliver(self, handler: Handler, delivery: Delivery, generation: int) -> None:
        if generation == self._generation and self.inner.is_current(delivery):
            handler(delivery)

    def is_current(self, delivery: Delivery) -> bool:
        """Whether its connection stands."""
        return self.inner.is_current(delivery)

    async def ack(self, deliveries: Iterable[Delivery]) -> None:
        """Acknowledge; the broker learns of it a little later, or never."""
        some = list(deliveries)
        for delivery in some:
            self._network.watcher.acknowledges(str(self), delivery)
        if some:
            loop = self._network.loop
            outside(loop.call_later, self._network.latency(), self._settle, some, self._generation)

    def _settle(self, deliveries: list[Delivery], generation: int) -> None:
        if generation != self._generation:
            return
        for delivery in dict.fromkeys(deliveries):
            if self.inner.is_current(delivery):
                self._network.watcher.acknowledged(str(self), delivery)
        _now(self.inner.ack(deliveries))

    async def peek(self, queue: str, limit: int) -> list[Delivery]:
        """Take up to `limit` messages from the head of `queue`."""
        return outside(_now, self.inner.peek(queue, limit))

    async def release(self, deliveries: Iterable[Delivery]) -> None:
        """Put peeked messages back."""
        outside(_now, self.inner.release(deliveries))


class _Subscription:
    """See `runtime.bus.port.Subscription`."""

    def __init__(self, bus: MemoryBus, inner: Any) -> None:
        self._bus = bus
        self._inner = inner

    async def cancel(self) -> None:
        """Stop new deliveries; those handed over can still be acknowledged."""
        outside(self._bus.forget, self._inner)
        await asyncio.sleep(0)

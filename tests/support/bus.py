"""What tests of a bus need: a place for deliveries, and the two kinds of bus behind one face."""

import asyncio
from abc import ABC, abstractmethod

import aio_pika

from runtime.bus.amqp import AmqpBus
from runtime.bus.memory import MemoryBroker, MemoryBus
from runtime.bus.port import Bus, Declarations, Delivery
from tests.support.proxy import Proxy

__all__ = ["PATIENCE", "AmqpHarness", "Harness", "Inbox", "MemoryHarness", "delete"]

PATIENCE = 30.0  # seconds a test waits for what must come


class Inbox:
    """A handler that keeps deliveries until a test takes them."""

    def __init__(self) -> None:
        self.waiting: list[Delivery] = []
        self._arrived = asyncio.Event()

    def __call__(self, delivery: Delivery) -> None:
        """Keep `delivery`."""
        self.waiting.append(delivery)
        self._arrived.set()

    async def take(self, number: int = 1) -> list[Delivery]:
        """The next `number` deliveries, in order of arrival; fails if they do not come."""
        async with asyncio.timeout(PATIENCE):
            while len(self.waiting) < number:
                self._arrived.clear()
                await self._arrived.wait()
        taken, self.waiting[:number] = self.waiting[:number], []
        return taken

    async def take_all(self) -> list[Delivery]:
        """Everything that has arrived, at least one."""
        first = await self.take()
        rest, self.waiting = self.waiting, []
        return first + rest


class Harness(ABC):
    """One broker, and as many buses on it as a test asks for."""

    def __init__(self) -> None:
        self._buses: list[Bus] = []
        self.declared: list[Declarations] = []

    async def bus(self, declarations: Declarations) -> Bus:
        """A started bus, stopped when the test ends."""
        bus = self.make(declarations)
        self._buses.append(bus)
        async with asyncio.timeout(PATIENCE):
            await bus.start()
        return bus

    def make(self, declarations: Declarations) -> Bus:
        """A bus that is not started."""
        self.declared.append(declarations)
        return self._make(declarations)

    async def stop(self) -> None:
        """Stop every bus."""
        for bus in self._buses:
            await bus.stop()

    @abstractmethod
    def _make(self, declarations: Declarations) -> Bus: ...

    @abstractmethod
    def cut(self) -> None:
        """Cut every connection; the buses come back by themselves."""

    @abstractmethod
    def pass_time(self, seconds: float) -> None:
        """Let time pass for the broker; real time passes by itself."""


class MemoryHarness(Harness):
    """Buses in memory."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._broker = MemoryBroker(lambda: self._now)

    def _make(self, declarations: Declarations) -> Bus:
        return MemoryBus(self._broker, declarations)

    def cut(self) -> None:
        """See the base."""
        self._broker.drop_connections()

    def pass_time(self, seconds: float) -> None:
        """See the base."""
        self._now += seconds
        self._broker.expire()


class AmqpHarness(Harness):
    """Buses on a real broker, by way of a proxy."""

    def __init__(self, proxy: Proxy) -> None:
        super().__init__()
        self._proxy = proxy

    def _make(self, declarations: Declarations) -> Bus:
        return AmqpBus(self._proxy.url, declarations, name="conformance")

    def cut(self) -> None:
        """See the base."""
        self._proxy.cut()

    def pass_time(self, seconds: float) -> None:
        """See the base."""


async def delete(url: str, declared: list[Declarations]) -> None:
    """Take what tests declared off the broker."""
    async with await aio_pika.connect(url) as connection, connection.channel() as channel:
        for declarations in declared:
            for queue in declarations.queues:
                await channel.queue_delete(queue.name)
            for exchange in declarations.exchanges:
                await channel.exchange_delete(exchange.name)

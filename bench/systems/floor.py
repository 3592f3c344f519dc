"""The floor: Baton's bus and nothing else. Two processes send each other three messages for each saga.

The same AMQP code, quorum queues, persistent and confirmed messages, acknowledged after what they caused is
confirmed; batches form by themselves, of what arrived while the last was on its way. No database, no JSON.
"""

import asyncio
import sys
from collections import deque

from bench.driver import STEPS, serve, until
from bench.place import Place
from bench.processes import Server
from runtime.bus.amqp import AmqpBus
from runtime.bus.port import Binding, Declarations, Delivery, Exchange, Message, PublishOutcome, Queue
from runtime.service import run

__all__ = ["SETTINGS", "queues", "servers"]

SETTINGS = "uvloop, 1000 sagas in flight, messages of 400 bytes"
WINDOW = 1_000  # sagas under way at once; Baton's own limit
SIZE = 400  # bytes; about that of a command
PREFETCH = 1_000
READY = 30.0  # seconds


def servers(_: Place) -> list[Server]:
    """The agent's side; the coordinator's side is the driver."""
    return [Server("agent", [sys.executable, "-m", "bench.systems.floor", "agent"], {})]


def queues(place: Place) -> list[str]:
    """The queues that are left on the broker."""
    return [f"{place.namespace}.commands", f"{place.namespace}.results"]


class Side:
    """One end: takes from its queue, and sends to the other's what `answer` makes of a batch."""

    def __init__(self, place: Place, name: str, other: str) -> None:
        self._exchange = f"{place.namespace}.floor"
        self._queue, self._other = f"{place.namespace}.{name}", other
        declarations = Declarations(
            exchanges=[Exchange(self._exchange, "direct")],
            queues=[Queue(self._queue, {"x-queue-type": "quorum", "x-delivery-limit": 20})],
            bindings=[Binding(self._queue, self._exchange, name)],
        )
        self.bus = AmqpBus(place.amqp_url, declarations, name=f"floor {name}")
        self._arrived: deque[Delivery] = deque()
        self._wake = asyncio.Event()

    async def start(self) -> None:
        """Connect and consume."""
        await self.bus.start()
        await self.bus.subscribe(self._queue, self._take, prefetch=PREFETCH)

    def _take(self, delivery: Delivery) -> None:
        self._arrived.append(delivery)
        self._wake.set()

    async def batch(self) -> list[Delivery]:
        """Everything that has arrived, at least one."""
        while not self._arrived:
            self._wake.clear()
            await self._wake.wait()
        batch = list(self._arrived)
        self._arrived.clear()
        return batch

    async def send(self, bodies: list[bytes]) -> bool:
        """Send to the other side; whether there is another side that takes it."""
        message = [Message(self._exchange, self._other, body, mandatory=True) for body in bodies]
        outcomes = await self.bus.publish(message)
        if any(outcome is PublishOutcome.UNCONFIRMED for outcome in outcomes):
            raise RuntimeError("the broker did not confirm")
        return PublishOutcome.RETURNED not in outcomes


class FloorDriver:
    """The coordinator's side: sends the next command of a saga when the last one was answered."""

    def __init__(self, place: Place) -> None:
        self._side = Side(place, "results", "commands")
        self._sagas = 0
        self._steps = 0

    async def open(self) -> None:
        """Wait for the agent's queue; what finds it is the first saga's worth of steps."""
        await self._side.start()

        async def sent() -> bool:
            return await self._side.send([_body(len(STEPS))])

        await until(sent, within=READY)
        await self._side.bus.ack(await self._side.batch())

    async def load(self, count: int) -> None:
        """Keep a window of sagas under way until `count` are done."""
        waiting, done = count - WINDOW, 0
        await self._side.send([_body(1)] * min(count, WINDOW))
        while done < count:
            batch = await self._side.batch()
            steps = [_step_of(delivery.body) for delivery in batch]
            ended = sum(step == len(STEPS) for step in steps)
            started = max(0, min(ended, waiting))
            waiting -= started
            done += ended
            self._steps += len(steps)
            await self._side.send(
                [_body(step + 1) for step in steps if step < len(STEPS)] + [_body(1)] * started
            )
            await self._side.bus.ack(batch)
        self._sagas += done

    async def lone(self) -> None:
        """One saga."""
        await self.load(1)

    async def count(self) -> tuple[int, int]:
        """Sagas and answers counted here, where the floor's only memory is."""
        return self._sagas, self._steps

    async def close(self) -> None:
        """Leave the broker."""
        await self._side.bus.stop()


async def agent() -> None:
    """Answer every command."""
    side = Side(Place.here(), "commands", "results")
    await side.start()
    while True:
        batch = await side.batch()
        await side.send([delivery.body for delivery in batch])
        await side.bus.ack(batch)


def _body(step: int) -> bytes:
    return b"%d" % step + b" " * (SIZE - 1)


def _step_of(body: bytes) -> int:
    return int(body[:1])


if __name__ == "__main__":
    if sys.argv[1:] == ["agent"]:
        run(agent())
    else:
        serve(FloorDriver)

"""Publishing what the agent has to say: in order, many confirms in flight, again until the broker has it."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from agents.limits import Limits
from runtime.bus.port import Bus, Delivery, Message, PublishOutcome
from runtime.failpoint import failpoint

__all__ = ["Outgoing", "Publisher"]

log = logging.getLogger(__name__)


class Outgoing(NamedTuple):
    """A message to publish. `keep`: worth sending again if the broker did not confirm it.

    Once the broker has it, the command `settles` is reported and the delivery `releases` acknowledged.
    """

    message: Message
    settles: str = ""
    keep: bool = True
    releases: Delivery | None = None


class Publisher:
    """A task of its own, so that nothing else waits for the broker. `on_confirmed` gets what is settled."""

    def __init__(self, bus: Bus, limits: Limits, on_confirmed: Callable[[Sequence[str]], None]) -> None:
        self._bus = bus
        self._limits = limits
        self._on_confirmed = on_confirmed
        self._waiting: deque[Outgoing] = deque()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._returned = 0

    def put(self, items: Sequence[Outgoing]) -> None:
        """Publish these after what is already waiting."""
        if items:
            self._waiting.extend(items)
            self._idle.clear()
            self._wake.set()

    async def flush(self) -> None:
        """Return once the broker has everything, or has no queue for it."""
        await self._idle.wait()

    async def run(self) -> None:
        """Work until cancelled; what is not confirmed then is still in the journal."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                await self._bus.wait_connected()
                count = min(len(self._waiting), self._limits.publish_batch)
                await self._publish([self._waiting.popleft() for _ in range(count)])
            if not self._returned:
                self._idle.set()

    async def _publish(self, items: list[Outgoing]) -> None:
        outcomes = await self._bus.publish([item.message for item in items])
        if any(item.settles for item in items):
            failpoint("agent.after_publish")
        told = list(zip(items, outcomes, strict=True))
        confirmed = [item for item, what in told if what is PublishOutcome.CONFIRMED]
        self._on_confirmed([item.settles for item in confirmed if item.settles])
        releases = [item.releases for item in confirmed if item.releases is not None]
        if releases:
            await self._bus.ack(releases)
        self._waiting.extendleft(
            item for item, what in reversed(told) if what is PublishOutcome.UNCONFIRMED and item.keep
        )
        returned = [item for item, what in told if what is PublishOutcome.RETURNED and item.keep]
        if returned:
            if not self._returned:
                log.warning("nobody takes results of %s; will keep trying", returned[0].message.routing_key)
            self._returned += 1
            loop = asyncio.get_running_loop()
            loop.call_later(self._limits.retry_returned, self._put_again, returned)

    def _put_again(self, items: list[Outgoing]) -> None:
        """A result that no queue took: its shard has no coordinator yet, or no longer."""
        self._returned -= 1
        self.put(items)

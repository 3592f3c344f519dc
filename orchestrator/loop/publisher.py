"""Sends what is committed: the outbox, and dead letters. Both try until the broker confirms."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from orchestrator.loop.intake import OutboxDone
from orchestrator.store.port import OutboxMessage
from orchestrator.world import World
from runtime.bus.port import Bus, Delivery, Message, PublishOutcome
from runtime.failpoint import failpoint
from schemas.codec import decode
from schemas.messages import Command
from schemas.names import AGAIN_HEADER, REASON_HEADER, Topology
from schemas.times import Micros, to_rfc3339

__all__ = ["DeadLetters", "Publisher"]

MAX_IN_FLIGHT = 500
RETRY_SECONDS = 0.2


class Publisher:
    """Publishes outbox messages in order, many confirms in flight, and reports what became of them.

    A message the broker did not confirm is sent again, after a reconnection if need be; receivers dedup. That
    a second copy expires, or is too late to be sent, proves nothing of the first: somebody may have taken it.
    """

    def __init__(
        self, bus: Bus, topology: Topology, world: World, done: Callable[[OutboxDone], None]
    ) -> None:
        self._bus = bus
        self._topology = topology
        self._world = world
        self._done = done
        self._waiting: deque[OutboxMessage] = deque()
        self._perhaps_sent: set[int] = set()
        """Ids of waiting messages that the broker may have already."""
        self._wake = asyncio.Event()

    @property
    def depth(self) -> int:
        """How many committed messages are not known to be with the broker."""
        return len(self._waiting)

    def put(self, messages: Sequence[OutboxMessage], *, perhaps_sent: bool = False) -> None:
        """Send these, after all that were put before. `perhaps_sent`: a former life may have done so."""
        if messages:
            self._waiting.extend(messages)
            if perhaps_sent:
                self._perhaps_sent.update(message.id for message in messages)
            self._wake.set()

    async def run(self) -> None:
        """Send until cancelled; what was not confirmed stays in the store's outbox."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                await self._bus.wait_connected()
                await self._send_some()

    async def _send_some(self) -> None:
        now = self._world.now()
        some = [self._waiting[index] for index in range(min(len(self._waiting), MAX_IN_FLIGHT))]
        late = [message for message in some if self._is_useless(message, now)]
        timely = [message for message in some if message not in late] if late else some
        failpoint("coordinator.before_publish")
        publishing = asyncio.ensure_future(
            self._bus.publish([self._wire(message, now) for message in timely])
        )
        await asyncio.sleep(0)  # the frames are written, the confirms are not yet in
        failpoint("coordinator.after_publish")
        outcomes = await publishing
        failpoint("coordinator.after_confirm")
        for _ in some:
            self._waiting.popleft()
        results = list(zip(timely, outcomes, strict=True))
        again = [message for message, outcome in results if outcome is PublishOutcome.UNCONFIRMED]
        self._waiting.extendleft(reversed(again))
        returned = [message for message, outcome in results if outcome is PublishOutcome.RETURNED]
        sent = [message.id for message, outcome in results if outcome is not PublishOutcome.UNCONFIRMED]
        sent += [message.id for message in late]
        expired = [message for message in late if message.id not in self._perhaps_sent]
        self._perhaps_sent.difference_update(sent)
        self._perhaps_sent.update(message.id for message in again)
        if not sent:
            await asyncio.sleep(RETRY_SECONDS)
        else:
            self._done(OutboxDone(sent, self._commands(returned), self._commands(expired)))

    def _is_useless(self, message: OutboxMessage, now: Micros) -> bool:
        """Whether it is too late to send this.

        Not for one that its agent may have had: it answers what became of that, and refuses what is too late.
        """
        late = message.expires_at is not None and message.expires_at <= now
        asks = message.id in self._perhaps_sent and message.routing_key.startswith(Topology.agent_key(""))
        return late and not asks

    def _wire(self, message: OutboxMessage, now: Micros) -> Message:
        """The message as it goes out; what is left of its time, or that time anew, becomes its expiration."""
        again = message.id in self._perhaps_sent
        expiration: float | None = None
        if message.expires_at is not None:
            left = message.expires_at - (now if message.expires_at > now else message.at)
            expiration = max(left / 1_000_000, 0.001)
        return Message(
            exchange=message.exchange,
            routing_key=message.routing_key,
            body=message.body,
            headers={**message.headers, AGAIN_HEADER: True} if again else message.headers,
            content_type=message.content_type,
            expiration=expiration,
            mandatory=message.mandatory,
        )

    def _commands(self, messages: list[OutboxMessage]) -> list[Command]:
        commands = self._topology.commands
        return [decode(message.body, Command) for message in messages if message.exchange == commands]


class DeadLetters:
    """Sends refused deliveries to the dead-letter exchange, each with its reason, and only then acks them."""

    def __init__(self, bus: Bus, topology: Topology, world: World) -> None:
        self._bus = bus
        self._topology = topology
        self._world = world
        self._waiting: deque[tuple[Delivery, str]] = deque()
        self._wake = asyncio.Event()

    def put(self, refused: Sequence[tuple[Delivery, str]]) -> None:
        """Dead-letter these deliveries, each with its reason."""
        if refused:
            self._waiting.extend(refused)
            self._wake.set()

    async def run(self) -> None:
        """Work until cancelled; what is not done then is still unacknowledged, and comes again."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                await self._bus.wait_connected()
                some = [self._waiting.popleft() for _ in range(min(len(self._waiting), MAX_IN_FLIGHT))]
                at = self._world.now()
                outcomes = await self._bus.publish(
                    [self._letter(delivery, why, at) for delivery, why in some]
                )
                done = [
                    delivery
                    for (delivery, _), outcome in zip(some, outcomes, strict=True)
                    if outcome is not PublishOutcome.UNCONFIRMED
                ]
                again = [pair for pair in some if pair[0] not in done]
                self._waiting.extend(again)
                if again:
                    await asyncio.sleep(RETRY_SECONDS)
                await self._bus.ack(done)

    def _letter(self, delivery: Delivery, reason: str, at: Micros) -> Message:
        return Message(
            exchange=self._topology.dead,
            routing_key=delivery.routing_key,
            body=delivery.body,
            headers={
                **{key: value for key, value in delivery.headers.items() if not key.startswith("x-")},
                REASON_HEADER: reason[:1000],
                "x-baton-exchange": delivery.exchange,
                "x-baton-routing-key": delivery.routing_key,
                "x-baton-queue": delivery.queue,
                "x-baton-at": to_rfc3339(at),
            },
            content_type=delivery.content_type,
        )

"""What passed between the processes and the broker, noted at the broker: each message in each queue, its end.

Knows nothing of what the processes believe. `Copy.end` is what the broker did with a message; whether that
was right is for the invariants (`invariants/wire.py`).
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from orchestrator.store.port import OutboxMessage
from runtime.bus.port import Delivery, Message, PublishOutcome
from schemas.codec import Malformed, decode
from schemas.messages import Command
from schemas.names import REASON_HEADER
from tests.simulation.network import Watcher
from tests.simulation.nodes import TOPOLOGY

__all__ = ["Copy", "Key", "Wire", "key_of"]

Key = tuple[str, str, bytes]
"""Exchange, routing key and body: what a message is known by on its way."""


def key_of(message: Message | OutboxMessage) -> Key:
    """What the message is known by."""
    return message.exchange, message.routing_key, message.body


@dataclass(eq=False)
class Copy:
    """A message in one queue.

    `takes`: when it was handed over, in seconds, and to whom. `end`: empty while it is there, then `acked` or
    the reason for which the broker dropped it; `by`: who acknowledged it.
    """

    queue: str
    message: Message
    takes: list[tuple[float, str]] = field(default_factory=list)
    end: str = ""
    by: str = ""


@dataclass
class Wire(Watcher):
    """All that the broker saw. `time` gives seconds."""

    time: Callable[[], float]
    on_published: Callable[[str, Message], None]
    on_routed: Callable[[Message], None]
    on_acknowledges: Callable[[str, Copy], None]
    copies: defaultdict[str, list[Copy]] = field(default_factory=lambda: defaultdict(list))
    """By queue, in the order in which they came."""
    arrived: set[Key] = field(default_factory=set)
    confirmed: Counter[Key] = field(default_factory=Counter)
    """How often a process was told that the broker has it, or has no queue for it."""
    letters: Counter[tuple[str, bytes]] = field(default_factory=Counter)
    """Dead letters that processes wrote, by the queue from which the message came and its body."""
    unsure: Counter[tuple[str, bytes]] = field(default_factory=Counter)
    """How often a process was not told whether such a letter arrived."""
    _taken: defaultdict[str, dict[str, float]] = field(default_factory=lambda: defaultdict(dict))
    """By command the lives that were given it, and when first."""

    def published(self, who: str, message: Message) -> None:
        """See `Watcher`."""
        self.arrived.add(key_of(message))
        self.on_published(who, message)

    def told(self, who: str, message: Message, outcome: PublishOutcome) -> None:
        """See `Watcher`."""
        if outcome is not PublishOutcome.UNCONFIRMED:
            self.confirmed[key_of(message)] += 1
        elif message.exchange == TOPOLOGY.dead:
            self.unsure[message.headers["x-baton-queue"], message.body] += 1

    def routed(self, message: Message, queues: Sequence[str]) -> None:
        """See `Watcher`."""
        for queue in queues:
            self.copies[queue].append(Copy(queue, message))
        deaths = message.headers.get("x-death")
        if deaths:
            self._ended(deaths[0]["queue"], message.body, deaths[0]["reason"])
        elif message.exchange == TOPOLOGY.dead and message.headers.get(REASON_HEADER):
            self.letters[message.headers["x-baton-queue"], message.body] += 1
        self.on_routed(message)

    def taken(self, who: str, delivery: Delivery) -> None:
        """See `Watcher`."""
        self._copy(delivery).takes.append((self.time(), who))
        if delivery.exchange == TOPOLOGY.commands:
            with suppress(Malformed):
                command = decode(delivery.body, Command)
                self._taken[command.id].setdefault(who, self.time())

    def acknowledges(self, who: str, delivery: Delivery) -> None:
        """See `Watcher`."""
        self.on_acknowledges(who, self._copy(delivery))

    def acknowledged(self, who: str, delivery: Delivery) -> None:
        """See `Watcher`."""
        copy = self._copy(delivery)
        reason, copy.end, copy.by = copy.end, "acked", who
        if reason:  # it was another copy of the same message that the broker dropped
            self._ended(copy.queue, copy.message.body, reason)

    def taken_at(self, command_id: str, who: str) -> float | None:
        """When this life was first given a command, in seconds; None if a life before it was."""
        return self._taken[command_id].get(who)

    def takers(self, command_id: str) -> Iterable[str]:
        """The lives that were given a command."""
        return self._taken[command_id]

    def _copy(self, delivery: Delivery) -> Copy:
        number: int = delivery.handle.stored.number
        return self.copies[delivery.queue][number]

    def _ended(self, queue: str, body: bytes, reason: str) -> None:
        """The broker dropped a message; of several alike, one that nobody was given."""
        there = [copy for copy in self.copies[queue] if not copy.end and copy.message.body == body]
        min(there, key=lambda copy: bool(copy.takes)).end = reason

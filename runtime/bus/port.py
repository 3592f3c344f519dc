"""The bus, as the coordinator and the agents see it.

Contract (one behaviour suite holds both implementations to it, `tests/conformance`):

- `start` returns when the first connection stands and the topology is declared, retrying with backoff while
  the broker is away; a lost connection is made again in the background, declarations and subscriptions
  included. One log line per change.
- `publish` sends persistent messages with many confirms in flight and never raises because the broker is
  away: each message's outcome says whether the broker has it.
- A delivery is held by the broker until acknowledged; it comes again (`redelivered`) after a lost connection.
  Acknowledging a delivery of a connection that is gone does nothing.
- A subscription's handler is a plain function, called on the event loop once per delivery, in any order.
- A queue declared with `x-single-active-consumer` delivers to one subscription at a time; the others wait.
  (AMQP's own exclusive consumers are not enforced by quorum queues.)
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

__all__ = [
    "Binding",
    "Bus",
    "Declarations",
    "Delivery",
    "Exchange",
    "Handler",
    "Message",
    "PublishOutcome",
    "Queue",
    "Subscription",
]


@dataclass(frozen=True, slots=True)
class Exchange:
    """A durable exchange; `kind` is `topic`, `direct` or `fanout`."""

    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class Queue:
    """A durable queue with its `x-…` arguments."""

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Binding:
    """Messages of `exchange` whose routing key matches `key` go to `queue`."""

    queue: str
    exchange: str
    key: str


@dataclass(frozen=True, slots=True)
class Declarations:
    """What a process needs to stand on the broker; declared on every (re)connection."""

    exchanges: Sequence[Exchange] = ()
    queues: Sequence[Queue] = ()
    bindings: Sequence[Binding] = ()


@dataclass(frozen=True, slots=True)
class Message:
    """A message to publish. `expiration` in seconds; `mandatory`: say so when no queue takes it.

    The bus gives each publish attempt a new AMQP `message_id`; what dedups travels in the body.
    """

    exchange: str
    routing_key: str
    body: bytes
    headers: Mapping[str, Any] = field(default_factory=dict)
    content_type: str = "application/json"
    expiration: float | None = None
    mandatory: bool = False


class PublishOutcome(Enum):
    """What became of one published message."""

    CONFIRMED = "confirmed"
    RETURNED = "returned"
    """No queue took it (only when `mandatory`)."""
    UNCONFIRMED = "unconfirmed"
    """The broker may or may not have it: send it again when connected."""


@dataclass(frozen=True, slots=True, eq=False)
class Delivery:
    """A message that arrived and is held until acknowledged. `handle` is the implementation's own."""

    queue: str
    exchange: str
    routing_key: str
    body: bytes
    headers: Mapping[str, Any]
    content_type: str
    redelivered: bool
    handle: Any


Handler = Callable[[Delivery], None]


class Subscription(Protocol):
    """A standing consumer."""

    async def cancel(self) -> None:
        """Stop new deliveries; those already handed over can still be acknowledged."""


class Bus(Protocol):
    """A connection to the broker; see the module's contract."""

    @property
    def connected(self) -> bool:
        """Whether a connection stands now."""

    async def start(self) -> None:
        """Connect and declare, however long that takes."""

    async def stop(self) -> None:
        """Close the connection; deliveries not acknowledged go back to their queues."""

    async def wait_connected(self) -> None:
        """Return once a connection stands."""

    async def publish(self, messages: Sequence[Message]) -> list[PublishOutcome]:
        """Publish all, side by side, and tell each one's outcome in order."""

    async def subscribe(self, queue: str, handler: Handler, *, prefetch: int) -> Subscription:
        """Deliver from `queue` to `handler`, at most `prefetch` unacknowledged at a time.

        Returns at once and holds across reconnections. An exception from `handler` is logged and its message
        stays unacknowledged.
        """

    def is_current(self, delivery: Delivery) -> bool:
        """Whether its connection stands; else the broker has given it to whoever is next."""

    async def ack(self, deliveries: Iterable[Delivery]) -> None:
        """Acknowledge; deliveries of a lost connection are passed over."""

    async def peek(self, queue: str, limit: int) -> list[Delivery]:
        """Take up to `limit` messages from the head of `queue`; each must be acked or released.

        `NotFound` for a queue that does not exist, `Unreachable` without a connection.
        """

    async def release(self, deliveries: Iterable[Delivery]) -> None:
        """Put peeked messages back at the head of their queue, in order.

        A quorum queue puts them behind what was put back before and not taken since.
        """

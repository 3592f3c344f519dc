"""The messages an agent sends."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from agents.answers import Identity
from agents.sdk import Action
from agents.settings import Settings
from runtime.bus.port import Delivery, Message
from schemas.codec import encode
from schemas.messages import Presence
from schemas.names import REASON_HEADER, Topology

__all__ = ["dead_letter", "presence_message", "result_message"]

MAX_REASON_CHARS: Final = 1000


def result_message(settings: Settings, shard: str, body: bytes) -> Message:
    """A result for the coordinator of `shard`. Mandatory: one that nobody takes must not look delivered."""
    topology = settings.topology
    return Message(topology.results, topology.result_key(shard, settings.name), body, mandatory=True)


def presence_message(
    settings: Settings, identity: Identity, actions: Mapping[str, Action], at: datetime, *, stopping: bool
) -> Message:
    """The agent's announcement of itself. Lost without harm: another follows."""
    body = encode(
        Presence(
            name=identity.agent,
            instance_id=identity.instance_id,
            version=settings.version,
            at=at,
            pools=list(settings.pools),
            labels=settings.labels,
            actions=[action.info() for _, action in sorted(actions.items())],
            stopping=stopping,
        )
    )
    topology = settings.topology
    return Message(topology.results, topology.presence_key(settings.name), body)


def dead_letter(topology: Topology, delivery: Delivery, reason: str, at: datetime) -> Message:
    """A delivery that cannot be read, as it goes to the dead-letter exchange."""
    return Message(
        exchange=topology.dead,
        routing_key=delivery.routing_key,
        body=delivery.body,
        headers={
            **{key: value for key, value in delivery.headers.items() if not key.startswith("x-")},
            REASON_HEADER: reason[:MAX_REASON_CHARS],
            "x-baton-exchange": delivery.exchange,
            "x-baton-routing-key": delivery.routing_key,
            "x-baton-queue": delivery.queue,
            "x-baton-at": at.isoformat().replace("+00:00", "Z"),
        },
        content_type=delivery.content_type,
    )

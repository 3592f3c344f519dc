"""What can reach the coordinator's loop, and how a message from the bus becomes one of these."""

from typing import Any

from msgspec import Struct

from orchestrator.core.definition import Definition
from orchestrator.core.inputs import Input, SignalInput
from orchestrator.starting.due import AdmitQueued, DebounceDue, PlanSchedules, ScheduleDue
from orchestrator.store.port import WaitingTask
from runtime.bus.port import Delivery
from schemas.codec import MAX_MESSAGE_BYTES, Malformed, decode
from schemas.events import Event, read_event
from schemas.messages import Command, Presence, Result
from schemas.names import AGAIN_HEADER, Topology

__all__ = [
    "ApplyDefinition",
    "CommandExpiredOnBus",
    "Content",
    "EventReceived",
    "InputForRun",
    "LookForEvent",
    "OutboxDone",
    "PresenceReceived",
    "ResultArrived",
    "RetryRun",
    "SignalArrived",
    "StartRun",
    "TelemetryDone",
    "read_delivery",
]


class EventReceived(Struct, frozen=True):
    """A business event, from the bus or over HTTP; answered with its `InboxRecord`."""

    event: Event
    traceparent: str = ""


class ResultArrived(Struct, frozen=True):
    """An agent's result. `size` is its length on the wire in bytes."""

    result: Result
    size: int


class PresenceReceived(Struct, frozen=True):
    """An agent's announcement."""

    presence: Presence


class CommandExpiredOnBus(Struct, frozen=True):
    """Something was dead-lettered; `command` is one of ours that nobody ever took, else None."""

    command: Command | None


class StartRun(Struct, frozen=True):
    """Somebody starts a run by hand; answered with the run's id. An empty key is no key."""

    workflow: str
    key: str = ""
    input: Any = None
    traceparent: str = ""


class ApplyDefinition(Struct, frozen=True):
    """Somebody applies a workflow document; answered with its version."""

    definition: Definition


class InputForRun(Struct, frozen=True):
    """Something happens to one run: an operator's move, or its time has come. `given` is for the machine."""

    run_id: str
    given: Input


class RetryRun(Struct, frozen=True):
    """Somebody wants a step of a run, and what depends on it, done again; answered with the run's id.

    A run that has ended stays as it is, and a new one goes on from its results: of the same version, or of
    the `current` one.
    """

    run_id: str
    step: str
    who: str
    why: str = ""
    current: bool = False


class SignalArrived(Struct, frozen=True):
    """One run's move has something to tell the run `to`; it stays stored until that one has had it."""

    id: str
    to: str
    given: SignalInput


class LookForEvent(Struct, frozen=True):
    """A task has come to wait for an event, and one that came before may be it.

    `after` is the number of the last kept event that it was offered.
    """

    waiting: WaitingTask
    after: int = 0


class OutboxDone(Struct, frozen=True):
    """The publisher is done with these outbox messages; some commands found no queue, some were too late."""

    sent: list[int]
    returned: list[Command] = []
    expired: list[Command] = []


class TelemetryDone(Struct, frozen=True):
    """Telemetry has dealt with every fact up to this one."""

    cursor: int


Content = (
    EventReceived
    | ResultArrived
    | PresenceReceived
    | CommandExpiredOnBus
    | StartRun
    | ApplyDefinition
    | InputForRun
    | RetryRun
    | SignalArrived
    | LookForEvent
    | AdmitQueued
    | ScheduleDue
    | DebounceDue
    | PlanSchedules
    | OutboxDone
    | TelemetryDone
)


def read_delivery(delivery: Delivery, topology: Topology, shard: str, max_event_bytes: int) -> Content:
    """What a message says; raises `Malformed` when it says nothing that belongs on its queue."""
    if delivery.queue == topology.events_inbox:
        event = read_event(delivery.body, delivery.content_type, delivery.headers, limit=max_event_bytes)
        return EventReceived(event, event.traceparent)
    if delivery.queue == topology.results_queue(shard):
        return ResultArrived(decode(delivery.body, Result, limit=MAX_MESSAGE_BYTES), len(delivery.body))
    if delivery.queue == topology.presence:
        return PresenceReceived(decode(delivery.body, Presence, limit=MAX_MESSAGE_BYTES))
    return CommandExpiredOnBus(_expired_command(delivery, shard))


def _expired_command(delivery: Delivery, shard: str) -> Command | None:
    """The command in a dead letter, if it proves that the command was never started.

    Only the broker's word that it expired counts, and only if no agent ever held it or a copy of it.
    """
    deaths = delivery.headers.get("x-death")
    first = deaths[0] if isinstance(deaths, list) and deaths else None
    if not isinstance(first, dict) or first.get("reason") != "expired":
        return None
    if delivery.headers.get("x-delivery-count") or AGAIN_HEADER in delivery.headers:
        return None
    try:
        command = decode(delivery.body, Command, limit=MAX_MESSAGE_BYTES)
    except Malformed:
        return None  # listed with the dead letters, where it already is
    return command if command.reply_to == shard else None

"""What a move sends, as messages for the outbox: commands, emitted events, and what the world is told."""

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from orchestrator.core.inputs import Dispatch, Emission, Move
from orchestrator.core.model import Run
from orchestrator.loop.lifecycle import lifecycle_events
from orchestrator.store.port import OutboxMessage
from schemas.codec import encode
from schemas.events import CONTENT_TYPE, Event, new_event, write_event
from schemas.names import Topology
from schemas.times import Micros
from schemas.workflow import DEFAULT_PRIORITY

__all__ = ["Outgoing"]


class Outgoing:
    """The messages of one batch, put into `outbox` as they are decided."""

    def __init__(
        self, topology: Topology, next_id: Callable[[], int], lifecycle: str, outbox: list[OutboxMessage]
    ) -> None:
        self._topology = topology
        self._next_id = next_id
        self._lifecycle = lifecycle
        self._outbox = outbox
        self._priorities: dict[int, int] = {}
        """Of messages with another than the default, by their ids."""

    def send(self, before: Run | None, move: Move, now: Micros) -> None:
        """All that a move sends."""
        for dispatch in move.commands:
            self._command(move.run, dispatch, now)
        for emission in move.emissions:
            self._emission(move.run, emission, now)
        for key, event in lifecycle_events(before, move, self._topology.namespace, self._lifecycle):
            self._put(self._topology.lifecycle, key, event, now)

    def order(self) -> None:
        """Put what is urgent first; ids still grow, so that a later life sends in the same order."""
        if not self._priorities:
            return
        ids = [message.id for message in self._outbox]
        self._outbox.sort(key=lambda message: -self._priorities.get(message.id, DEFAULT_PRIORITY))
        self._outbox[:] = [
            replace(message, id=number) for number, message in zip(ids, self._outbox, strict=True)
        ]
        self._priorities.clear()

    def _command(self, run: Run, dispatch: Dispatch, now: Micros) -> None:
        command = dispatch.command
        message = OutboxMessage(
            id=self._next_id(),
            exchange=self._topology.commands,
            routing_key=dispatch.target,
            body=encode(command),
            at=now,
            headers=_traced(run, dispatch.span_id),
            expires_at=now + int((command.expires_at - command.issued_at).total_seconds() * 1_000_000),
            mandatory=True,
        )
        self._outbox.append(message)
        if command.priority != DEFAULT_PRIORITY:
            self._priorities[message.id] = command.priority

    def _emission(self, run: Run, emission: Emission, now: Micros) -> None:
        event = new_event(
            id=emission.id,
            source=f"/baton/{self._topology.namespace}/{run.head.workflow}",
            type=emission.type,
            subject=emission.subject or None,
            at=now,
            data=emission.data,
            hops=run.head.hops + 1,
        )
        self._put(self._topology.events, emission.type, event, now, headers=_traced(run, emission.span_id))

    def _put(self, exchange: str, key: str, event: Event, now: Micros, **options: Any) -> None:
        body = write_event(event)
        self._outbox.append(
            OutboxMessage(self._next_id(), exchange, key, body, now, content_type=CONTENT_TYPE, **options)
        )


def _traced(run: Run, span_id: str) -> dict[str, str]:
    return {"traceparent": f"00-{run.head.trace.trace_id}-{span_id}-01"}

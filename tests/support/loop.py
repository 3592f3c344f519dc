"""A coordinator's loop in this process: the bus in memory, the database real, the agents played by the test.

    async with Loop(tmp_path) as loop:
        await loop.apply(DOCUMENT)
        await loop.event("com.example.it", {"key": "k"})
        command = await loop.command()
        await loop.answer(command)

`crash` and `start` are a new life on the same database and broker.
"""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import msgspec

from orchestrator.coordinator import Coordinator
from orchestrator.core.model import Run
from orchestrator.document import read_workflow
from orchestrator.intake import ApplyDefinition
from orchestrator.metrics import Metrics
from orchestrator.settings import Settings
from orchestrator.store.port import HistoryEntry, InboxRecord
from orchestrator.store.reader import SqliteReader
from orchestrator.store.sqlite import SqliteStore
from orchestrator.topology import coordinator_declarations
from orchestrator.world import SystemWorld
from runtime.bus.memory import MemoryBroker, MemoryBus
from runtime.bus.port import Binding, Declarations, Delivery, Message, Queue
from schemas.codec import decode, encode
from schemas.events import new_event, write_event
from schemas.messages import Command, ErrorInfo, Result, ResultStatus
from schemas.names import Topology
from schemas.times import Micros
from tests.support.waiting import eventually, until

__all__ = ["EVENT", "FAILED", "PLAIN", "TOPOLOGY", "Loop", "data", "works"]

TOPOLOGY = Topology()
CLOUDEVENT = "application/cloudevents+json"
EVENT = "com.example.it"
FAILED = ErrorInfo(code="told_to", message="it was told to fail", retryable=False)

PLAIN = f"""
workflow: plain
triggers:
  - event: {EVENT}
    if: event.data.wanted != false
    key: event.data.key
    input: {{size: "${{{{ event.data.size }}}}"}}
input:
  type: object
  properties: {{size: {{type: integer}}}}
steps:
  - {{id: a, action: do.it, target: h1, compensate: {{action: undo.it, retry: {{attempts: 1}}}}}}
  - {{id: b, action: do.more, target: h1}}
"""


def data(key: Any = "k", size: Any = 1, **more: Any) -> dict[str, Any]:
    """An event's data that starts a run of `plain`."""
    return {"key": key, "size": size, "wanted": True, **more}


class Clock(SystemWorld):
    """The real world, some time ahead."""

    ahead = 0

    def now(self) -> Micros:
        """Microseconds since the epoch."""
        return super().now() + self.ahead

    def skip(self, seconds: float) -> None:
        """Let time pass."""
        self.ahead += int(seconds * 1_000_000)


class Loop:
    """One database and one broker in memory, and the coordinator that lives on them now."""

    def __init__(self, directory: Path, **changes: Any) -> None:
        self.settings = msgspec.structs.replace(Settings(), **changes)
        self.broker = MemoryBroker()
        self.world = Clock()
        self.commands: list[Command] = []
        self.lifecycle: list[tuple[str, Any]] = []
        self.dead: list[Delivery] = []
        self._path = directory / "baton.db"
        self._taken = 0
        declared = coordinator_declarations(TOPOLOGY, "0")
        self.bus = MemoryBus(self.broker, declared)
        own, watch = TOPOLOGY.agent_queue("h1"), "watch"
        self.agent = MemoryBus(
            self.broker,
            Declarations(
                exchanges=declared.exchanges,
                queues=(Queue(own, TOPOLOGY.work_arguments()), Queue(watch, {})),
                bindings=(
                    Binding(own, TOPOLOGY.commands, TOPOLOGY.agent_key("h1")),
                    Binding(watch, TOPOLOGY.lifecycle, "#"),
                ),
            ),
        )

    async def __aenter__(self) -> Self:
        await self.agent.start()
        await self.agent.subscribe(TOPOLOGY.agent_queue("h1"), self._take, prefetch=1_000)
        await self.agent.subscribe("watch", self._watch, prefetch=1_000)
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.crash()
        await self.agent.stop()

    async def start(self) -> None:
        """A new life."""
        self.store, self.reader = SqliteStore(self._path), SqliteReader(self._path)
        await self.store.open()
        await self.reader.open()
        await self.bus.start()
        self.metrics = Metrics()
        self.coordinator = Coordinator(
            self.settings, TOPOLOGY, self.store, self.bus, self.world, self.metrics
        )
        await self.coordinator.start()
        self.running = asyncio.create_task(self.coordinator.run())

    async def crash(self) -> None:
        """The end of this life, wherever it is; what was not acknowledged goes back to its queue."""
        self.running.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await self.running
        await self.bus.stop()
        await self.reader.close()
        await self.store.close()

    def _take(self, delivery: Delivery) -> None:
        command = decode(delivery.body, Command)
        if all(command.id != known.id for known in self.commands):  # as a journal would
            self.commands.append(command)
        self._done(delivery)

    def _watch(self, delivery: Delivery) -> None:
        self.lifecycle.append((delivery.routing_key, decode(delivery.body, dict[str, Any])))
        self._done(delivery)

    def _done(self, delivery: Delivery) -> None:
        asyncio.get_running_loop().create_task(self.agent.ack([delivery]))

    # what comes in

    async def apply(self, document: str) -> None:
        """Apply a workflow document."""
        await self.coordinator.submit(ApplyDefinition(read_workflow(document.encode(), "test.yaml")))

    async def send(self, exchange: str, key: str, body: bytes, content_type: str = CLOUDEVENT) -> None:
        """Publish anything."""
        await self.agent.publish([Message(exchange, key, body, content_type=content_type)])

    async def event(self, kind: str, data: Any, event_id: str = "1") -> None:
        """Publish an event from `/tests`."""
        event = new_event(id=event_id, source="/tests", type=kind, at=0, data=data)
        await self.send(TOPOLOGY.events, kind, write_event(event))

    async def answer(self, asked: Command, status: str = "succeeded", **more: Any) -> None:
        """Say as agent h1, or as whom `more` says, what became of a command."""
        now = datetime.now(UTC)
        result = Result(
            command_id=asked.id,
            run_id=asked.run_id,
            step=asked.step,
            host_index=asked.host_index,
            attempt=asked.attempt,
            epoch=asked.epoch,
            agent="h1",
            instance_id="i",
            status=ResultStatus(status),
            started_at=now,
            finished_at=now,
        )
        body = encode(msgspec.structs.replace(result, **more))
        await self.send(TOPOLOGY.results, TOPOLOGY.result_key("0", "h1"), body, "application/json")

    # what comes of it

    async def command(self) -> Command:
        """The next command that the agent gets."""
        await until(lambda: len(self.commands) > self._taken, what="a command")
        self._taken += 1
        return self.commands[self._taken - 1]

    async def run(self, run_id: str) -> Run:
        """A run as it is stored."""
        run = await self.reader.run(run_id)
        assert run is not None
        return run

    async def status(self, run_id: str, wanted: str) -> Run:
        """The run, once it has this status."""

        async def look() -> Run | None:
            run = await self.run(run_id)
            return run if run.status == wanted else None

        return await eventually(look, what=f"run {run_id} to be {wanted}", every=0.005)

    async def history(self, run_id: str) -> list[HistoryEntry]:
        """A run's facts."""
        return (await self.reader.history(run_id, limit=1_000)).items

    async def inbox(self, count: int) -> list[InboxRecord]:
        """What became of events and results, newest first, once there are so many."""

        async def look() -> list[InboxRecord] | None:
            items = (await self.reader.inbox(limit=1_000)).items
            return items if len(items) >= count else None

        return await eventually(look, what=f"{count} records in the inbox", every=0.005)

    async def letters(self, count: int) -> list[Delivery]:
        """The dead letters, once there are so many, each acknowledged here."""
        found: list[Delivery] = []

        async def look() -> list[Delivery] | None:
            some = await self.agent.peek(TOPOLOGY.dead, 10_000)
            await self.agent.ack(some)
            found.extend(some)
            return found if len(found) >= count else None

        return await eventually(look, what=f"{count} dead letters", every=0.005)

    def waiting(self, queue: str) -> int:
        """How many messages are ready in a queue."""
        there = self.broker.queue(queue)
        assert there is not None
        return len(there._ready)


async def works(loop: Loop, key: str = "after") -> None:
    """A good event still starts a run, and its run ends well."""
    await loop.event(EVENT, data(key), event_id=f"good {key}")
    first = await loop.command()
    await loop.answer(first)
    await loop.answer(await loop.command())
    await loop.status(first.run_id, "succeeded")

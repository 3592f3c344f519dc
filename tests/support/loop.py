"""A coordinator's loop in this process: the bus in memory, the database real, the agents played by the test.

    async with Loop(tmp_path) as loop:
        await loop.apply(DOCUMENT)
        await loop.event("com.example.it", {"key": "k"})
        command = await loop.command()
        await loop.answer(command)

`crash` and `start` are a new life on the same database and broker. `hosts` are the agents there are; each
takes commands from its queue, and announces itself when the test says `announce`.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import msgspec

from orchestrator.core.model import Run
from orchestrator.document import read_workflow
from orchestrator.loop.coordinator import Coordinator
from orchestrator.loop.intake import ApplyDefinition
from orchestrator.metrics import Metrics
from orchestrator.settings import Settings
from orchestrator.store.port import Batch, HistoryEntry, InboxRecord, RunFilter
from orchestrator.store.reader import SqliteReader
from orchestrator.store.sqlite import SqliteStore
from orchestrator.topology import coordinator_declarations
from orchestrator.world import SystemWorld
from runtime.bus.memory import MemoryBroker, MemoryBus
from runtime.bus.port import Binding, Declarations, Delivery, Message, Queue
from runtime.sqlite import StorageFailure
from schemas.codec import decode, encode
from schemas.events import new_event, write_event
from schemas.messages import Command, ErrorInfo, Presence, Result, ResultStatus
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
  - {{id: b, action: do.more, target: h1, on_failure: compensate}}
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

    def __init__(self, directory: Path, hosts: tuple[str, ...] = ("h1",), **changes: Any) -> None:
        self.settings = msgspec.structs.replace(Settings(), **changes)
        self.broker = MemoryBroker()
        self.world = Clock()
        self.commands: list[Command] = []
        self.lifecycle: list[tuple[str, Any]] = []
        self.dead: list[Delivery] = []
        self.hosts = hosts
        self.taker: dict[str, str] = {}
        """Which host has a command, by its id."""
        self.reply: Callable[[Command], str | None] = lambda _: None
        """What the agents say of each command at once; None: nothing by themselves."""
        self._path = directory / "baton.db"
        self._taken = 0
        self._jobs: set[asyncio.Task[None]] = set()
        declared = coordinator_declarations(TOPOLOGY, "0")
        self.bus = MemoryBus(self.broker, declared)
        watch = "watch"
        owns = {host: TOPOLOGY.agent_queue(host) for host in hosts}
        self.agent = MemoryBus(
            self.broker,
            Declarations(
                exchanges=declared.exchanges,
                queues=(*(Queue(own, TOPOLOGY.work_arguments()) for own in owns.values()), Queue(watch, {})),
                bindings=(
                    *(
                        Binding(own, TOPOLOGY.commands, TOPOLOGY.agent_key(host))
                        for host, own in owns.items()
                    ),
                    Binding(watch, TOPOLOGY.lifecycle, "#"),
                ),
            ),
        )

    async def __aenter__(self) -> Self:
        await self.agent.start()
        for host in self.hosts:
            await self.agent.subscribe(TOPOLOGY.agent_queue(host), self._take, prefetch=1_000)
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

    def break_commit(self, number: int, *, written: bool) -> None:
        """Let this life end at a commit, counted from 1 on: before it, or just after it was `written`."""
        commit, left = self.store.commit, number

        async def broken(batch: Batch) -> None:
            nonlocal left
            left -= 1
            if left or written:
                await commit(batch)
            if not left:
                raise StorageFailure("the power is gone", hint="start again")

        self.store.commit = broken  # type: ignore[method-assign]

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
            self.taker[command.id] = delivery.routing_key.removeprefix(TOPOLOGY.agent_key(""))
        status = self.reply(command)
        if status is not None:
            self._soon(self.answer(command, status))
        self._done(delivery)

    def _watch(self, delivery: Delivery) -> None:
        self.lifecycle.append((delivery.routing_key, decode(delivery.body, dict[str, Any])))
        self._done(delivery)

    def _done(self, delivery: Delivery) -> None:
        self._soon(self.agent.ack([delivery]))

    def _soon(self, job: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(job)
        self._jobs.add(task)
        task.add_done_callback(self._jobs.discard)

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
        """Say as the agent that has it, or as whom `more` says, what became of a command."""
        now = datetime.now(UTC)
        host = self.taker.get(asked.id, "h1")
        result = Result(
            command_id=asked.id,
            run_id=asked.run_id,
            step=asked.step,
            host_index=asked.host_index,
            attempt=asked.attempt,
            epoch=asked.epoch,
            agent=host,
            instance_id=f"i-{host}",
            status=ResultStatus(status),
            started_at=now,
            finished_at=now,
        )
        body = encode(msgspec.structs.replace(result, **more))
        await self.send(TOPOLOGY.results, TOPOLOGY.result_key("0", host), body, "application/json")

    async def announce(self, host: str, labels: dict[str, str], **more: Any) -> None:
        """Let an agent announce itself, and wait until the coordinator has taken that in."""
        presence = Presence(host, f"i-{host}", "0", datetime.now(UTC), labels=labels, **more)
        await self.send(TOPOLOGY.results, TOPOLOGY.presence_key(host), encode(presence), "application/json")
        await until(lambda: self._knows(presence), what=f"{host} to be known")

    def _knows(self, presence: Presence) -> bool:
        host = self.coordinator._roster.registry.hosts.get(presence.name)
        return host is not None and (host.labels, host.stopping) == (presence.labels, presence.stopping)

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

    async def runs(self, **which: Any) -> list[Run]:
        """The runs that there are, oldest first."""
        page = await self.reader.runs(RunFilter(**which), limit=1_000)
        return [await self.run(summary.id) for summary in reversed(page.items)]

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

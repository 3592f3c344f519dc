"""A coordinator with its API in this process: the bus in memory, the database real, no sockets.

async with office(tmp_path) as desk:
    answer = await desk.http.post("/api/runs", json={"workflow": "hello"})
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import msgspec

from orchestrator.api import Parts, create_api
from orchestrator.deadletters import DeadLetterBox
from orchestrator.loop.coordinator import Coordinator
from orchestrator.metrics import Metrics
from orchestrator.settings import Settings
from orchestrator.store.reader import SqliteReader
from orchestrator.store.sqlite import SqliteStore
from orchestrator.topology import coordinator_declarations
from orchestrator.world import SystemWorld
from runtime.bus.memory import MemoryBroker, MemoryBus
from runtime.bus.port import Binding, Declarations, Delivery, Message, Queue
from schemas.codec import decode, encode
from schemas.messages import Command, Presence, Result, ResultStatus
from schemas.names import Topology
from tests.support.waiting import eventually, until

__all__ = ["BASE", "HELLO", "Office", "office"]

BASE = "http://127.0.0.1:8040"
TOPOLOGY = Topology()

HELLO = """\
workflow: hello
triggers:
  - event: com.example.hello
    if: event.data.wanted
    key: event.data.key
    input: {name: "${{ event.data.name }}"}
input:
  type: object
  required: [name]
  properties: {name: {type: string}}
steps:
  - id: first
    action: do.first
    target: web-1
    compensate: {action: undo.first, retry: {attempts: 1}}
  - id: second
    action: do.second
    target: web-1
output: {said: "${{ input.name }}"}
"""


@dataclass
class Office:
    """The API by `http`, the broker's memory, and an agent `web-1` that does as the test says."""

    http: httpx.AsyncClient
    bus: MemoryBus
    broker: MemoryBroker
    coordinator: Coordinator
    problem: list[str] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)

    def take(self, delivery: Delivery) -> None:
        """What the agent does with a command: keep it."""
        self.commands.append(decode(delivery.body, Command))

    async def apply(self, document: str = HELLO) -> Any:
        """Apply a document that is good."""
        answer = await self.http.post("/api/workflows", content=document)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def start(self, key: str = "", name: str = "you") -> str:
        """Start a run of `hello`; its id."""
        body = {"workflow": "hello", "input": {"name": name}, "key": key}
        answer = await self.http.post("/api/runs", json=body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    async def command(self, number: int) -> Command:
        """The command with this number, from 1, once it is there."""
        await until(lambda: len(self.commands) >= number, what=f"command {number}")
        return self.commands[number - 1]

    async def answer(self, asked: Command, status: ResultStatus, **more: Any) -> None:
        """Say what became of a command."""
        now = datetime.now(UTC)
        result = Result(
            command_id=asked.id,
            run_id=asked.run_id,
            step=asked.step,
            host_index=asked.host_index,
            attempt=asked.attempt,
            epoch=asked.epoch,
            agent="web-1",
            instance_id="i",
            status=status,
            started_at=now,
            finished_at=now,
            **more,
        )
        await self.send(TOPOLOGY.results, TOPOLOGY.result_key("0", "web-1"), encode(result))

    async def send(
        self, exchange: str, key: str, body: bytes, content_type: str = "application/json"
    ) -> None:
        """Publish anything."""
        await self.bus.publish([Message(exchange, key, body, content_type=content_type)])

    async def announce(self) -> None:
        """The agent announces itself."""
        presence = Presence(
            name="web-1",
            instance_id="i",
            version="1",
            at=datetime.now(UTC),
            pools=["shop"],
            labels={"role": "web"},
        )
        await self.send(TOPOLOGY.results, TOPOLOGY.presence_key("web-1"), encode(presence))

    async def run(self, run_id: str) -> Any:
        """The run as it is."""
        return (await self.http.get(f"/api/runs/{run_id}")).json()

    async def until_status(self, run_id: str, status: str) -> Any:
        """The run, once it has this status."""

        async def look() -> Any:
            run = await self.run(run_id)
            return run if run["status"] == status else None

        return await eventually(look, what=f"status {status}", every=0.01)

    async def until_step(self, run_id: str, step: str, **more: Any) -> Any:
        """The run, once a step's first task has these fields; True stands for anything but null."""

        async def look() -> Any:
            run = await self.run(run_id)
            task = run["steps"][step]["hosts"][0]
            fits = all(
                task[name] == value or (value is True and task[name] is not None)
                for name, value in more.items()
            )
            return run if fits else None

        return await eventually(look, what=f"step {step} with {more}", every=0.01)

    async def dead(self, count: int) -> Any:
        """The dead letters, once there are so many."""

        async def look() -> Any:
            found = (await self.http.get("/api/dead")).json()
            return found if len(found["items"]) >= count else None

        return await eventually(look, what=f"{count} dead letters", every=0.01)


@asynccontextmanager
async def office(directory: Path, **changes: Any) -> AsyncIterator[Office]:
    """Everything up, and stopped in the end; `changes` are settings."""
    settings = msgspec.structs.replace(Settings(), **changes)
    broker = MemoryBroker()
    own = TOPOLOGY.agent_queue("web-1")
    declared = coordinator_declarations(TOPOLOGY, "0")
    bus = MemoryBus(broker, declared)
    agent = MemoryBus(
        broker,
        Declarations(
            exchanges=declared.exchanges,
            queues=(Queue(own, TOPOLOGY.work_arguments()),),
            bindings=(Binding(own, TOPOLOGY.commands, TOPOLOGY.agent_key("web-1")),),
        ),
    )
    store, reader = SqliteStore(directory / "baton.db"), SqliteReader(directory / "baton.db")
    await store.open()
    await reader.open()
    await bus.start()
    await agent.start()
    metrics = Metrics()
    coordinator = Coordinator(settings, TOPOLOGY, store, bus, SystemWorld(), metrics)
    problem: list[str] = []
    parts = Parts(
        settings=settings,
        reader=reader,
        submit=coordinator.submit,
        dead=DeadLetterBox(bus, TOPOLOGY),
        metrics=metrics.render,
        why_not_ready=lambda: "".join(problem),
    )
    await coordinator.start()
    running = asyncio.create_task(coordinator.run())
    transport = httpx.ASGITransport(app=create_api(parts))  # type: ignore[arg-type]  # the same shape, typed apart
    async with httpx.AsyncClient(transport=transport, base_url=BASE) as http:
        desk = Office(http, bus, broker, coordinator, problem)
        await agent.subscribe(own, desk.take, prefetch=100)
        yield desk
    coordinator.stop()
    await running
    await bus.stop()
    await agent.stop()
    await reader.close()
    await store.close()

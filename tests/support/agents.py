"""What tests of agents need: commands, contexts, an agent in this process, a stand-in coordinator."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import msgspec

from agents.context import Context
from agents.jobs import NoTelemetry
from agents.journal import Journal
from agents.loading import load_actions
from agents.processes import Processes
from agents.runtime import AgentRuntime
from agents.sdk import Action, Agent
from agents.settings import Settings, declarations
from runtime.bus.memory import MemoryBroker, MemoryBus
from runtime.bus.port import Binding, Bus, Declarations, Delivery, Exchange, Message, PublishOutcome, Queue
from schemas.codec import decode, encode
from schemas.messages import Command, CommandKind, Presence, Result, command_id
from schemas.names import Topology
from tests.support.waiting import until

__all__ = ["Desk", "about", "command", "context", "desk_declarations", "names", "serving"]

SHARD = "0"


def command(action: str, args: dict[str, Any] | None = None, **changes: Any) -> Command:
    """A command for step `s` of run `r`, sent now, with a minute to start; `changes` replace fields."""
    now = datetime.now(UTC)
    fields = {
        "run_id": "r",
        "workflow": "w",
        "step": "s",
        "host_index": 0,
        "attempt": 1,
        "kind": CommandKind.EXECUTE,
        "action": action,
        "issued_at": now,
        "expires_at": now + timedelta(seconds=60),
        "timeout": 60.0,
        "epoch": 3,
        "reply_to": SHARD,
        "args": args or {},
        **changes,
    }
    parts = ("run_id", "step", "host_index", "attempt", "kind")
    fields.setdefault("id", command_id(*(fields[part] for part in parts)))
    return Command(**fields)


def about(kind: CommandKind, asked: Command) -> Command:
    """A query or a cancel of the command `asked`."""
    name = command_id(asked.run_id, asked.step, asked.host_index, asked.attempt, kind)
    return msgspec.structs.replace(asked, id=name, kind=kind, action="", args={"command_id": asked.id})


def context(directory: Path, made: Command | None = None) -> Context:
    """A context outside any agent, for calling an action's function."""
    return Context(made or command("x"), "here", work=directory / "work", processes=Processes())


def names(directory: Path) -> list[str]:
    """What is in a directory."""
    return sorted(path.name for path in directory.iterdir())


def desk_declarations(topology: Topology) -> Declarations:
    """What the coordinator's side needs: the exchanges, and queues of results, presence and dead letters."""
    results = topology.results_queue(SHARD)
    return Declarations(
        exchanges=(
            Exchange(topology.commands, "direct"),
            Exchange(topology.results, "topic"),
            Exchange(topology.dead, "fanout"),
        ),
        queues=(
            Queue(topology.dead, topology.dead_arguments()),
            Queue(results, topology.work_arguments()),
            Queue(topology.presence, topology.work_arguments()),
        ),
        bindings=(
            Binding(topology.dead, topology.dead, ""),
            Binding(results, topology.results, topology.result_key(SHARD, "#")),
            Binding(topology.presence, topology.results, topology.presence_key("#")),
        ),
    )


class Desk:
    """Sends commands to agents and keeps what they answer, as the coordinator would."""

    def __init__(self, bus: Bus, topology: Topology) -> None:
        self.bus = bus
        self.topology = topology
        self.results: list[Result] = []
        self.presences: list[Presence] = []

    async def open(self) -> Self:
        """Connect and listen."""
        await self.bus.start()
        await self.bus.subscribe(self.topology.results_queue(SHARD), self._result, prefetch=100)
        await self.bus.subscribe(self.topology.presence, self._presence, prefetch=100)
        return self

    def _result(self, delivery: Delivery) -> None:
        self.results.append(decode(delivery.body, Result))
        self._ack(delivery)

    def _presence(self, delivery: Delivery) -> None:
        self.presences.append(decode(delivery.body, Presence))
        self._ack(delivery)

    def _ack(self, delivery: Delivery) -> None:
        task = asyncio.ensure_future(self.bus.ack([delivery]))
        _tasks.add(task)
        task.add_done_callback(_tasks.discard)

    async def send(self, *commands: Command, agent: str = "a", pool: str = "", traceparent: str = "") -> None:
        """Publish commands to an agent or a pool."""
        key = self.topology.pool_key(pool) if pool else self.topology.agent_key(agent)
        headers = {"traceparent": traceparent} if traceparent else {}
        await self._publish(
            [Message(self.topology.commands, key, encode(made), headers, mandatory=True) for made in commands]
        )

    async def send_raw(self, body: bytes, agent: str = "a") -> None:
        """Publish something to an agent's queue, whatever it is."""
        key = self.topology.agent_key(agent)
        await self._publish([Message(self.topology.commands, key, body, mandatory=True)])

    async def _publish(self, messages: list[Message]) -> None:
        outcomes = await self.bus.publish(messages)
        assert set(outcomes) == {PublishOutcome.CONFIRMED}, outcomes

    def of(self, asked: Command | str) -> list[str]:
        """The statuses that came for a command, in order."""
        name = asked if isinstance(asked, str) else asked.id
        return [str(result.status) for result in self.results if result.command_id == name]

    async def final(self, asked: Command, within: float = 20.0, count: int = 1) -> Result:
        """Wait for the final result of a command (the last of `count`) and give it."""

        def found() -> list[Result]:
            return [each for each in self.results if each.command_id == asked.id and each.status.is_final]

        await until(lambda: len(found()) >= count, within, what=f"a final result of {asked.id}")
        return found()[count - 1]

    async def dead(self, count: int = 1) -> list[Delivery]:
        """Wait for dead letters and give them."""
        found: list[Delivery] = []
        while len(found) < count:
            found += await self.bus.peek(self.topology.dead, count)
            await asyncio.sleep(0.01)
        return found


_tasks: set[asyncio.Future[None]] = set()


@asynccontextmanager
async def serving(
    directory: Path,
    agent: Agent | None = None,
    *,
    broker: MemoryBroker | None = None,
    wrap: Callable[[MemoryBus], Bus] = lambda bus: bus,
    name: str = "a",
    **changes: Any,
) -> AsyncIterator[tuple[Desk, AgentRuntime]]:
    """An agent in this process on a broker in memory, with a desk; stopped in order at the end."""
    settings = Settings(name, directory, **changes)
    broker = broker or MemoryBroker()
    actions: dict[str, Action] = load_actions([], []) | (agent.actions if agent else {})
    desk = await Desk(MemoryBus(broker, desk_declarations(settings.topology)), settings.topology).open()
    runtime = AgentRuntime(
        settings,
        actions,
        wrap(MemoryBus(broker, declarations(settings))),
        Journal(directory / "journal.db"),
        NoTelemetry(),
    )
    stop = asyncio.Event()
    task = asyncio.create_task(runtime.run(stop))
    try:
        await until(lambda: task.done() or desk.presences, what="the agent's first announcement")
        yield desk, runtime
    finally:
        stop.set()
        try:
            await task
        finally:
            await desk.bus.stop()

"""The machines of a simulation: one with the real coordinator, others with the real agent."""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

from msgspec.structs import replace

from agents.jobs import NoTelemetry
from agents.journal import Journal
from agents.limits import Limits
from agents.runtime import AgentRuntime
from agents.sdk import Action
from agents.secrets import Secrets
from agents.settings import Settings as AgentSettings
from agents.settings import declarations
from orchestrator.loop.coordinator import Coordinator
from orchestrator.loop.intake import Content, TelemetryDone
from orchestrator.metrics import Metrics
from orchestrator.settings import Settings
from orchestrator.store.port import Batch
from orchestrator.topology import coordinator_declarations
from schemas.errors import Unreachable
from schemas.names import Topology
from tests.simulation.canary import PASSWORD, agent_secrets
from tests.simulation.clockwork import Life, SimLoop, outside
from tests.simulation.disk import Disk, SimStore
from tests.simulation.network import Network, SimBus
from tests.simulation.templates import empty_database, empty_journal
from tests.simulation.tracing import Backend, agent_spans, exporting
from tests.simulation.worlds import AgentWorld, Clock, CoordinatorWorld

__all__ = ["SETTINGS", "TOPOLOGY", "AgentNode", "CoordinatorNode", "Node"]

TOPOLOGY = Topology()
MIGRATED = 0.9
"""How many databases are there from the start; the others are made by the process itself."""

WITHOUT_SECRETS = 0.05
"""How many lives of agents have no secrets: somebody took them away, or forgot them."""

SETTINGS = Settings(
    amqp_url=f"amqp://baton:{PASSWORD}@broker/",
    start_within=10.0,
    grace=5.0,
    query_every=5.0,
    reconcile_every=60.0,
    max_event_hops=2,
)
LIMITS = Limits(
    heartbeat=3.0, kill_after=3.0, retry_returned=5.0, stop_grace=2.0, presence_interval=60.0, prefetch=8
)


class Node:
    """A machine with a disk, a clock and one process that is started again when it ends.

    `on_life` sees each new life before it begins, `on_end` how a process ended by itself.
    """

    def __init__(self, name: str, loop: SimLoop, network: Network, rng: Random, directory: Path) -> None:
        self.name = name
        self.loop = loop
        self.network = network
        self.rng = rng
        self.directory = directory
        self.directory.mkdir(parents=True)
        self.clock = Clock(loop)
        self.disk = Disk(rng)
        self.life: Life | None = None
        self.wanted = True
        """Whether the process is started again after its end."""
        self.on_life: Callable[[Life], None] = lambda life: None
        self.on_end: Callable[[Life, BaseException | None], None] = lambda life, error: None
        self._lives = count(1)

    @property
    def alive(self) -> bool:
        """Whether a process runs (or is frozen) now."""
        return self.life is not None and not self.life.dead

    def boot(self) -> None:
        """Start the process, unless one is there."""
        if self.alive or not self.wanted:
            return
        self.life = life = Life(self.name, next(self._lives), self.loop.time())
        self.on_life(life)
        task = self.loop.start(life, self.live(life))
        outside(task.add_done_callback, lambda task: self._ended(life, task))

    def boot_later(self, delay: float) -> None:
        """Start the process after so many seconds."""
        outside(self.loop.call_later, delay, self.boot)

    def crash(self) -> None:
        """Take the power away."""
        if self.life is not None:
            self.life.end()

    def _ended(self, life: Life, task: "asyncio.Task[None]") -> None:
        if life.dead or task.cancelled():
            return
        life.end()
        self.on_end(life, task.exception())

    async def live(self, life: Life) -> None:
        """What the process does."""
        raise NotImplementedError

    def stop(self) -> None:
        """Ask the process to end in order."""
        raise NotImplementedError


def _settings(rng: Random) -> Settings:
    """For some coordinators a move, or a batch, is as small as may be: what is left over must go on."""
    return replace(
        SETTINGS,
        max_move=rng.choice((500, 500, 1, 2)),
        max_batch_seconds=rng.choice((0.1, 0.1, 0.0)),  # made-up time stands still in a batch
    )


class CoordinatorNode(Node):
    """The coordinator's machine. `committed` sees each batch as it becomes durable."""

    def __init__(
        self, *args: Any, committed: Callable[[int, Batch | None], None], backend: Backend | None
    ) -> None:
        super().__init__(*args)
        self.metrics: list[Metrics] = []
        """Of each life."""
        self.path = self.directory / "baton.db"
        if self.rng.random() < MIGRATED:
            self.path.write_bytes(empty_database())
        self.settings = _settings(self.rng)
        self.coordinator: Coordinator | None = None
        self.store: SimStore | None = None
        self._committed = committed
        self._backend = backend
        self._ids = count(1)
        self._stop = asyncio.Event()

    async def live(self, life: Life) -> None:
        """As in `orchestrator.app`, without the API."""
        self.coordinator = None
        stop = asyncio.Event()
        store = self.store = SimStore(self.path, self.disk, life, self._committed)
        await store.open()
        bus = SimBus(self.network, coordinator_declarations(TOPOLOGY, SETTINGS.shard), life)
        world = CoordinatorWorld(self.clock, self.rng, self._ids)
        self.metrics.append(Metrics())
        coordinator = Coordinator(self.settings, TOPOLOGY, store, bus, world, self.metrics[-1])
        connecting = asyncio.create_task(bus.start())
        await coordinator.start()
        if self.life is life:  # one that was frozen meanwhile has been replaced
            self.coordinator, self._stop = coordinator, stop
        running = asyncio.create_task(coordinator.run())
        running.add_done_callback(partial(_ended, stop))
        done = partial(_tell, coordinator, running)
        async with exporting(self._backend, store, self.path, done, world.now, life):
            await stop.wait()
        coordinator.stop()
        await running
        await connecting
        await bus.stop()
        await store.close()

    async def submit(self, content: Content, within: float = 5.0) -> Any:
        """`Coordinator.submit`; `Unreachable` where nobody answers in time."""
        coordinator = self.coordinator
        if coordinator is None or not self.alive:
            raise Unreachable("the coordinator is down")
        try:
            async with asyncio.timeout(within):
                return await coordinator.submit(content)
        except TimeoutError:
            raise Unreachable("the coordinator does not answer") from None

    def stop(self) -> None:
        """Let telemetry end, and then the loop."""
        if self.coordinator is not None and self.life is not None:
            self.life.context.copy().run(self._stop.set)


def _ended(stop: asyncio.Event, running: "asyncio.Task[None]") -> None:
    """Nothing is left to wait for. What it ended with counts as seen: the process may die before it is."""
    stop.set()
    if not running.cancelled():
        running.exception()


async def _tell(coordinator: Coordinator, running: "asyncio.Task[None]", cursor: int) -> None:
    """Have telemetry's cursor committed; nobody answers once the loop has ended."""
    answer = asyncio.ensure_future(coordinator.submit(TelemetryDone(cursor)))
    try:
        await asyncio.wait((answer, running), return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise Unreachable("the coordinator has stopped")
        answer.result()
    finally:
        answer.cancel()


class AgentNode(Node):
    """A host with an agent."""

    def __init__(
        self,
        *args: Any,
        backend: Backend | None,
        pools: tuple[str, ...],
        labels: dict[str, str],
        actions: Callable[[Life], dict[str, Action]],
    ) -> None:
        super().__init__(*args)
        self.pools = pools
        self.labels = labels
        self.secrets = agent_secrets()
        """Of the present life."""
        self._backend = backend
        self._journal: Journal | None = None
        self._actions = actions
        self._instances = count(1)
        self.remembers_since = 1
        """The number of the first life that wrote the journal that is there now."""
        self._stop: asyncio.Event | None = None

    async def live(self, life: Life) -> None:
        """As in `agents.cli`."""
        state = self.directory / "state"
        if not state.exists():
            state.mkdir()
            if self.rng.random() < MIGRATED:
                (state / "journal.db").write_bytes(empty_journal())
        self._stop = stop = asyncio.Event()
        self.secrets = agent_secrets() if self.rng.random() > WITHOUT_SECRETS else Secrets(environ={})
        settings = AgentSettings(
            self.name,
            state,
            pools=self.pools,
            labels=self.labels,
            concurrency=4,
            limits=LIMITS,
            secrets=self.secrets,
        )
        spans = NoTelemetry() if self._backend is None else agent_spans(self._backend, settings)
        bus = SimBus(self.network, declarations(settings), life)
        world = AgentWorld(self.name, self.clock, self._instances)
        journal = self._journal = Journal(state / "journal.db", world, self.disk.worker(life))
        runtime = AgentRuntime(settings, self._actions(life), bus, journal, spans, world)
        await runtime.run(stop)

    def journaled(self, command_id: str) -> tuple[str, bool] | None:
        """State of a command in the journal, and whether it is a tombstone; None if it is not there."""
        with contextlib.closing(sqlite3.connect(self.directory / "state" / "journal.db")) as db:
            query = "SELECT state, tombstone FROM commands WHERE id = ?"
            row = db.execute(query, (command_id,)).fetchone()
        return None if row is None else (row[0], bool(row[1]))

    @property
    def instance_id(self) -> str:
        """Of the journal that the agent has now."""
        return self._journal.instance_id if self._journal is not None else ""

    def rebuild(self) -> None:
        """The machine, which is dead, is made anew: its state is put where only the invariants look."""
        state = self.directory / "state"
        if state.exists():
            state.rename(self.directory / f"state-{self.remembers_since}")
        self.remembers_since = 1 if self.life is None else self.life.number + 1

    def stop(self) -> None:
        """Let the agent end in order."""
        if self._stop is not None and self.life is not None:
            self.life.context.copy().run(self._stop.set)

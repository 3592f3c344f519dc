"""One simulation: everything there is to it follows from its seed.

A coordinator, some agents, a broker; random workflows and events; faults for a while; then peace, in which
every run must come to an end. `simulate(seed)` gives what came of it.
"""

import asyncio
import contextlib
import logging
import shutil
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from random import Random
from typing import Any

from agents import Context
from orchestrator.core.compiler import compile_definition
from orchestrator.core.facts import Fact
from orchestrator.core.model import Run
from orchestrator.store import rows
from orchestrator.store.port import Batch, EpochLost
from runtime.bus.port import Message
from runtime.sqlite import StorageFailure
from schemas.errors import Conflict
from tests.simulation import invariants, templates
from tests.simulation.clockwork import LIFE, Life, NothingLeft, SimLoop, outside
from tests.simulation.course import Course
from tests.simulation.documents import EMITTED, Cast, random_workflows
from tests.simulation.ledger import Ledger, Performance
from tests.simulation.logs import hushed, listening
from tests.simulation.network import Network
from tests.simulation.nodes import AgentNode, CoordinatorNode, Node
from tests.simulation.observer import Observer
from tests.simulation.person import Person
from tests.simulation.tracing import Backend
from tests.simulation.wire import Copy, Wire

__all__ = ["Outcome", "Simulation", "simulate"]

BOUND = 3600.0
"""Seconds after the faults in which every run must have come to an end, if no clock was set back."""

TRACED = 0.3
"""How many simulations export spans."""

_SHM = Path("/dev/shm")


@dataclass
class Outcome:
    """What came of one seed. `violations` are (invariant, what it found); `trace` is kept if asked for.

    `reached` counts what the runs came to do: facts by their kind, events by their outcome, words of probes.
    """

    seed: int
    violations: list[tuple[str, str]]
    ends: dict[str, int]
    faults: dict[str, int]
    moves: dict[str, int]
    reached: dict[str, int]
    steps: int
    virtual: float
    seconds: float
    trace_hash: str
    trace: list[tuple[float, str, str]] = field(default_factory=list)


def simulate(seed: int, *, keep_trace: bool = False) -> Outcome:
    """Run one seed from beginning to end."""
    begun = time.perf_counter()
    templates.empty_database(), templates.empty_journal()
    directory = Path(tempfile.mkdtemp(prefix="baton-sim-", dir=_SHM if _SHM.is_dir() else None))
    sim = Simulation(seed, directory)
    try:
        with hushed(), contextlib.closing(sim):
            sim.run()
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return Outcome(
        seed=seed,
        violations=sim.violations,
        ends={str(status): count for status, count in sim.observer.ends().items()},
        faults=dict(sim.happened),
        moves=dict(sim.person.moves),
        reached=sim.reached(),
        steps=sim.loop.steps,
        virtual=sim.loop.time(),
        seconds=time.perf_counter() - begun,
        trace_hash=blake2b(repr(sim.trace).encode(), digest_size=16).hexdigest(),
        trace=sim.trace if keep_trace or sim.violations else [],
    )


class Simulation:
    """The whole of one seed: nodes, network, ledger, observer, person."""

    source = "/simulation"

    def __init__(self, seed: int, directory: Path) -> None:
        self.seed = seed
        self.rng = Random(seed)
        self.directory = directory
        self.trace: list[tuple[float, str, str]] = []
        self.violations: list[tuple[str, str]] = []
        self.happened: Counter[str] = Counter()
        self.events: list[str] = []
        """Ids of events that the broker confirmed to their publisher."""
        self.rebuilt: set[str] = set()
        self.left_frozen: list[Life] = []
        self.doomed: list[Life] = []
        """Those that are to die as soon as they have something to do."""
        self.newest_epoch = 0
        self.bound = BOUND
        """Longer by as much as clocks were set back: what was planned before comes later by that."""
        self.loop = SimLoop()
        self.loop.on_crash = self._crash_point
        self.loop.set_exception_handler(self._loop_exception)
        self.network = Network(self.loop, Random(self.rng.random()))
        self.wire = Wire(self.loop.time, self._published, self._routed, self._acknowledges)
        self.network.watcher = self.wire
        self.garbage: set[bytes] = set()
        """Bodies of messages that nobody can read."""
        self.ledger = Ledger(seed, self.loop.time, trouble=self.rng.choice((0.05, 0.3, 0.5)))
        self.ledger.on_start = self._action_started
        self.ledger.on_effect = lambda one: self.note(str(one.life), f"{one.command_id} took effect")
        self.ledger.on_probe = lambda life, command_id, said: self.note(str(life), f"{command_id} {said}")
        self.ledger.on_end = lambda one: self.note(str(one.life), f"{one.command_id} {one.ended}")
        self.cast = _cast(self.rng)
        library = random_workflows(self.rng, self.cast)
        self.first = [compile_definition(document) for document in library.first]
        self.improved = [compile_definition(document) for document in library.later]
        self.definitions = {one.version: one for one in (*self.first, *self.improved)}
        self.observer = Observer(self.definitions, self._check_batch, self._check_fact, self.loop.time)
        self.backend = Backend(seed) if Random(f"{seed}/traced").random() < TRACED else None
        self.coordinator = CoordinatorNode(
            *self._place("coordinator"), committed=self._committed, backend=self.backend
        )
        self.agents = [self._agent(name) for name in self.cast.agents]
        self.nodes: list[Node] = [self.coordinator, *self.agents]
        for node in self.nodes:
            node.on_life = self._born
            node.on_end = lambda life, error, node=node: self._process_ended(node, life, error)  # type: ignore[misc]
        self.person = Person(self)
        self.peace = False

    def _place(self, name: str) -> tuple[str, SimLoop, Network, Random, Path]:
        return name, self.loop, self.network, Random(self.rng.random()), self.directory / name

    def _agent(self, name: str) -> AgentNode:
        pools = self.cast.pools if self.rng.random() < 0.8 else ()
        node: AgentNode = AgentNode(
            *self._place(name),
            backend=self.backend,
            pools=pools,
            labels={"zone": self.rng.choice(("north", "north", "south"))},
            actions=lambda life: self.ledger.actions(life, lambda: node.instance_id, self._undoes_failures),
        )
        return node

    def _undoes_failures(self, ctx: Context) -> bool:
        """Whether the step of a command is undone also after it reported failure."""
        step = self.observer.step(self.observer.runs[ctx.run_id], ctx.step)
        return step.compensate is not None and step.compensate.after_failure

    def run(self) -> None:
        """From the first start to the last check."""
        with listening(self._logged):
            try:
                self.loop.run_until_complete(self.loop.create_task(Course(self).run()))
            except NothingLeft:
                self.fail("something always happens", "nothing is ready and no timer is set")
            except RuntimeError as error:
                if not self.violations:  # `fail` stops the loop in the middle
                    self.fail("the simulation runs", repr(error))
        self.happened["secret_let_out"] = self.ledger.let_out
        self.happened["span"] = len(self.backend.spans) if self.backend is not None else 0
        if not self.violations:
            for check in invariants.AT_END:
                self._judge(check, self)

    def close(self) -> None:
        """Let go of everything."""
        self.network.up = self.network.broker.available = False
        for life in [node.life for node in self.nodes] + self.left_frozen:
            if life is not None:
                life.end()
        for task in asyncio.all_tasks(self.loop):
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            with contextlib.suppress(BaseException):
                task.get_coro().close()
        self.loop.close()

    def is_well(self, node: Node) -> bool:
        """Whether a node's process runs."""
        return node.life is not None and not node.life.dead and not node.life.frozen

    def later(self, delay: float, call: Callable[[], Any]) -> None:
        """Have something happen after `delay` seconds."""
        outside(self.loop.call_later, delay, call)

    # what is seen

    def note(self, who: str, what: str) -> None:
        """A line of the trace."""
        self.trace.append((round(self.loop.time(), 6), who, what))

    def placeless(self, text: str) -> str:
        """The text without this simulation's directory, which is another each time."""
        return text.replace(str(self.directory), "")

    def fail(self, invariant: str, found: str) -> None:
        """An invariant does not hold: nothing more is to be learned from this seed."""
        self.note("VIOLATION", f"{invariant}: {found}")
        self.violations.append((invariant, found))
        if self.loop.is_running():
            self.loop.stop()

    def _judge(self, check: Callable[..., str | None], *what: Any) -> None:
        found = check(*what)
        if found is not None:
            self.fail(check.__name__, found)

    def _check_batch(self, epoch: int, batch: Batch) -> None:
        for check in invariants.AT_BATCH:
            self._judge(check, self, epoch, batch)

    def _check_fact(self, before: Run, fact: Fact, after: Run) -> None:
        for check in invariants.AT_FACT:
            self._judge(check, self, before, fact, after)

    def _committed(self, epoch: int, batch: Batch | None) -> None:
        if batch is None:
            self.newest_epoch = max(self.newest_epoch, epoch)
            return
        for run_id, seq, fact in batch.facts:
            self.note("commit", f"{run_id} {seq} {_brief(fact)}")
        for record in batch.inbox:
            self.note("commit", f"{record.kind} {record.id}: {record.outcome} {record.reason}")
        if self.coordinator.life is not None:
            self._busy(self.coordinator.life)
        try:
            self.observer.committed(epoch, batch)
        except Exception as error:  # noqa: BLE001 - it would look like the coordinator's own
            self.fail("the batch can be followed", repr(error))

    def _published(self, who: str, message: Message) -> None:
        if not message.routing_key.startswith("presence"):
            self.note(who, f"-> {message.exchange} {message.routing_key} {_about(message)}")
        self.observer.published(message)
        if who.startswith("coordinator"):
            for check in invariants.AT_PUBLISH:
                self._judge(check, self, message)

    def _routed(self, message: Message) -> None:
        for check in invariants.AT_ROUTE:
            self._judge(check, self, message)

    def _acknowledges(self, who: str, copy: Copy) -> None:
        for check in invariants.AT_ACKNOWLEDGE:
            self._judge(check, self, who, copy)

    def _action_started(self, one: Performance) -> None:
        self.note(str(one.life), f"{one.command_id} starts: {one.script}")
        if not self.peace and self.happened and self.rng.random() < 0.03:
            self._crash_within(one.life, min(one.script.before + one.script.after, 3.0))
        self._busy(one.life)
        for check in invariants.AT_START:
            self._judge(check, self, one)

    def _busy(self, life: Life) -> None:
        """Now something is going on in it: if it is to die, let it be soon."""
        if life in self.doomed:
            self.doomed.remove(life)
            life.crash_at = life.steps + self.rng.randint(1, 25)

    def _born(self, life: Life) -> None:
        self.note(str(life), "starts")
        if not self.peace and self.happened and self.rng.random() < 0.1:
            life.crash_at = self.rng.randint(1, 120)

    def _crash_within(self, life: Life, seconds: float) -> None:
        """Let it die while its action goes on."""

        def crash() -> None:
            if not (life.dead or self.peace):
                self._crash_point(life)

        self.later(self.rng.uniform(0, seconds), crash)

    def _crash_point(self, life: Life) -> None:
        life.end()
        self.happened["crash"] += 1
        self.note(str(life), "crashes")
        for node in self.nodes:
            if node.life is life:
                node.boot_later(0.1 if self.peace else self.rng.uniform(0.05, 6))

    def _process_ended(self, node: Node, life: Life, error: BaseException | None) -> None:
        self.note(str(life), f"ends: {self.placeless(repr(error))}")
        expected = isinstance(error, StorageFailure | EpochLost)
        expected = expected or (isinstance(error, Conflict) and error.code == "state_locked")
        if error is None and not node.wanted:
            return
        if not expected:
            self.fail("a process ends only where it must", f"{life} ended with {error!r}")
        else:
            self.happened["process_stopped_itself"] += 1
        if node.life is life:
            node.boot_later(0.5 if self.peace else self.rng.uniform(0.1, 5))

    def _loop_exception(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, Conflict) and error.code == "stopping":
            return  # whoever asked died with the coordinator
        if isinstance(error, sqlite3.OperationalError):
            return  # the database's thread has an answer for somebody who died
        life = self.loop.life_of(context.get("future"))
        if life is not None and life.dead and isinstance(error, StorageFailure | EpochLost):
            return  # it was about to end for that when it died
        self.fail("nothing fails unseen", f"{context.get('message')} {error!r}")

    def _logged(self, level: int, text: str) -> None:
        """A line of some process's log; an agent's own log hides its secrets (`agents.cli`)."""
        life = LIFE.get()
        for node in self.agents:
            if life is not None and life.name == node.name:
                text = node.secrets.hide(text)
        self.note("log", self.placeless(text))
        if level >= logging.ERROR:
            self.fail("no fault of our own is logged", text)

    # what is looked up in the end

    def queue_lengths(self) -> dict[str, int]:
        """How many messages each queue holds, handed over and not settled ones included."""
        broker = self.network.broker
        lengths = {name: len(queue._ready) for name, queue in broker._queues.items()}
        for bus in self.network.buses():
            for held in bus.inner._held:
                lengths[held.queue.name] += 1
        return lengths

    def reached(self) -> dict[str, int]:
        """What the runs came to do, and how often."""
        count = Counter(type(fact).__name__ for facts in self.observer.facts.values() for fact in facts)
        count.update(f"event {record.outcome}" for record in self.observer.inbox.values())
        count.update(f"probe {said}" for said in self.ledger.probes.elements())
        for run in self.observer.runs.values():
            event = run.head.event
            count["run by an emitted event"] += event is not None and event["type"].startswith(EMITTED)
        return dict(count)

    def stored_runs(self) -> list[tuple[Run, list[tuple[int, Fact]]]]:
        """Every run in the database with its history."""
        found = self.stored("SELECT head, state FROM runs JOIN run_heads USING (num) ORDER BY num")
        runs = [rows.run_of(*row) for row in found]
        query = "SELECT seq, payload FROM history WHERE run_id = ? ORDER BY seq"
        return [
            (run, [(seq, rows.fact_of(payload)) for seq, payload in self.stored(query, run.head.id)])
            for run in runs
        ]

    def stored(self, query: str, *values: Any) -> list[Any]:
        """Rows of the database."""
        db = sqlite3.connect(self.coordinator.path)
        try:
            return db.execute(query, values).fetchall()
        finally:
            db.close()


def _cast(rng: Random) -> Cast:
    agents = tuple(f"host-{number}" for number in range(1, rng.choice((1, 2, 2, 3)) + 1))
    return Cast(agents, ("pool-a",) if rng.random() < 0.5 else (), zones=("north", "south"))


def _brief(fact: Fact) -> str:
    shown = {name: getattr(fact, name) for name in fact.__struct_fields__ if name != "at"}
    values = " ".join(f"{name}={value}" for name, value in shown.items() if value not in ("", None, 0, False))
    return f"{type(fact).__name__} {values}"


def _about(message: Message) -> str:
    text = message.body.decode(errors="replace")
    return text if len(text) < 300 else text[:300] + "…"

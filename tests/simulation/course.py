"""What happens in a simulation, in order: start, events and faults, peace, rest, stop."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from random import Random
from typing import TYPE_CHECKING, Any

from orchestrator.core.definition import Definition
from orchestrator.loop.intake import ApplyDefinition
from orchestrator.topology import coordinator_declarations
from runtime.bus.port import Message, PublishOutcome
from schemas.errors import BatonError
from schemas.events import new_event, write_event
from tests.simulation import faults
from tests.simulation.clockwork import Life
from tests.simulation.documents import EVENT, SIGNAL, VALUES
from tests.simulation.garbage import malformed, stranger
from tests.simulation.network import SimBus
from tests.simulation.nodes import TOPOLOGY, Node
from tests.simulation.worlds import EPOCH

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

__all__ = ["Course"]

CHAOS = 40.0
"""Seconds in which faults happen."""

DEBOUNCE = 5.0
"""Seconds that a debounced event may wait."""

CLOUDEVENT = "application/cloudevents+json"


class Course:
    """The course of one simulation."""

    def __init__(self, sim: "Simulation") -> None:
        self._sim = sim
        self._outlet = SimBus(sim.network, coordinator_declarations(TOPOLOGY, "0"), Life("publisher", 1))
        self._keep: list[asyncio.Task[Any]] = []

    async def run(self) -> None:
        """Everything, from the first start to the last stop."""
        sim = self._sim
        for node in self._sim.nodes:
            node.boot()
        await self._outlet.start()
        for definition in sim.first:
            await self._apply(definition)
        self._plan_faults()
        acts = [asyncio.create_task(self._events()), asyncio.create_task(self._meddling())]
        acts += [asyncio.create_task(act) for act in (self._signals(), self._garbage(), self._new_versions())]
        while self._sim.loop.time() < CHAOS:
            await asyncio.sleep(2.0)
            await self._sim.person.look()
        await asyncio.gather(*acts)
        sim.peace = True
        self._sim.note("faults", "stop")
        faults.heal(sim)
        await self._come_to_rest()
        await self._stop(self._sim.agents)
        await self._until(self._at_rest, 60.0)
        await self._stop([self._sim.coordinator])

    async def _stop(self, nodes: Sequence[Node]) -> None:
        """Stop processes in order, all of them."""
        for node in nodes:
            node.wanted = False
            node.stop()
        await self._until(lambda: not any(node.alive for node in nodes), 60.0)
        alive = ", ".join(node.name for node in nodes if node.alive)
        if alive:
            self._sim.fail("every process stops when asked", alive)

    async def _apply(self, definition: Definition) -> None:
        while True:
            with contextlib.suppress(BatonError):
                await self._sim.coordinator.submit(ApplyDefinition(definition))
                break
            await asyncio.sleep(0.5)
        self._sim.person.versions.setdefault(definition.name, {})[definition.version] = definition

    async def _new_versions(self) -> None:
        """Somebody changes documents, and may want live runs to keep to the new version; or takes it back."""
        for definition in self._sim.improved:
            await asyncio.sleep(self._sim.rng.uniform(0, 12))
            await self._apply(definition)
            if self._sim.rng.random() < 0.6:
                await self._sim.person.move_all(definition)
            if self._sim.rng.random() < 0.2:
                await asyncio.sleep(self._sim.rng.uniform(0, 5))
                await self._apply(next(one for one in self._sim.first if one.name == definition.name))

    async def _events(self) -> None:
        """Business systems publish events, some twice, some with a key that is taken."""
        keys = [f"k{number}" for number in range(self._sim.rng.randint(1, 3))]
        names = sorted({definition.name for definition in self._sim.definitions.values()})
        for number in range(self._sim.rng.randint(1, 5)):
            data = {"key": self._sim.rng.choice(keys), "go": self._sim.rng.random() < 0.8}
            kind = f"{EVENT}.{self._sim.rng.choice(names)}"
            await self._business_event(f"e{number}", kind, data)
            await asyncio.sleep(self._sim.rng.uniform(0, 6))

    async def _garbage(self) -> None:
        """Strangers send what nobody can read, and results of what nobody asked for."""
        sim, rng = self._sim, Random(f"{self._sim.seed}/garbage")
        for number in range(rng.choice((0, 0, 1, 2, 4))):
            await asyncio.sleep(rng.uniform(0, 10))
            if rng.random() < 0.2:
                sim.happened["stranger"] += 1
                await self._publish(stranger(rng, number, sim.cast.agents, list(sim.observer.runs)))
                continue
            sim.happened["malformed_message"] += 1
            message = malformed(rng, number, sim.cast.agents, sim.cast.pools)
            sim.garbage.add(message.body)
            await self._publish(message)

    def _emit(self, message: Message) -> None:
        self._sim.happened["duplicate_event"] += 1
        task = self._sim.loop.create_task(self._outlet.publish([message]))
        self._keep.append(task)

    async def _publish(self, message: Message) -> None:
        """Publish until it is confirmed."""
        while True:
            await self._outlet.wait_connected()
            if (await self._outlet.publish([message]))[0] is not PublishOutcome.UNCONFIRMED:
                return
            await asyncio.sleep(0.2)

    async def _meddling(self) -> None:
        """The operator cancels, pauses and hurries runs, perhaps."""
        for _ in range(self._sim.rng.choice((0, 0, 1, 1, 2, 3))):
            await asyncio.sleep(self._sim.rng.uniform(0, 10))
            await self._sim.person.meddle()

    async def _signals(self) -> None:
        """Events come that somebody may be waiting for, now or soon."""
        for number in range(self._sim.rng.randint(0, 6)):
            await asyncio.sleep(self._sim.rng.uniform(0, 5))
            data = {"n": self._sim.rng.choice(VALUES)}
            await self._business_event(f"n{number}", SIGNAL, data)

    async def _business_event(self, event_id: str, kind: str, data: dict[str, Any]) -> None:
        """Publish an event; perhaps twice, as those do who were not told that it arrived."""
        event = new_event(id=event_id, source=self._sim.source, type=kind, at=EPOCH, data=data)
        message = Message(TOPOLOGY.events, kind, write_event(event), content_type=CLOUDEVENT)
        for _ in range(self._sim.rng.choice((0, 1, 1, 2))):
            self._sim.later(self._sim.rng.uniform(0, 8), lambda: self._emit(message))
        await self._publish(message)
        self._sim.events.append(event.id)

    def _plan_faults(self) -> None:
        now = self._sim.loop.time()
        for at, name in faults.plan(self._sim.rng, CHAOS - now - 2):
            self._sim.later(at, lambda name=name: self._fault(name))  # type: ignore[misc]

    def _fault(self, name: str) -> None:
        if not self._sim.peace and faults.FAULTS[name](self._sim):
            self._sim.happened[name] += 1
            self._sim.note("fault", name)

    async def _come_to_rest(self) -> None:
        """Until every run has ended and nothing is on its way any more; the person helps."""
        until = self._sim.loop.time() + self._sim.bound
        pause, was_quiet = 1.0, False
        while self._sim.loop.time() < until:
            await asyncio.sleep(pause)
            await self._sim.person.look()
            quiet = not self._sim.observer.live() and self._at_rest()
            if quiet and was_quiet:
                return
            was_quiet = quiet  # for long enough that nothing is debounced any more
            pause = 2 * DEBOUNCE if quiet else min(pause * 1.2, 10.0)

    def _at_rest(self) -> bool:
        events = all((self._sim.source, event) in self._sim.observer.inbox for event in self._sim.events)
        quiet = not any(one.active for one in self._sim.ledger.performances)
        dead = TOPOLOGY.dead
        queues = all(not count for name, count in self._sim.queue_lengths().items() if name != dead)
        return events and quiet and queues and not self._sim.observer.outbox

    async def _until(self, condition: Callable[[], bool], within: float) -> None:
        until = self._sim.loop.time() + within
        while not condition() and self._sim.loop.time() < until:  # noqa: ASYNC110 - time is made up
            await asyncio.sleep(0.5)

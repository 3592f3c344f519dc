"""What goes wrong in a simulation. Each fault is one function; a seed picks which, when, and where.

A fault heals by itself after a while or when the faults stop (`heal`).
"""

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any

from tests.simulation.nodes import AgentNode, Node

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

__all__ = ["FAULTS", "heal", "plan"]

SECOND = 1_000_000


def plan(rng: Random, span: float) -> list[tuple[float, str]]:
    """When what happens in the first `span` seconds, early rather than late: most goes on early."""
    if rng.random() < 0.05:
        return []  # a quiet day must work too
    kinds = rng.sample(sorted(FAULTS), rng.randint(1, 5))
    found = [(span * rng.random() * rng.random() ** 0.5, rng.choice(kinds)) for _ in range(rng.randint(1, 9))]
    return sorted(found)


def heal(sim: "Simulation") -> None:
    """Nothing goes wrong any more, and everything is started again."""
    sim.doomed.clear()
    if sim.backend is not None:
        sim.backend.away = 0.0
    sim.network.slow_rate = sim.network.doubt_rate = 0.0
    sim.network.come_up()
    for node in sim.nodes:
        node.disk.full = node.disk.slow = False
        node.disk.lies = 0
        _set_clock(sim, node, 0)
        node.wanted = True
        if node.life is not None:
            node.life.crash_at = None
            if node.life.frozen:
                sim.loop.thaw(node.life)
        node.boot_later(0.1)
    for life in sim.left_frozen:
        sim.loop.thaw(life)


def _any_node(sim: "Simulation") -> Node:
    return sim.rng.choice((sim.coordinator, sim.coordinator, *sim.agents))


def _crash(sim: "Simulation", node: Node) -> bool:
    """The process dies before one of its next steps, and is started again."""
    if not node.alive or node.life is None:
        return False
    if sim.rng.random() < 0.5:
        sim.doomed.append(node.life)
    else:
        node.life.crash_at = node.life.steps + sim.rng.randint(1, sim.rng.choice((5, 30, 150)))
    return True


def coordinator_crash(sim: "Simulation") -> bool:
    """The coordinator's process dies."""
    return _crash(sim, sim.coordinator)


def agent_crash(sim: "Simulation") -> bool:
    """An agent's process dies."""
    return _crash(sim, sim.rng.choice(sim.agents))


def agent_lost(sim: "Simulation") -> bool:
    """A host goes away until the faults stop."""
    node = sim.rng.choice(sim.agents)
    if not node.alive:
        return False
    node.wanted = False
    node.crash()
    return True


def agent_rebuilt(sim: "Simulation") -> bool:
    """A host dies and comes back without its state."""
    node: AgentNode = sim.rng.choice(sim.agents)
    if not node.alive or node.life is None or node.life.frozen:
        return False
    node.crash()
    node.rebuild()
    sim.rebuilt.add(node.name)
    node.boot_later(sim.rng.uniform(0.05, 5))
    return True


def freeze(sim: "Simulation") -> bool:
    """A process gets no time for a while, and then goes on as if nothing had been."""
    node = _any_node(sim)
    life = node.life
    if life is None or life.dead or life.frozen:
        return False
    life.frozen = True
    delay = sim.rng.choice((0.5, 5.0, 20.0)) * sim.rng.random()
    sim.later(delay, lambda: sim.loop.thaw(life) if life.frozen and not life.dead else None)
    return True


def takeover(sim: "Simulation") -> bool:
    """The coordinator freezes, another takes its place on the same database, and then the first goes on."""
    node = sim.coordinator
    life = node.life
    if life is None or life.dead or life.frozen or node.store is None:
        return False
    life.frozen = True
    node.store.let_go()
    for bus in sim.network.buses():
        if bus.life is life:
            sim.network.cut(bus)
    node.life = None
    node.boot()
    sim.left_frozen.append(life)
    sim.later(sim.rng.uniform(0.1, 10), lambda: sim.loop.thaw(life))
    return True


def connection_lost(sim: "Simulation") -> bool:
    """One connection breaks."""
    buses = sim.network.buses()
    if not buses:
        return False
    sim.network.cut(sim.rng.choice(buses))
    return True


def broker_down(sim: "Simulation") -> bool:
    """The broker is away for a while."""
    if not sim.network.up:
        return False
    sim.network.go_down()
    sim.later(sim.rng.uniform(0.2, 15), sim.network.come_up)
    return True


def slow_network(sim: "Simulation") -> bool:
    """Some messages take seconds."""
    sim.network.slow_rate = sim.rng.choice((0.02, 0.1, 0.4))
    return True


def lost_confirms(sim: "Simulation") -> bool:
    """Some publishes are not confirmed although the broker has them."""
    sim.network.doubt_rate = sim.rng.choice((0.02, 0.1, 0.4))
    return True


def disk_full(sim: "Simulation") -> bool:
    """A disk is full for a while."""
    disk = _any_node(sim).disk
    disk.full = True
    sim.later(sim.rng.uniform(0.1, 10), lambda: setattr(disk, "full", False))
    return True


def commit_lies(sim: "Simulation") -> bool:
    """A transaction is committed and yet reported as failed."""
    _any_node(sim).disk.lies += 1
    return True


def slow_disk(sim: "Simulation") -> bool:
    """A disk gets slow."""
    _any_node(sim).disk.slow = True
    return True


def clock_jump(sim: "Simulation") -> bool:
    """A wall clock is set wrong, a little or a lot."""
    _set_clock(sim, _any_node(sim), round(sim.rng.choice((1, 1, 20, 4000)) * sim.rng.uniform(-1, 1) * SECOND))
    return True


def _set_clock(sim: "Simulation", node: Node, skew: int) -> None:
    """Make a clock wrong by so many microseconds; what it is set back, planned things may come later."""
    sim.bound += max(0, node.clock.skew - skew) / SECOND
    node.clock.skew = skew


FAULTS: dict[str, Callable[[Any], bool]] = {
    one.__name__: one
    for one in (
        coordinator_crash,
        agent_crash,
        agent_lost,
        agent_rebuilt,
        freeze,
        takeover,
        connection_lost,
        broker_down,
        slow_network,
        lost_confirms,
        disk_full,
        commit_lies,
        slow_disk,
        clock_jump,
    )
}
"""Every fault by name; each says whether it could happen."""

"""Invariants of what reaches the bus and what starts on the hosts."""

from typing import TYPE_CHECKING

from runtime.bus.port import Message
from schemas.times import from_datetime
from tests.simulation.invariants.tables import at_publish, at_start, is_past_pivot, taken_twice_in_a_pool
from tests.simulation.ledger import Performance
from tests.simulation.nodes import TOPOLOGY

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation


@at_publish
def nothing_is_published_that_is_not_committed(sim: "Simulation", message: Message) -> str | None:
    """No command, or other word of the coordinator's, without a committed row."""
    if message.exchange == TOPOLOGY.dead:
        return None
    if (message.exchange, message.routing_key, message.body) not in sim.observer.may_go_out:
        return f"published to {message.exchange} {message.routing_key}: {message.body[:200]!r}"
    return None


@at_start
def an_action_starts_by_a_committed_command(sim: "Simulation", begun: Performance) -> str | None:
    """An action starts only for a committed command."""
    return None if begun.command_id in sim.observer.commands else f"{begun.command_id} was never committed"


@at_start
def once_per_attempt(sim: "Simulation", begun: Performance) -> str | None:
    """An action that is not idempotent starts at most once per attempt, unless its host was made anew."""
    if sim.observer.commands[begun.command_id].idempotent:
        return None
    for other in sim.ledger.of_command[begun.command_id]:
        rebuilt = other.agent in sim.rebuilt
        if other is not begun and not rebuilt:
            return f"{begun.command_id} started on {other.life}, now again on {begun.life}"
    return None


@at_start
def what_never_starts(sim: "Simulation", begun: Performance) -> str | None:
    """A command that was tombstoned, or taken for never started (expired, returned), never starts."""
    if (begun.instance_id, begun.command_id) in sim.observer.tombstones:
        return f"{begun.command_id} starts on {begun.life}, which had promised not to start it"
    why = sim.observer.never_started.get(begun.command_id)
    if why == "rejected" and taken_twice_in_a_pool(sim, begun.command_id):
        return None
    if why and begun.agent not in sim.rebuilt:
        return f"{begun.command_id} starts on {begun.life}, and was taken for never started: {why}"
    return None


@at_start
def what_starts_is_in_the_journal(sim: "Simulation", begun: Performance) -> str | None:
    """Before an action starts, its command is in the journal of its host, neither answered nor a tombstone.

    What is not idempotent is there as started.
    """
    node = next(node for node in sim.agents if node.name == begun.agent)
    found = node.journaled(begun.command_id)
    allowed = (
        ("started",) if not sim.observer.commands[begun.command_id].idempotent else ("received", "started")
    )
    if found is None or found[0] not in allowed or found[1]:
        return f"{begun.command_id} starts on {begun.life}, whose journal has of it: {found}"
    return None


@at_start
def what_has_expired_never_starts(sim: "Simulation", begun: Performance) -> str | None:
    """A command starts only if it had not expired, by the host's own clock, when the host took it.

    Not so what is idempotent and was taken before a crash: it may have begun, and is made again for as long
    as its attempt could still be running.
    """
    node = next(node for node in sim.agents if node.name == begun.agent)
    command = sim.observer.commands[begun.command_id]
    taken, born = sim.wire.taken_at(begun.command_id, str(begun.life)), begun.life.born
    until = from_datetime(command.expires_at)
    if taken is None and command.idempotent:
        until += round(command.timeout * 1_000_000)
    late = node.clock.least_since(born if taken is None else taken) - until
    return f"{begun.command_id} starts on {begun.life}, {late / 1e6:.3f} s too late" if late > 0 else None


@at_start
def forward_and_undo_never_meet(sim: "Simulation", begun: Performance) -> str | None:
    """No step of a run goes forward while one of its steps is being undone (rule 3), seen on the hosts."""
    for other in sim.ledger.of_run[begun.task[0]]:
        forward = begun if other.undo else other
        if other.undo == begun.undo or _excused(sim, forward):
            continue
        if begun.undo and is_past_pivot(sim, sim.observer.runs[begun.task[0]]):
            return f"{begun.command_id} starts on {begun.life} past the pivot"
        if begun.undo and other.active:
            return (
                f"{begun.command_id} starts on {begun.life} while {other.command_id} goes on at {other.life}"
            )
        if other.undo:
            return f"{begun.command_id} starts on {begun.life} after the undo {other.command_id} had begun"
    return None


def _excused(sim: "Simulation", forward: Performance) -> bool:
    """Whether a person decided about it, or its host was made anew and cannot know any more."""
    decided = forward.command_id in sim.observer.by_person
    return decided or forward.agent in sim.rebuilt or taken_twice_in_a_pool(sim, forward.command_id)

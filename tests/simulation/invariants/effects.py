"""Invariants of what actions leave on the hosts, however often they ran."""

from typing import TYPE_CHECKING

from tests.simulation.invariants.tables import at_end
from tests.simulation.ledger import Performance, TaskKey

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation


@at_end
def idempotent_effects_as_if_once(sim: "Simulation") -> str | None:
    """However often an idempotent action ran for a task, what is there is as if it had run once.

    It was asked for the same each time, by which it can know that it is the same; and on each host its effect
    is there, or is undone, as it would be if it had taken effect the first time only.
    """
    for key, ran in _of_tasks(sim).items():
        again = [one for one in ran if not one.undo and sim.observer.commands[one.command_id].idempotent]
        if len(again) < 2:
            continue
        if len({repr(sorted(one.args.items())) for one in again}) > 1:
            return f"{key}: {again[0].command_id} ran with other arguments than {again[-1].command_id}"
        if any(one.agent in sim.rebuilt or one.command_id in sim.observer.by_person for one in ran):
            continue
        for host, effect in sim.ledger.effects.get(key, {}).items():
            wanted = once(ran, host)
            if effect.present != wanted:
                said = f"once would leave {wanted} on {host}, there is {effect.present}"
                return f"{key} ran {len(again)} times; {said}"
    return None


def _of_tasks(sim: "Simulation") -> dict[TaskKey, list[Performance]]:
    """All that was performed, by task."""
    found: dict[TaskKey, list[Performance]] = {}
    for one in sim.ledger.performances:
        found.setdefault(one.task, []).append(one)
    return found


def once(ran: list[Performance], host: str) -> bool:
    """Whether a task's effect would be on a host if its action had taken effect there but the first time.

    An undo that its document sends elsewhere undoes it everywhere, as in the ledger.
    """
    took = sorted((one for one in ran if one.effect_at is not None), key=lambda one: one.effect_at or 0.0)
    first = next((one for one in took if not one.undo and one.agent == host), None)
    hosts = {one.agent for one in took if not one.undo}
    undone = [one for one in took if one.undo and (one.agent == host or one.agent not in hosts)]
    return first is not None and not any(took.index(one) > took.index(first) for one in undone)

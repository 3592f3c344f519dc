"""Circles of concurrency groups: runs that hold slots and wait for child runs that queue for each other's.

A group is stuck when it has no room and each run under way in it waits for a child (or a child's child) that
queues for a stuck group. Nobody in a stuck group would ever begin or end by itself. So the child run that
would close such a circle is not started (`GroupsInBatch.must_queue`), and `stuck` finds those that came about
in another way: workflows that share a group but not its limit, a run that went past its pivot.
"""

from collections.abc import Iterable, Mapping
from typing import Protocol

__all__ = ["Occupancy", "stuck"]


class Occupancy(Protocol):
    """Who holds the slots of groups, and what they wait for."""

    def has_room(self, group: str) -> bool:
        """Whether the first run that queues for a group may begin."""

    def active(self, group: str) -> Iterable[str]:
        """Ids of the runs that are under way in a group."""

    def awaited(self, run_id: str) -> Iterable[str]:
        """The groups that the children of a run queue for."""


def stuck(groups: Iterable[str], occupancy: Occupancy) -> set[str]:
    """Those of these groups, and of the groups that runs in them wait for, that are stuck."""
    found: dict[str, list[set[str]]] = {}
    """By group what each run in it waits for; without the groups that are not stuck for sure."""
    seen = set[str]()
    ahead = list(groups)
    while ahead:
        group = ahead.pop()
        if group in seen:
            continue
        seen.add(group)
        waits = _waits(group, occupancy)
        if waits is not None:
            found[group] = waits
            ahead += set().union(*waits)
    return _without_a_way_out(found)


def _waits(group: str, occupancy: Occupancy) -> list[set[str]] | None:
    """The groups that each run of this one waits for; None when there is room, or somebody goes on."""
    if occupancy.has_room(group):
        return None
    waits: list[set[str]] = []
    for run_id in occupancy.active(group):
        awaited = set(occupancy.awaited(run_id))
        if not awaited:
            return None
        waits.append(awaited)
    return waits


def _without_a_way_out(waits: Mapping[str, list[set[str]]]) -> set[str]:
    """The groups that are left when all are taken out in which some run waits for none that is left."""
    left = set(waits)
    while free := {group for group in left if not all(awaited & left for awaited in waits[group])}:
        left -= free
    return left

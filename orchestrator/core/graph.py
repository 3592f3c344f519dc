"""The order between steps: who waits for whom, and circles in it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import reduce
from itertools import islice
from operator import or_
from typing import Final

__all__ = ["closure", "cycles", "reverse"]

Needs = Mapping[str, Sequence[str]]
"""Nodes, and those that each one needs, none twice."""

_MAX_CYCLES: Final = 20


def closure(needs: Needs) -> dict[str, frozenset[str]]:
    """For each node all nodes that it reaches through `needs`. Nodes on or behind a circle are left out."""
    bits = {node: 1 << i for i, node in enumerate(needs)}
    waiting = {node: len(below) for node, below in needs.items()}
    above = reverse(needs)
    ready = [node for node, count in waiting.items() if count == 0]
    reached: dict[str, int] = {}  # as bits: dense graphs of a thousand nodes are still quick
    while ready:
        node = ready.pop()
        reached[node] = reduce(or_, (reached[other] | bits[other] for other in needs[node]), 0)
        for other in above[node]:
            waiting[other] -= 1
            if waiting[other] == 0:
                ready.append(other)
    return {node: _members(mask, needs) for node, mask in reached.items()}


def reverse(needs: Needs) -> dict[str, list[str]]:
    """The same edges, seen from the other end."""
    above: dict[str, list[str]] = {node: [] for node in needs}
    for node, below in needs.items():
        for other in below:
            above[other].append(node)
    return above


def _members(mask: int, nodes: Iterable[str]) -> frozenset[str]:
    return frozenset(node for node, bit in zip(nodes, reversed(f"{mask:b}"), strict=False) if bit == "1")


def cycles(needs: Needs) -> list[tuple[str, ...]]:
    """Circles in `needs`, each as its nodes in order: one for each edge that closes one, at most 20."""
    found: list[tuple[str, ...]] = []
    done: set[str] = set()
    for start in needs:
        if start not in done:
            found += islice(_cycles_from(start, needs, done), _MAX_CYCLES - len(found))
    return found


def _cycles_from(start: str, needs: Needs, done: set[str]) -> Iterator[tuple[str, ...]]:
    """Walk depth first from `start`, without recursion; add every node left behind to `done`."""
    path = {start: iter(needs[start])}  # a dict keeps its order: from `start` to the current node
    while path:
        node = next(reversed(path))
        for other in path[node]:
            if other in path:
                nodes = list(path)
                yield tuple(nodes[nodes.index(other) :])
            elif other not in done:
                path[other] = iter(needs[other])
                break
        else:
            del path[node]
            done.add(node)

"""Which boxes come right after which, and in which layer each one stands."""

from collections.abc import Collection, Mapping
from functools import reduce
from graphlib import TopologicalSorter
from operator import or_

__all__ = ["direct", "layer_numbers", "layers_of"]

After = Mapping[str, tuple[str, ...]]


def layer_numbers(after: After, last: Collection[str] = ()) -> dict[str, int]:
    """The layer of each node, from 0, in the order of `after`; those in `last` stand below all others.

    Whoever comes after one in `last` is in it too.
    """
    numbers: dict[str, int] = {}
    order = list(TopologicalSorter(after).static_order())
    for some in ([node for node in order if node not in last], [node for node in order if node in last]):
        top = max(numbers.values(), default=-1) + 1
        for node in some:
            numbers[node] = max([top, *(numbers[other] + 1 for other in after[node])])
    return {node: numbers[node] for node in after}


def layers_of(after: After, last: Collection[str] = ()) -> list[list[str]]:
    """The nodes of each layer, from the top, each layer in the order of `after`."""
    numbers = layer_numbers(after, last)
    layers: list[list[str]] = [[] for _ in range(max(numbers.values(), default=-1) + 1)]
    for node, number in numbers.items():
        layers[number].append(node)
    return layers


def direct(reach: Mapping[str, Collection[str]]) -> dict[str, tuple[str, ...]]:
    """Of all that each node reaches, what it does not reach by way of another; in the order of the nodes.

    `reach` is transitive and has no circles. Sets are bits of a number: a thousand nodes take well under a
    second, however many edges there are between them.
    """
    bits = {node: 1 << i for i, node in enumerate(reach)}
    masks = {node: reduce(or_, (bits[other] for other in found), 0) for node, found in reach.items()}
    direct: dict[str, tuple[str, ...]] = {}
    for node, found in reach.items():
        indirect = reduce(or_, (masks[other] for other in found), 0)
        near = (other for other in found if not bits[other] & indirect)
        direct[node] = tuple(sorted(near, key=lambda other: bits[other].bit_length()))
    return direct

"""In which layer each box stands: one further down than all that it comes after."""

from collections.abc import Collection, Mapping
from graphlib import TopologicalSorter

__all__ = ["layer_numbers", "layers_of"]

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

"""Where everything in a drawing stands, counted in character cells; text and SVG share it.

The classic way in layers: each box below all that it comes after, the order within a layer chosen for few
crossings, then columns chosen so that lines run straight. All lines that leave one box share a trunk: a
*spot* is a box in its layer, or the place where its trunk passes a layer further down. So there are at most
as many spots as boxes times layers, however many edges.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from orchestrator.graph.layers import layer_numbers
from orchestrator.graph.sketch import Order

__all__ = ["PASSING", "Layout", "Spot", "lay_out"]

Spot = tuple[str, int]
"""A step's id and a layer: its own, or a lower one that its trunk passes."""
Links = Mapping[Spot, Sequence[Spot]]
Layers = list[list[Spot]]

PASSING: Final = 3
"""Width of a place where a trunk passes: odd, as every width, so that there is a middle."""
_GAP: Final = 3
_SWEEPS: Final = 24
_WORK: Final = 400_000
"""Links that are looked at in all sweeps together: large drawings get fewer of them."""
_STRAIGHT: Final = 8
"""How much more a trunk is pulled straight than a box is pulled to the middle."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Spots by layer, left to right; the middle column of each; and those that lines lead to and from.

    `cut`: how many layers stand above the ones that come last; None when no box has to come last.
    """

    layers: Layers
    column: Mapping[Spot, int]
    below: Links
    above: Links
    own: Mapping[str, int]
    width: int
    cut: int | None

    def is_box(self, spot: Spot) -> bool:
        """Whether a box stands there, and not just a passing trunk."""
        return self.own[spot[0]] == spot[1]


def lay_out(order: Order, widths: Mapping[str, int]) -> Layout:
    """Find a place for every box; `widths` are the boxes' own, in cells, and odd."""
    own = layer_numbers(order.after, order.last)
    below = _links(order.after, own)
    above: dict[Spot, list[Spot]] = {}
    for spot, others in below.items():
        above.setdefault(spot, [])
        for other in others:
            above.setdefault(other, []).append(spot)
    layers: Layers = [[] for _ in range(max(own.values(), default=-1) + 1)]
    for spot in below:
        layers[spot[1]].append(spot)
    size = sum(map(len, below.values())) + len(below) + 1
    sweeps = max(2, min(_SWEEPS, _WORK // size))
    layers = _with_few_crossings(layers, above, below, sweeps)
    width = {spot: widths[spot[0]] if own[spot[0]] == spot[1] else PASSING for spot in below}
    column = _columns(layers, above, below, width, sweeps)
    left = min((column[spot] - width[spot] // 2 for spot in column), default=0)
    right = max((column[spot] + width[spot] // 2 + 1 for spot in column), default=0)
    return Layout(
        layers=layers,
        column={spot: middle - left for spot, middle in column.items()},
        below=below,
        above=above,
        own=own,
        width=right - left,
        cut=min((own[step] for step in order.last), default=None),
    )


def _links(after: Mapping[str, tuple[str, ...]], own: Mapping[str, int]) -> dict[Spot, list[Spot]]:
    """From each spot to the ones below it that its lines lead to; every spot is a key."""
    deepest = dict(own)
    for step, others in after.items():
        for other in others:
            deepest[other] = max(deepest[other], own[step] - 1)
    below: dict[Spot, list[Spot]] = {}
    for step, layer in own.items():
        trunk = [(step, passed) for passed in range(layer, deepest[step] + 1)]
        below |= {spot: [] for spot in trunk}
        for spot, following in pairwise(trunk):
            below[spot].append(following)
    for step, others in after.items():
        for other in others:
            below[other, own[step] - 1].append((step, own[step]))
    return below


# The order within a layer


def _with_few_crossings(layers: Layers, above: Links, below: Links, sweeps: int) -> Layers:
    """The best of some orders: each layer sorted by the middle of its neighbours, downwards and upwards."""
    best, fewest = layers, _crossings(layers, below)
    for sweep in range(sweeps):
        if fewest == 0:
            break
        links, turned = (above, layers) if sweep % 2 == 0 else (below, layers[::-1])
        found = [turned[0], *turned[1:]]
        for i in range(1, len(found)):
            found[i] = _sorted(found[i], found[i - 1], links)
        layers = found if sweep % 2 == 0 else found[::-1]
        count = _crossings(layers, below)
        if count < fewest:
            best, fewest = layers, count
    return best


def _sorted(layer: list[Spot], fixed: list[Spot], links: Links) -> list[Spot]:
    """The layer by the mean place of each spot's neighbours in `fixed`; who has none keeps its place."""
    place = {spot: i for i, spot in enumerate(fixed)}
    scale = len(fixed) / len(layer)
    wanted = {
        spot: sum(place[other] for other in links[spot]) / len(links[spot]) if links[spot] else i * scale
        for i, spot in enumerate(layer)
    }
    return sorted(layer, key=wanted.__getitem__)


def _crossings(layers: Layers, below: Links) -> int:
    """How often lines cross."""
    return sum(_inversions(upper, lower, below) for upper, lower in pairwise(layers))


def _inversions(upper: list[Spot], lower: list[Spot], below: Links) -> int:
    """Crossings between two layers: pairs of lines whose ends are in another order than their beginnings."""
    place = {spot: i for i, spot in enumerate(lower, 1)}
    ends = [end for spot in upper for end in sorted(place[other] for other in below[spot])]
    tree = [0] * (len(lower) + 1)  # a Fenwick tree: how many lines ended at or left of a place
    crossings = 0
    for seen, end in enumerate(ends):
        crossings += seen
        at = end
        while at:
            crossings -= tree[at]
            at &= at - 1
        at = end
        while at < len(tree):
            tree[at] += 1
            at += at & -at
    return crossings


# The columns


def _columns(
    layers: Layers, above: Links, below: Links, width: Mapping[Spot, int], sweeps: int
) -> dict[Spot, int]:
    """The middle of each spot: near the middle of its neighbours, trunks straight, nothing touching."""
    column: dict[Spot, int] = {}
    for layer in layers:
        column |= zip(layer, _offsets(layer, width), strict=True)
    both = {spot: [*above[spot], *below[spot]] for spot in below}
    for sweep in range(sweeps + 1):
        links = both if sweep == sweeps else above if sweep % 2 == 0 else below
        for layer in layers if sweep % 2 == 0 else reversed(layers):
            wishes = [_wish(spot, links[spot], column) for spot in layer]
            column |= zip(layer, _nearest(_offsets(layer, width), wishes), strict=True)
    return column


def _offsets(layer: list[Spot], width: Mapping[Spot, int]) -> list[int]:
    """The middles of a layer's spots, packed to the left."""
    offsets = [0]
    for left, right in pairwise(layer):
        offsets.append(offsets[-1] + (width[left] + width[right]) // 2 + _GAP)
    return offsets[: len(layer)]


def _wish(spot: Spot, others: Sequence[Spot], column: Mapping[Spot, int]) -> tuple[float, float]:
    """Where a spot would stand best, and how much that matters."""
    if not others:
        return column[spot], 0.01
    total = weight = 0.0
    for other in others:
        pull = _STRAIGHT if other[0] == spot[0] else 1
        total += pull * column[other]
        weight += pull
    return total / weight, weight


def _nearest(offsets: list[int], wishes: list[tuple[float, float]]) -> list[int]:
    """Columns at least as far apart as the offsets, and as near to the wishes as can be.

    The least weighted squares under an order: neighbours that get in each other's way are pooled at their
    weighted mean (the pool-adjacent-violators algorithm).
    """
    pools: list[tuple[float, float, int]] = []  # mean, weight, members
    for offset, (wish, wish_weight) in zip(offsets, wishes, strict=True):
        mean, weight, members = wish - offset, wish_weight, 1
        while pools and pools[-1][0] >= mean:
            other, other_weight, other_members = pools.pop()
            mean = (mean * weight + other * other_weight) / (weight + other_weight)
            weight, members = weight + other_weight, members + other_members
        pools.append((mean, weight, members))
    starts = [round(mean) for mean, _, members in pools for _ in range(members)]
    return [start + offset for start, offset in zip(starts, offsets, strict=True)]

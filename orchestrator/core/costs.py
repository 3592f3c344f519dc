"""What evaluating a CEL expression can cost, known before it is evaluated.

The library bounds the iterations of an evaluation and nothing else, and frees nothing until its end. It
copies the list that a `map` or `filter` makes for each item, and both sides of each `+`. So memory is bounded
here: first by the text of the expression alone (`cost_of`), then with the sizes of what it is given
(`memory_of`). Both bounds are above what can happen, not near it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from orchestrator.core.lexing import Token, names, path_from

__all__ = ["MAX_EXPRESSION_COST", "MAX_MEMORY", "Cost", "cost_of", "memory_of"]

MAX_EXPRESSION_COST: Final = 1_000
"""How many times its data an expression may give: 3 for `l.map(a, a + a + a)`, 9 for two such in a row."""

MAX_MEMORY: Final = 512 * 1024 * 1024
"""Most bytes that one evaluation may come to use."""

_ITERATIONS: Final = 10_000
"""With so many in all, the library stops an evaluation."""

_ELEMENT: Final = 16
"""Bytes of one element of a list in the library."""

_MACROS: Final = frozenset({"map", "filter", "all", "exists", "exists_one"})
_OPENING: Final = {")": "(", "]": "[", "}": "{"}
_LITERALS: Final = ("string", "number")


@dataclass(frozen=True, slots=True)
class Cost:
    """What the text of an expression says: factors by which its data may grow, and how its loops stand.

    `total` counts everything that repeats data, `text` what joins any, `lists` what may join lists.
    `loops` counts comprehensions, `inner` those within another that give lists, as any does if it `builds`;
    `depth` is 2 for one within another. `reads` are the paths that are read anew for each item of a map.
    """

    total: int
    text: int = 1
    lists: int = 1
    joins: int = 0
    loops: int = 0
    builds: bool = False
    inner: int = 0
    depth: int = 0
    longest_list: int = 1
    longest_text: int = 0
    boxes: bool = False
    """Whether a list that is written out may hold data, so that an item may be anything."""
    reads: frozenset[tuple[str, ...]] = frozenset()


@dataclass(frozen=True, slots=True)
class _Loop:
    """A comprehension: the ranges of tokens of what it goes over, and of what it does for each item."""

    builds: bool
    """Whether it gives a list."""
    target: range
    body: range
    end: int


def cost_of(parts: list[Token], scope: frozenset[str]) -> Cost:
    """What the expression with these tokens, which compiled, costs; its variables are in `scope`."""
    everything = range(len(parts))
    loops = list(_loops(parts))
    if not loops:
        return Cost(1)
    bodies = {i for loop in loops if parts[loop.target.stop + 1].text == "map" for i in loop.body}
    depths = [sum(loop.end - 1 in other.body for other in loops) for loop in loops]
    outside = {part.offset for part in names(parts) if part.text in scope}
    return Cost(
        total=_factor(everything, loops, lambda i: _repeats(parts, i, "+,:")),
        text=_factor(everything, loops, lambda i: _repeats(parts, i, "+")),
        lists=_factor(everything, loops, lambda i: _may_join_lists(parts, i)),
        joins=sum(part.text == "+" for part in parts),
        loops=len(loops),
        builds=any(loop.builds for loop in loops),
        inner=sum(loop.builds and depth > 0 for loop, depth in zip(loops, depths, strict=True)),
        depth=1 + max(depths),
        longest_list=1 + sum(part.text == "," for part in parts),
        longest_text=sum(len(part.text) for part in parts if part.kind == "string"),
        boxes=any(_is_list(parts, i) for i in everything) and bool(outside),
        reads=frozenset(path_from(parts, i) for i in bodies if parts[i].offset in outside),
    )


def memory_of(cost: Cost, given: Mapping[str, Any]) -> int:
    """How many bytes the evaluation may use at most, above what `given`, its variables, takes."""
    if not cost.loops:
        return 0
    sizes = _Sizes()
    whole = sizes.weigh(given)
    longest = max(sizes.longest_list, cost.longest_list) * cost.lists
    items = min(_ITERATIONS, longest)
    turns = min(_ITERATIONS, cost.loops * longest**cost.depth)
    copies = (cost.joins + 2) // 2
    made = 0
    if cost.builds or cost.lists > 1:
        made += _ELEMENT * turns * items * (copies if cost.lists > 1 else 1)
    if cost.joins:
        made += turns * max(sizes.longest_text, cost.longest_text) * cost.text * copies
    if cost.inner or cost.reads:
        item = whole if cost.boxes else max(sizes.largest_item, sizes.longest_text)
        read = max((_size_at(path, given) for path in cost.reads), default=0)
        repeats = min(_ITERATIONS, longest**cost.depth) * items ** max(0, cost.inner - 1)
        made += repeats * max(item, read) * cost.total
    return made + whole * cost.total


def _factor(within: range, loops: list[_Loop], repeats: Callable[[int], bool]) -> int:
    """How many times data may stand in what these tokens give: loops multiply, the rest adds up."""
    total, i = 1, within.start
    heads = {loop.target.start: loop for loop in sorted(loops, key=lambda loop: loop.end)}
    while i < within.stop:
        loop = heads.get(i)
        if loop is None:
            total += repeats(i)
            i += 1
            continue
        rest = [other for other in loops if other is not loop]
        total += _factor(loop.target, rest, repeats) * _factor(loop.body, rest, repeats) - 1
        i = loop.end
    return total


def _repeats(parts: list[Token], i: int, signs: str) -> bool:
    """Whether token `i` is one of the `signs`, and what stands behind it may be data."""
    return parts[i].text in signs and i + 1 < len(parts) and parts[i + 1].kind not in _LITERALS


def _may_join_lists(parts: list[Token], i: int) -> bool:
    """Whether token `i` is a `+` that may have lists on its sides: none has a text or a number there."""
    if parts[i].text != "+":
        return False
    return not any(0 <= j < len(parts) and parts[j].kind in _LITERALS for j in (i - 1, i + 1))


def _is_list(parts: list[Token], i: int) -> bool:
    """Whether token `i` begins a list that is written out and holds more than numbers and texts."""
    if parts[i].text != "[" or (i and _ends_operand(parts[i - 1])):
        return False
    end = _match(parts, i, 1)
    return any(part.kind == "ident" for part in parts[i:end])


def _loops(parts: list[Token]) -> Iterator[_Loop]:
    """The comprehensions, in the order of their names."""
    for i, part in enumerate(parts):
        if part.text not in _MACROS or i == 0 or parts[i - 1].text != ".":
            continue
        if i + 1 == len(parts) or parts[i + 1].text != "(":
            continue
        end = _match(parts, i + 1, 1)
        comma = next((j for j in range(i + 2, end) if parts[j].text == ","), end)
        builds = part.text in ("map", "filter")
        yield _Loop(builds, range(_operand(parts, i - 1), i - 1), range(comma + 1, end), end + 1)


def _operand(parts: list[Token], end: int) -> int:
    """The first token of the operand, with its selections and calls, that ends before token `end`."""
    i = end - 1
    while i > 0:
        if parts[i].text in _OPENING:
            i = _match(parts, i, -1)
            if i and _ends_operand(parts[i - 1]):
                i -= 1
                continue
        if i and parts[i - 1].text == "." and i > 1 and _ends_operand(parts[i - 2]):
            i -= 2
            continue
        break
    return max(i, 0)


def _ends_operand(part: Token) -> bool:
    """Whether an operand may end with this token, so that a bracket behind it belongs to that."""
    return part.text in _OPENING or part.kind in _LITERALS or (part.kind == "ident" and part.text != "in")


def _match(parts: list[Token], i: int, step: int) -> int:
    """The index of the bracket that belongs to the one at `i`, forwards or backwards."""
    depth = 0
    while 0 <= i < len(parts):
        if parts[i].kind == "other":
            depth += step * ((parts[i].text in "([{") - (parts[i].text in ")]}"))
        if depth == 0:
            return i
        i += step
    return max(min(i, len(parts)), 0)


class _Sizes:
    """What stands out in some data; sizes are about those of the JSON."""

    def __init__(self) -> None:
        self.longest_list = 1
        self.longest_text = 0
        self.largest_item = 0

    def weigh(self, value: Any) -> int:
        """The size of `value`."""
        if isinstance(value, str):
            self.longest_text = max(self.longest_text, len(value))
            return len(value) + 2
        if isinstance(value, list):
            self.longest_list = max(self.longest_list, len(value))
            sizes = [self.weigh(item) for item in value]
            self.largest_item = max(self.largest_item, max(sizes, default=0))
            return 2 + sum(sizes) + len(sizes)
        if isinstance(value, dict):
            self.longest_list = max(self.longest_list, len(value))
            return 2 + sum(self.weigh(key) + self.weigh(item) + 2 for key, item in value.items())
        return 8


def _size_at(path: tuple[str, ...], given: Mapping[str, Any]) -> int:
    """The size of what is at `path`, or of the last part of the way that there is."""
    value: Any = given
    for key in path:
        if not isinstance(value, dict) or key not in value:
            break
        value = value[key]
    return _Sizes().weigh(value)

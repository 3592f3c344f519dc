"""How long the moves of a wide step take: `python -m tests.support.wide [ITEMS]`, a line for each kind."""

import sys
from time import perf_counter
from typing import Any, Final

from tests.support.machine import Saga

__all__ = ["main"]

_EACH: Final[dict[str, Any]] = {"id": "each", "foreach": "input.items"}
_TELL: Final[dict[str, Any]] = {"emit": {"type": "it.is", "data": {"item": "${{ item }}"}}}
_SEEN: Final[dict[str, Any]] = {
    "emit": {"type": "it.is", "data": ["${{ item }}", "${{ steps.each.status }}"]}
}
_DO: Final[dict[str, Any]] = {"action": "do.it", "target": "h", "with": {"item": "${{ item }}"}}
_BAD: Final[dict[str, Any]] = {
    "on_failure": "continue",
    "emit": {"type": "it.is", "data": "${{ item.none }}"},
}
KINDS: Final[dict[str, list[dict[str, Any]]]] = {
    "emit": [{**_EACH, **_TELL}],
    "emit behind another such step": [{**_EACH, **_TELL}, {**_EACH, "id": "then", **_SEEN}],
    "action, max_parallel 10,000": [{**_EACH, "max_parallel": 10_000, **_DO}],
    "emit that fails, on_failure continue": [{**_EACH, **_BAD}],
}


def main(items: int) -> None:
    """Time every move until the run does not go on by itself."""
    for name, steps in KINDS.items():
        given = {"items": [f"h{number}" for number in range(items)]}
        began = perf_counter()
        saga = Saga(*steps, given=given)
        times = [perf_counter() - began]
        while getattr(saga.run, "yielded_at", None) is not None:
            before = perf_counter()
            saga.wait(0)
            times.append(perf_counter() - before)
        print(f"{name}: {len(times)} moves, the longest {max(times):.3f} s, all {sum(times):.2f} s")  # noqa: T201


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)

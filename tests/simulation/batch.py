"""Many seeds, in this process or in several."""

import gc
import multiprocessing
from collections.abc import Iterable, Iterator

from tests.simulation.simulation import Outcome, simulate

__all__ = ["readable", "replay", "run_seeds", "to_keep"]

COLLECT_EVERY = (
    25  # seeds: a simulation leaves circles behind, and collecting them all the time costs a third
)
WIDTH = 150  # characters of a line, where not the whole trace is shown


def run_seeds(seeds: Iterable[int], jobs: int) -> Iterator[Outcome]:
    """The outcomes of these seeds, in their order, from so many processes."""
    if jobs <= 1:
        yield from map(_one, seeds)
        return
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap(_one, seeds, chunksize=8)


def _one(seed: int) -> Outcome:
    gc.disable()
    try:
        return simulate(seed)
    finally:
        if seed % COLLECT_EVERY == 0:
            gc.collect()


def replay(seed: int) -> str:
    """How to see one seed again."""
    return f"./run simulate --first {seed} --seeds 1 --trace"


def to_keep(seed: int) -> str:
    """How to keep what a failing seed has shown."""
    return (
        "to keep it: hold its cause by a test of its own, and add\n"
        f"  {seed}  what went wrong  <- tests/…::test_…\nto tests/simulation/regressions.txt"
    )


def readable(outcome: Outcome, lines: int | None) -> str:
    """A trace for people: all of it, or the ends of the last so many lines; and what was found."""
    shown = outcome.trace
    if lines is not None:
        shown = [(at, who, what[:WIDTH]) for at, who, what in shown[-lines:]]
    width = max((len(who) for _, who, _ in shown), default=0)
    text = [f"{at:12.6f}  {who:<{width}}  {what}" for at, who, what in shown]
    if outcome.violations:
        text += ["", f"seed {outcome.seed} broke an invariant; to see it again: {replay(outcome.seed)}"]
        text += [f"  {name.replace('_', ' ')}: {found}" for name, found in outcome.violations]
        text.append(to_keep(outcome.seed))
    return "\n".join(text) + "\n"

"""`./run simulate`: many seeds, and what came of them."""

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

from tests.simulation.batch import readable, replay, run_seeds, to_keep
from tests.simulation.progress import ENOUGH_SEEDS, Total
from tests.simulation.simulation import simulate

__all__ = ["main"]

PROGRESS_EVERY = 10.0  # seconds
TAIL = 30  # lines of the trace of a failing seed


def main(argv: Sequence[str] | None = None) -> int:
    """Run the seeds asked for; 1 if any broke an invariant, or if all together they got nowhere."""
    options = _parser().parse_args(argv)
    seeds = range(options.first, options.first + options.seeds)
    if options.trace:
        outcome = simulate(options.first, keep_trace=True)
        sys.stdout.write(readable(outcome, lines=None))
        return 1 if outcome.violations else 0
    total = Total()
    begun = told = time.monotonic()
    for outcome in run_seeds(seeds, options.jobs):
        total.add(outcome)
        if outcome.violations:
            sys.stderr.write(readable(outcome, lines=TAIL))
        if time.monotonic() - told > PROGRESS_EVERY:
            told = time.monotonic()
            so_far = f"{total.seeds} of {options.seeds} seeds, {told - begun:.0f} s"
            sys.stderr.write(f"  … {so_far}, {len(total.failed)} failed\n")
    found = total.summary(time.monotonic() - begun)
    sys.stdout.write(json.dumps(found) + "\n" if options.json else _text(found))
    return 1 if found["failed"] or found["shortcomings"] else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="./run simulate", description="The simulation of the whole system.")
    add = parser.add_argument
    add("--seeds", type=int, default=300, metavar="N", help="how many seeds; default 300")
    add("--first", type=int, default=1, metavar="SEED", help="the first seed; default 1")
    add("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="processes; default: one per core")
    add("--json", action="store_true", help="the summary as JSON")
    add("--trace", action="store_true", help="run the first seed only, and print everything that happens")
    return parser


def _text(found: dict[str, Any]) -> str:
    """The summary for people."""
    lines = [
        f"{found['seeds']} seeds in {found['seconds']} s: {found['runs']} runs, {found['steps']:,} steps",
        f"  made-up time: {found['virtual_seconds'] / 3600:,.0f} hours",
        "  ends:   " + ", ".join(f"{name} {count}" for name, count in found["ends"].items()),
        "  faults: " + ", ".join(f"{name} {count}" for name, count in found["faults"].items()),
    ]
    lines.append(
        "  moves:  " + ", ".join(f"{name} {count}" for name, count in found["operator_moves"].items())
    )
    lines.append("  reached: " + ", ".join(f"{name} {count}" for name, count in found["reached"].items()))
    if found["failed"]:
        lines += ["", f"{len(found['failed'])} seeds FAILED:"]
        lines += [f"  {replay(seed)}" for seed in found["failed"]]
        lines.append(to_keep(found["failed"][0]))
    else:
        lines.append("every invariant held")
    return "\n".join([*lines, *_judged(found["shortcomings"])]) + "\n"


def _judged(shortcomings: list[str] | None) -> list[str]:
    """What the seeds are worth, for people."""
    if shortcomings is None:
        return [f"whether runs got anywhere is judged from {ENOUGH_SEEDS} seeds on"]
    if not shortcomings:
        return ["enough went right, and enough went wrong"]
    return ["", "TOO LITTLE happened for that to mean anything:", *(f"  {each}" for each in shortcomings)]


if __name__ == "__main__":
    sys.exit(main())

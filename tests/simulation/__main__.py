"""`./run simulate`: many seeds, and what came of them."""

import argparse
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from tests.simulation.batch import readable, replay, run_seeds
from tests.simulation.simulation import Outcome, simulate

__all__ = ["main", "summary"]

PROGRESS_EVERY = 10.0  # seconds
TAIL = 30  # lines of the trace of a failing seed


def main(argv: Sequence[str] | None = None) -> int:
    """Run the seeds asked for; 1 if any broke an invariant."""
    options = _parser().parse_args(argv)
    seeds = range(options.first, options.first + options.seeds)
    if options.trace:
        outcome = simulate(options.first, keep_trace=True)
        sys.stdout.write(readable(outcome, lines=None))
        return 1 if outcome.violations else 0
    total, failed = Counter[str](), []
    begun = told = time.monotonic()
    for outcome in run_seeds(seeds, options.jobs):
        _add(total, outcome)
        if outcome.violations:
            failed.append(outcome.seed)
            sys.stderr.write(readable(outcome, lines=TAIL))
        if time.monotonic() - told > PROGRESS_EVERY:
            told = time.monotonic()
            done = total["seeds"]
            sys.stderr.write(
                f"  … {done} of {options.seeds} seeds, {told - begun:.0f} s, {len(failed)} failed\n"
            )
    found = summary(total, failed, time.monotonic() - begun)
    sys.stdout.write(json.dumps(found) + "\n" if options.json else _text(found))
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="./run simulate", description="The simulation of the whole system.")
    add = parser.add_argument
    add("--seeds", type=int, default=300, metavar="N", help="how many seeds; default 300")
    add("--first", type=int, default=1, metavar="SEED", help="the first seed; default 1")
    add("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="processes; default: one per core")
    add("--json", action="store_true", help="the summary as JSON")
    add("--trace", action="store_true", help="run the first seed only, and print everything that happens")
    return parser


def _add(total: Counter[str], outcome: Outcome) -> None:
    total["seeds"] += 1
    total["steps"] += outcome.steps
    total["virtual"] += round(outcome.virtual)
    total.update({f"end:{status}": count for status, count in outcome.ends.items()})
    total.update({f"move:{name}": count for name, count in outcome.moves.items()})
    total.update({f"reached:{name}": count for name, count in outcome.reached.items()})
    total.update({f"fault:{name}": count for name, count in outcome.faults.items()})


def summary(total: Counter[str], failed: list[int], seconds: float) -> dict[str, Any]:
    """What a batch of seeds came to."""
    return {
        "seeds": total["seeds"],
        "failed": failed,
        "runs": sum(count for name, count in total.items() if name.startswith("end:")),
        "ends": {name[4:]: total[name] for name in sorted(total) if name.startswith("end:")},
        "faults": {name[6:]: total[name] for name in sorted(total) if name.startswith("fault:")},
        "operator_moves": {name[5:]: total[name] for name in sorted(total) if name.startswith("move:")},
        "reached": {name[8:]: total[name] for name in sorted(total) if name.startswith("reached:")},
        "steps": total["steps"],
        "virtual_seconds": total["virtual"],
        "seconds": round(seconds, 1),
    }


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
    else:
        lines.append("every invariant held")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())

"""`python -m bench`: measure, print a JSON line for each system, then a table. `--help` says how much."""

import argparse
import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from bench.processes import BenchError, family
from bench.report import json_lines, show
from bench.runner import SYSTEMS, Plan, Tally, measure
from orchestrator.local.broker import PrivateBroker
from schemas.errors import BatonError

BASE = Path(".baton").resolve()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; 0 if every system did all of its work, 130 if stopped, else 1."""
    options = _options(argv)
    plan = Plan(options.only, options.seconds, options.rounds, options.lone, options.limit)
    BASE.mkdir(exist_ok=True)
    try:
        lines = [tally.line() for tally in asyncio.run(_measure(plan))]
    except (BenchError, BatonError) as error:
        sys.stderr.write(f"bench: {error}\n")
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130
    text = json_lines(lines)
    sys.stdout.write(text)
    sys.stdout.flush()
    if options.json is not None:
        options.json.write_text(text)
    show(lines, Console(width=120))
    return 0


async def _measure(plan: Plan) -> list[Tally]:
    """Measure on a private broker in a directory of this benchmark's own; both are gone afterwards."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=BASE, ignore_cleanup_errors=True) as base:
        async with PrivateBroker(base=BASE) as broker:
            return await measure(plan, broker.url, Path(base), family([os.getpid()])[1:])


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    defaults = Plan(SYSTEMS)
    parser = argparse.ArgumentParser(prog="./run bench", description=__doc__)
    add = parser.add_argument
    add("--only", type=_systems, default=list(SYSTEMS), metavar="A,B", help=f"of {', '.join(SYSTEMS)}")
    add(
        "--seconds", type=float, default=defaults.seconds, help="how long each load should take (%(default)s)"
    )
    add("--rounds", type=int, default=defaults.rounds, help="the medians are over so many (%(default)s)")
    add("--lone", type=int, default=defaults.lone, help="lone sagas in each round (%(default)s)")
    add("--limit", type=float, default=defaults.limit, help="no new round past so many seconds (%(default)s)")
    add("--json", type=Path, metavar="FILE", help="write the JSON lines there, too")
    return parser.parse_args(argv)


def _systems(text: str) -> list[str]:
    wanted = text.split(",")
    for name in wanted:
        if name not in SYSTEMS:
            raise argparse.ArgumentTypeError(f"'{name}' is not one of {', '.join(SYSTEMS)}")
    return [name for name in SYSTEMS if name in wanted]


if __name__ == "__main__":
    sys.exit(main())

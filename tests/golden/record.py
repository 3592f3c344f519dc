"""Record the cases that have no file yet: `python -m tests.golden.record`. See README.md."""

import argparse
import asyncio
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
from msgspec.structs import replace

from tests.golden.cases import CASES
from tests.golden.database import DUMP, dump, make
from tests.golden.story import FILES, Story, tell

__all__ = ["record", "write"]


def write(path: Path, story: Story) -> None:
    """Write a story so that people can read it and see what changed."""
    text = msgspec.json.format(msgspec.json.encode(story), indent=1)
    path.write_bytes(text + b"\n")


def record(folder: Path, *, broken: tuple[str, ...] = ()) -> list[str]:
    """Write the cases that have no file, and those of which somebody says that live runs may break."""
    written = []
    for name, run in CASES.items():
        path = folder / f"{name}.json"
        if not path.exists() or name in broken:
            write(path, run().story(" ".join((run.__doc__ or "").split())))
            written.append(name)
    return written


def decides_otherwise(folder: Path, name: str, why: str) -> None:
    """Keep a history as it is, and compare only what it folds to from now on."""
    path = folder / f"{name}.json"
    write(path, replace(tell(path), decided_otherwise=why))


def written_down() -> str:
    """A database of this version as text."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "baton.db"
        asyncio.run(make(path))
        return dump(path)


def main(arguments: list[str]) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.golden.record", description=__doc__)
    parser.add_argument(
        "--decides-otherwise", nargs=2, metavar=("CASE", "WHY"),
        help="this version decides otherwise in a live run like this one, and that is meant",
    )  # fmt: skip
    parser.add_argument(
        "--overwrite-and-break-live-runs", nargs="+", default=[], metavar="CASE",
        help="forget the old history: runs like it that are live now will not load after an upgrade",
    )  # fmt: skip
    given = parser.parse_args(arguments)
    broken = tuple(given.overwrite_and_break_live_runs)
    if unknown := {*broken, *(given.decides_otherwise or ())[:1]} - CASES.keys():
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    if given.decides_otherwise:
        decides_otherwise(FILES, *given.decides_otherwise)
    for name in record(FILES, broken=broken):
        print(f"recorded {name}")  # noqa: T201 - a script that talks to the person who started it
    if not DUMP.exists():
        DUMP.write_text(written_down(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

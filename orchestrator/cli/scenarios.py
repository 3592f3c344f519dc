"""`baton test`: workflows tried out with simulated agents in virtual time, without a broker."""

import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from orchestrator.cli.output import printable, say, show_json
from orchestrator.cli.remote import Json, UsageError

__all__ = ["play_scenarios"]

Files = Annotated[list[Path], Parameter(negative="", help="scenario files, or directories of them")]
Only = Annotated[
    str, Parameter(name=["-k", "--only"], help="only scenarios whose file or name contains this")
]
Verbose = Annotated[bool, Parameter(name=["-v", "--verbose"], negative="", help="name every scenario")]


def play_scenarios(files: Files, /, *, only: Only = "", verbose: Verbose = False, json: Json = False) -> int:
    """Play scenarios of workflows: simulated agents, virtual time, no broker.

    The exit code is 1 if a scenario fails, 2 if a file is not one of scenarios.
    """
    from orchestrator.document import InvalidDocument

    if not files:
        raise UsageError("name at least one scenario file", hint="baton test tests/")
    began = time.monotonic()
    try:
        chosen = _chosen(files, only)
    except InvalidDocument as error:
        if json:
            show_json({"error": error.as_json()})
        else:
            say("\n".join(printable(str(diagnostic)) for diagnostic in error.diagnostics))
        return 2
    results = _play(chosen, quiet=json, verbose=verbose)
    failed = sum(1 for result in results if not result["ok"])
    took = time.monotonic() - began
    if json:
        show_json(
            {"ok": failed == 0, "passed": len(results) - failed, "failed": failed, "scenarios": results}
        )
    else:
        say(f"{len(results) - failed} passed, {failed} failed in {took:.2f} s")
    return 1 if failed else 0


def _chosen(files: list[Path], only: str) -> Any:
    from orchestrator.scenario.running import find_files, read_all

    try:
        chosen = read_all(find_files(files), only)
    except OSError as error:
        raise UsageError(f"cannot read {error.filename}: {error.strerror}") from None
    if not chosen:
        why = f"no scenario's file or name contains '{only}'" if only else "there is no *.yaml there"
        raise UsageError(why, hint="name scenario files, or directories of them")
    return chosen


def _play(chosen: Any, *, quiet: bool, verbose: bool) -> list[dict[str, Any]]:
    """Play all, a line for each file, and each failure as soon as it is known."""
    from orchestrator.scenario.playing import play
    from orchestrator.scenario.report import as_json, failure_text, plain, terminal

    paint = terminal if sys.stdout.isatty() and not os.environ.get("NO_COLOR") else plain
    results = []
    for path, cases in chosen:
        played = [play(case) for case in cases]
        results += [as_json(one) for one in played]
        if quiet:
            continue
        bad = [one for one in played if one.mismatches]
        told = f"{len(played) - len(bad)} passed{f', {len(bad)} failed' if bad else ''}"
        say(f"{_mark(not bad, paint)}  {printable(str(path))}: {told}")
        for one in played if verbose else []:
            say(f"    {_mark(not one.mismatches, paint)}  {printable(one.case.name)}")
        for one in bad:
            say("\n" + failure_text(one, paint) + "\n")
    return results


def _mark(good: bool, paint: Any) -> str:  # noqa: FBT001 - it is what the mark says
    return str(paint("ok", "good") if good else paint("FAILED", "bad"))

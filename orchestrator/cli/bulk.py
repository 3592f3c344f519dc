"""One action on many runs: counted, asked about, and done page by page."""

import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

from cyclopts import Parameter

from orchestrator.cli.client import ApiClient
from orchestrator.cli.output import printable, say, show_json
from orchestrator.cli.remote import Remote, UsageError
from schemas.errors import InvalidInput
from schemas.times import parse_duration

__all__ = ["Many", "moment_of", "steer_many"]

PAGE: Final = 100
"""Runs of one request: small enough that Ctrl-C is heard soon."""
MOST_SHOWN: Final = 20
PROGRESS_FROM: Final = 2 * PAGE
"""From so many runs on it is said how far it is."""


@Parameter(name="*")
@dataclass(frozen=True)
class Many:
    """Which runs are meant, instead of a run's id."""

    workflow: Annotated[str | None, Parameter(help="many runs: those of this workflow")] = None
    status: Annotated[
        list[str] | None, Parameter(negative="", help="with this status (default: where it makes sense)")
    ] = None
    key: Annotated[str | None, Parameter(help="with this key")] = None
    of_version: Annotated[
        str | None, Parameter(help="that keep to this version (the beginning of its hash, or: current)")
    ] = None
    parent: Annotated[str | None, Parameter(help="child runs of this run")] = None
    started_after: Annotated[
        str | None, Parameter(help="by when they started: RFC 3339, or how long ago (2h)")
    ] = None
    started_before: Annotated[str | None, Parameter(help="as --started-after")] = None
    dry_run: Annotated[bool, Parameter(negative="", help="only count the runs that fit")] = False
    yes: Annotated[bool, Parameter(negative="", help="do not ask")] = False

    @property
    def filter(self) -> dict[str, Any]:
        """As the API takes it; empty when nothing narrows."""
        given = {
            "workflow": self.workflow,
            "status": self.status,
            "key": self.key,
            "version": self.of_version,
            "parent": self.parent,
            "started_after": moment_of(self.started_after, "--started-after"),
            "started_before": moment_of(self.started_before, "--started-before"),
        }
        return {name: value for name, value in given.items() if value}


def moment_of(text: str | None, option: str) -> str | None:
    """A time for the API: as it is, or, of a duration such as `2h`, that long ago."""
    if not text or "T" in text.upper():
        return text
    try:
        ago = timedelta(microseconds=parse_duration(text))
    except InvalidInput:
        raise UsageError(
            f"{option}: '{text}' is neither a time nor how long ago", hint="2026-01-31T12:00:00Z, or 2h"
        ) from None
    return (datetime.now(UTC) - ago).isoformat()


def steer_many(options: Remote, many: Many, action: str, arguments: dict[str, Any]) -> int:
    """Do it to every run that fits, or count them; 1 when some run refused."""
    client = options.client()
    body = {"action": action, "filter": many.filter, "arguments": arguments}
    counted = client.post("/api/runs/bulk", {**body, "dry_run": True})
    if many.dry_run:
        _show_counts(counted, action, as_json=options.json)
        return 0
    matched = counted["matched"]
    if matched and not many.yes:
        _ask(action, matched)
    total: dict[str, Any] = {"matched": 0, "done": 0, "refused": [], "next": None}
    try:
        _all_pages(client, body, matched, total)
    except KeyboardInterrupt:
        _show(total, action, as_json=options.json)
        sys.stderr.write("stopped; what is done stays done, the rest was not touched\n")
        raise
    _show(total, action, as_json=options.json)
    return 1 if total["refused"] else 0


def _all_pages(client: ApiClient, body: dict[str, Any], matched: int, total: dict[str, Any]) -> None:
    """Go through all that fit; `total` says at any time how far it is."""
    while True:
        answer = client.post("/api/runs/bulk", {**body, "limit": PAGE, "cursor": total["next"]})
        total["matched"] += answer["matched"]
        total["done"] += answer["done"]
        total["refused"] += answer["refused"]
        total["next"] = answer["next"]
        if matched >= PROGRESS_FROM:
            sys.stderr.write(f"{total['matched']} of {matched}\n")
        if total["next"] is None:
            return


def _ask(action: str, matched: int) -> None:
    """Have a person say yes; `UsageError` where there is nobody to ask, or who says no."""
    if not sys.stdin.isatty():
        raise UsageError(
            f"that would {action} {matched} runs", hint="say --yes to do it, or --dry-run to see which"
        )
    sys.stderr.write(f"{action} {matched} runs? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise UsageError("nothing was done")


def _show_counts(answer: dict[str, Any], action: str, *, as_json: bool) -> None:
    if as_json:
        show_json(answer)
        return
    say(f"would {action} {answer['matched']} runs")
    for one in answer["counts"]:
        say(printable(f"  {one['count']:>6}  {one['workflow']}  {one['status']}"))


def _show(total: dict[str, Any], action: str, *, as_json: bool) -> None:
    if as_json:
        show_json(total)
        return
    refused = total["refused"]
    say(
        f"{action}: {total['done']} of {total['matched']} runs"
        + (f", {len(refused)} refused" if refused else "")
    )
    for one in refused[:MOST_SHOWN]:
        say(printable(f"  {one['id']}: {one['error']['message']}"))
    if len(refused) > MOST_SHOWN:
        say(f"  and {len(refused) - MOST_SHOWN} more; --json lists all")

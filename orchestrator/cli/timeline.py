"""A run's timeline: which step, on which host, became what, when, and in how many attempts.

Works on a run as `GET /api/runs/{id}` gives it; the times are the coordinator's.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from orchestrator.cli.interrupts import check_interrupt
from orchestrator.cli.output import columns, moment, printable, say
from schemas.errors import Conflict, Unreachable

__all__ = ["FEW", "FINAL", "Entry", "entries", "follow", "headline", "timeline"]

FINAL: Final = frozenset({"succeeded", "failed", "compensated", "cancelled"})
"""The statuses in which a run stays."""

HEADERS: Final = ("step", "host", "status", "duration", "attempts", "")
FEW: Final = 20
"""How many tasks of one step are shown, unless all are asked for."""
POLL_SECONDS: Final = 0.25
PATIENCE_SECONDS: Final = 60.0
"""How long following a run outlasts a coordinator that does not answer."""

_MAX_NOTE = 100
_MOST_DECISIONS = 10
_COLORS: Final = {
    "succeeded": "green",
    "compensated": "green",
    "running": "cyan",
    "compensating": "cyan",
    "failed": "red",
    "compensation_failed": "bold red",
    "in_doubt": "bold yellow",
    "attention": "bold yellow",
    "cancelled": "yellow",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One line: a task's way forward, or its undo. `seconds` is None when it has not begun."""

    step: str
    host: str
    status: str
    seconds: float | None
    attempts: int
    note: str
    undo: bool
    order: str

    @property
    def cells(self) -> tuple[str, str, str, str, str, str]:
        """What `HEADERS` name."""
        step = f"undo {self.step}" if self.undo else self.step
        attempts = str(self.attempts) if self.attempts else ""
        return (step, self.host, self.status, _duration(self.seconds), attempts, self.note)


def entries(run: dict[str, Any]) -> list[Entry]:
    """The lines of a run: what has begun in the order of its beginning, then the rest in the document's."""
    found: list[Entry] = []
    for step, state in run["steps"].items():
        for host in state["hosts"]:
            found.append(_forward(_task_name(step, state, host), host))
            if host["undo_started_at"] or host["status"].startswith("compensat"):
                found.append(_undo(_task_name(step, state, host), host))
        if sum(state["counts"].values()) != len(state["hosts"]) or not state["hosts"]:
            found.append(_of_many(step, state))
    return sorted(found, key=lambda entry: (entry.order == "", entry.order))


def _task_name(step: str, state: dict[str, Any], host: dict[str, Any]) -> str:
    """A task's step, and its number where there are several."""
    return f"{step}[{host['index']}]" if sum(state["counts"].values()) > 1 else step


def _of_many(step: str, state: dict[str, Any]) -> Entry:
    """A step of which not every task has a line of its own."""
    note = ", ".join(f"{number} {status}" for status, number in state["counts"].items()) or "nothing to do"
    return Entry(
        step=step,
        host="",
        status=state["status"],
        seconds=_seconds(state["started_at"], state["ended_at"]),
        attempts=0,
        note=note,
        undo=False,
        order=state["started_at"] or "",
    )


def timeline(run: dict[str, Any]) -> str:
    """The whole timeline as text: a headline, aligned columns, and what a person has to decide."""
    text = f"{headline(run)}\n{columns((entry.cells for entry in entries(run)), HEADERS)}"
    todo = printable(_attention(run))
    return f"{text}\n\n{todo}" if todo else text


def headline(run: dict[str, Any]) -> str:
    """One line about the run itself."""
    key = f" key {run['key']}" if run["key"] else ""
    took = _duration(_seconds(run["started_at"], run["ended_at"]))
    reason = f": {_short(run['reason'])}" if run["reason"] else ""
    return printable(f"run {run['id']} {run['workflow']}{key}  {run['status']}  {took}{reason}")


def follow(
    fetch: Callable[[], dict[str, Any]], *, quiet: bool = False, limit: float | None = None
) -> dict[str, Any]:
    """Show a run as it goes on, and return it once it has ended.

    On a terminal the table is redrawn, else each change is a line on stdout. A coordinator that is away is
    waited for. `limit` in seconds: then `Conflict` of code `not_ended`.
    """
    show = _nothing if quiet else _Redrawn() if sys.stdout.isatty() else _Lines()
    ends = None if limit is None else time.monotonic() + limit
    with show:
        while True:
            check_interrupt()
            run = _patiently(fetch, show)
            show.update(run)
            if run["status"] in FINAL:
                return run
            if ends is not None and time.monotonic() >= ends:
                raise Conflict(
                    f"run {run['id']} has not ended within {limit:g} s: it is {run['status']}",
                    code="not_ended",
                    hint="it goes on; baton runs watch shows how",
                )
            time.sleep(POLL_SECONDS)


class _Nothing:
    """Shows nothing."""

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, *_: object) -> None:
        """End."""

    def update(self, run: dict[str, Any]) -> None:
        """Show the run as it is now."""

    def trouble(self, text: str) -> None:
        """Say that nothing can be seen for now."""
        sys.stderr.write(f"{text}\n")


_nothing = _Nothing()


class _Lines(_Nothing):
    """Prints each change once."""

    def __init__(self) -> None:
        self._said: dict[tuple[str, str, bool], tuple[str, int, str]] = {}
        self._status = ""
        self._todo = ""

    def update(self, run: dict[str, Any]) -> None:
        """See the class."""
        for entry in entries(run):
            many = "" if entry.host or entry.attempts else entry.note
            place, state = (entry.step, entry.host, entry.undo), (entry.status, entry.attempts, many)
            if entry.status != "pending" and self._said.get(place) != state:
                self._said[place] = state
                say(_line(entry))
        if run["status"] != self._status:
            self._status = run["status"]
            say(headline(run))
        todo = _attention(run)
        if todo != self._todo:
            self._todo = todo
            if todo:
                say(printable(todo))


class _Redrawn(_Nothing):
    """A table on a terminal that follows the run."""

    def __init__(self) -> None:
        from rich.live import Live

        self._live = Live(auto_refresh=False)

    def __enter__(self) -> None:
        """Begin."""
        self._live.start()

    def __exit__(self, *_: object) -> None:
        """End, and leave the last table standing."""
        self._live.stop()

    def update(self, run: dict[str, Any]) -> None:
        """See the class."""
        from rich.console import Group, RenderableType
        from rich.table import Table
        from rich.text import Text

        table = Table(*HEADERS, box=None, pad_edge=False, header_style="bold")
        for entry in entries(run):
            style = _COLORS.get(entry.status, "dim" if entry.status == "pending" else "")
            cells = [Text(printable(cell)) for cell in entry.cells]
            cells[2].stylize(style)
            table.add_row(*cells)
        head = Text(headline(run), style=_COLORS.get(run["status"], ""))
        parts: list[RenderableType] = [head, table]
        if todo := _attention(run):
            parts.append(Text(printable(todo)))
        self._live.update(Group(*parts), refresh=True)

    def trouble(self, text: str) -> None:
        """See `_Nothing`."""
        self._live.console.print(text, markup=False)


def _line(entry: Entry) -> str:
    """A change as one line."""
    step, host, status, duration, attempts, note = entry.cells
    parts = (step, host, status, duration, f"attempt {attempts}" if attempts else "", note)
    return printable("  ".join(part for part in parts if part))


def _patiently(fetch: Callable[[], dict[str, Any]], show: _Nothing) -> dict[str, Any]:
    """The run, also when the coordinator comes back only after a while; then `Unreachable`."""
    ends = time.monotonic() + PATIENCE_SECONDS
    told = False
    while True:
        check_interrupt()
        try:
            return fetch()
        except Unreachable as error:
            if time.monotonic() >= ends:
                raise
            if not told:
                show.trouble(f"{error.message}; trying again for {PATIENCE_SECONDS:.0f} s")
                told = True
            time.sleep(POLL_SECONDS * 2)


def _forward(step: str, host: dict[str, Any]) -> Entry:
    status, error = host["status"], host["error"]
    undoing = bool(host["undo_started_at"]) or status.startswith("compensat")
    if undoing:
        status = "failed" if error else "succeeded"
    return Entry(
        step=step,
        host=host["name"],
        status=status,
        seconds=_seconds(host["started_at"], host["ended_at"]),
        attempts=host["attempts"],
        note=_note(host, error, status),
        undo=False,
        order=host["started_at"] or "",
    )


def _undo(step: str, host: dict[str, Any]) -> Entry:
    return Entry(
        step=step,
        host=host["name"],
        status=host["status"],
        seconds=_seconds(host["undo_started_at"], host["undo_ended_at"]),
        attempts=host["undo_attempts"],
        note=_note(host, host["undo_error"], host["status"]),
        undo=True,
        order=host["undo_started_at"] or "",
    )


def _note(host: dict[str, Any], error: dict[str, Any] | None, status: str) -> str:
    """Why a task is where it is, in a few words."""
    if host["doubt"] and status == "in_doubt":
        return _short(_doubt(host["doubt"]))
    if host["waiting"] and status in ("running", "compensating"):
        return _short(_waits(host["waiting"]))
    if error is None or status in ("succeeded", "compensated"):
        return _short(f"child run {host['child']}") if host["child"] else ""
    text = f"{error['code']}: {error['message']}" if error.get("message") else error["code"]
    if status in ("running", "compensating"):
        again = f"next {moment(host['due'])}; " if host["due"] else ""
        return _short(f"{again}last attempt: {text}")
    return _short(text)


def _waits(waiting: dict[str, Any]) -> str:
    """What a task waits for, and until when."""
    until = f" until {moment(waiting['until'])}" if waiting["until"] else ""
    match waiting["on"]:
        case "event":
            value = (
                f" with {waiting['correlate']} = {waiting.get('value', '')}" if "correlate" in waiting else ""
            )
            return f"waits for {waiting['event']}{value}{until}"
        case "approval":
            return f"waits for an approval{until}: {waiting.get('message', '')}"
        case "child":
            return f"waits for the child run {waiting['child']}"
    return f"waits{until}"


def _doubt(doubt: dict[str, Any]) -> str:
    """Why nobody knows what became of a task."""
    asked = f"; asked {doubt['asked']} times" if doubt["asked"] else ""
    lost = "; its agent does not know either" if doubt["lost"] else ""
    denied = f"; never seen by {', '.join(doubt['denied'])}" if doubt["denied"] else ""
    return f"{doubt['why']}{asked}{lost}{denied}"


def _attention(run: dict[str, Any]) -> str:
    """What a person can do, and how; nothing when the run needs nobody."""
    if run["paused"]:
        return f"the run is paused: baton runs resume {run['id']}"
    lines = [
        line
        for step, state in run["steps"].items()
        for host in state["hosts"]
        if (line := _decision(run["id"], step, state, host))
    ]
    more = f"\nand {len(lines) - _MOST_DECISIONS} more" if len(lines) > _MOST_DECISIONS else ""
    return "\n".join(lines[:_MOST_DECISIONS]) + more


def _decision(run_id: str, step: str, state: dict[str, Any], host: dict[str, Any]) -> str:
    """The command that decides about a task; empty when it needs no decision."""
    several = sum(state["counts"].values()) > 1
    if host["waiting"] and host["waiting"]["on"] == "approval":
        index = f" --host {host['index']}" if several else ""
        return f"step '{step}' waits for an approval: baton runs approve|reject {run_id} {step}{index}"
    if not (host["parked"] or host["status"] in ("in_doubt", "compensation_failed")):
        return ""
    name = f" --host {host['index']}" if several else ""
    why = f" ({_short(_doubt(host['doubt']))})" if host["doubt"] else ""
    return (
        f"step '{step}' waits for a decision{why}: baton runs resolve {run_id} {step}{name} "
        "--decision retry|skip|done --why '…'"
    )


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _MAX_NOTE else f"{line[: _MAX_NOTE - 1]}…"


def _seconds(start: str | None, end: str | None) -> float | None:
    if start is None:
        return None
    until = datetime.fromisoformat(end).timestamp() if end else time.time()
    return max(0.0, until - datetime.fromisoformat(start).timestamp())


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < 60:  # noqa: PLR2004  a minute
        return f"{seconds:.2f}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m{rest:02}s" if hours else f"{minutes}m{rest:02}s"

"""What became of scenarios, for people and as JSON."""

import json
import shutil
from collections.abc import Callable, Iterator
from typing import Any, Final

from orchestrator.scenario.clock import moment_text
from orchestrator.scenario.judging import Mismatch
from orchestrator.scenario.matching import Row
from orchestrator.scenario.playing import Played

__all__ = ["Paint", "as_json", "failure_text", "plain", "terminal", "timeline_text"]

Paint = Callable[[str, str], str]
"""Text in a colour: `good`, `bad` or `faint`."""

_COLOURS: Final = {"good": "32", "bad": "31", "faint": "2"}
_MAX_LINES: Final = 200
_INDENT: Final = "    "


def plain(text: str, _colour: str) -> str:
    """No colour."""
    return text


def terminal(text: str, colour: str) -> str:
    """Colour for a terminal."""
    return f"\033[{_COLOURS[colour]}m{text}\033[0m"


def failure_text(played: Played, paint: Paint) -> str:
    """A scenario that failed: what was expected against what came of it, then all that happened."""
    case = played.case
    lines = [paint(f"FAILED {case.file}:{case.line}: {case.name}", "bad")]
    for mismatch in played.mismatches:
        lines += _mismatch(mismatch, paint)
    lines += ["", f"{_INDENT}what happened", *timeline_text(played, paint)]
    return "\n".join(lines)


def _mismatch(mismatch: Mismatch, paint: Paint) -> Iterator[str]:
    when = "" if mismatch.at is None else f" (at {moment_text(mismatch.at)})"
    yield ""
    if mismatch.rows:
        yield from _table(f"{mismatch.what}{when}", mismatch, paint)
        return
    yield f"{_INDENT}{mismatch.what}{when}"
    yield paint(f"{_INDENT}  - {_shown(mismatch.expected)}", "good") + paint("   expected", "faint")
    yield paint(f"{_INDENT}  + {_shown(mismatch.actual)}", "bad") + paint("   actual", "faint")


def _table(title: str, mismatch: Mismatch, paint: Paint) -> Iterator[str]:
    """Expected and actual commands side by side, with the time of each."""
    rows = [(row.expected or "", row.actual or "", row) for row in mismatch.rows]
    width = min(max(len(left) for left, _, _ in [*rows, ("expected", "", rows[0][2])]), _width() // 2 - 12)
    yield f"{_INDENT}{title:<10}    {'expected':<{width}}    actual"
    yield from _cut([_row(left, right, row, width, paint) for left, right, row in rows])


def _row(left: str, right: str, row: Row, width: int, paint: Paint) -> str:
    at = "" if row.at is None else moment_text(row.at)
    mark = " " if row.good else "-" if row.actual is None else "+" if row.expected is None else "!"
    line = f"{_INDENT}{at:>10}  {mark} {left:<{width}}    {right}"
    note = f"   {row.note}" if row.note else ""
    return line.rstrip() if row.good else paint((line + note).rstrip(), "good" if mark == "-" else "bad")


def _cut(lines: list[str]) -> list[str]:
    """Of very many lines only the beginning and the end."""
    if len(lines) <= _MAX_LINES:
        return lines
    half = _MAX_LINES // 2
    return [*lines[:half], f"{_INDENT}… {len(lines) - 2 * half} lines more …", *lines[-half:]]


def timeline_text(played: Played, paint: Paint) -> list[str]:
    """Everything that happened, a line each; of very much only the beginning and the end."""
    entries = played.engine.log.entries
    several = len(list(played.engine.names)) > 1
    lines = []
    for entry in entries:
        run = f"{entry.run:<12} " if several else ""
        line = f"{_INDENT}{moment_text(entry.at):>10}  {run}{entry.kind:<8} {entry.text}"
        lines.append(paint(line, "faint") if entry.kind in ("step", "note") else line)
    return _cut(lines)


def as_json(played: Played) -> dict[str, Any]:
    """A scenario's outcome: `{file, line, name, rules, ok, mismatches, timeline}`; times in seconds."""
    case = played.case
    return {
        "file": case.file,
        "line": case.line,
        "name": case.name,
        "rules": case.scenario.rules,
        "ok": not played.mismatches,
        "mismatches": [
            {
                "what": one.what,
                "at": None if one.at is None else one.at / 1_000_000,
                "expected": one.expected,
                "actual": one.actual,
            }
            for one in played.mismatches
        ],
        "timeline": [
            {"at": entry.at / 1_000_000, "run": entry.run, "kind": entry.kind, "text": entry.text}
            for entry in played.engine.log.entries
        ],
    }


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _width() -> int:
    return shutil.get_terminal_size((120, 24)).columns

"""What commands print: JSON as the API gives it, or columns for people. Trouble goes to stderr."""

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from schemas.errors import BatonError

__all__ = [
    "columns",
    "json_text",
    "moment",
    "named_runs",
    "printable",
    "say",
    "say_error",
    "show_json",
    "show_table",
]


def say(text: str) -> None:
    """One line or more to stdout, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def json_text(value: Any) -> str:
    """JSON for people and machines."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def show_json(value: Any) -> None:
    """JSON to stdout."""
    say(json_text(value))


def say_error(error: BatonError, *, as_json: bool) -> None:
    """An error to stderr, or as the API would give it to stdout."""
    if as_json:
        show_json({"error": error.as_json()})
        return
    hint = f"\n  {error.hint}" if error.hint else ""
    sys.stderr.write(f"error: {printable(error.message)}{printable(hint)}\n")


def printable(text: str) -> str:
    """Text from outside without what could steer a terminal."""
    return "".join(char if char.isprintable() or char == "\n" else repr(char)[1:-1] for char in text)


def named_runs(answer: dict[str, Any]) -> list[str]:
    """The ids of an event's runs, and how many more there are."""
    more = answer["more_runs"]
    return [*answer["runs"], *([f"and {more} more"] if more else [])]


def columns(rows: Iterable[Sequence[Any]], headers: Sequence[str]) -> str:
    """Aligned columns under upper-case headers."""
    table = [[name.upper() for name in headers]]
    table += [[printable(_cell(value)).replace("\n", " ") for value in row] for row in rows]
    widths = [max(len(row[index]) for row in table) for index in range(len(headers))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    )


def show_table(items: list[Any], rows: Iterable[Sequence[Any]], headers: Sequence[str], nothing: str) -> None:
    """Columns to stdout, or `nothing` when there are no items."""
    say(columns(rows, headers) if items else nothing)


def moment(text: str | None) -> str:
    """An API time for people: local, to the second."""
    if not text:
        return ""
    return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _cell(value: Any) -> str:
    return "" if value is None else str(value)

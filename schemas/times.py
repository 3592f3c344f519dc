"""Times and durations: integer microseconds inside, text at the edges."""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from schemas.errors import InvalidInput

__all__ = [
    "MAX_DURATION",
    "Micros",
    "format_duration",
    "from_datetime",
    "from_rfc3339",
    "parse_duration",
    "to_datetime",
    "to_rfc3339",
]

Micros = int

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS = {"ms": 1_000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}
_DURATION = re.compile(r"([0-9]{1,12})(ms|s|m|h|d)")
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,30})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
MAX_DURATION: Micros = 366 * 86_400_000_000


def parse_duration(text: str) -> Micros:
    """`500ms`, `30s`, `5m`, `2h`, `1d` as microseconds; anything else is `InvalidInput`."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise InvalidInput(
            f"'{text}' is not a duration",
            code="bad_duration",
            hint="write a whole number and a unit: 500ms, 30s, 5m, 2h, 1d",
        )
    length = int(match[1]) * _UNITS[match[2]]
    if length > MAX_DURATION:
        raise InvalidInput(f"'{text}' is longer than 366 days", code="wait_too_long", hint="use at most 366d")
    return length


def format_duration(length: Micros) -> str:
    """The shortest text that `parse_duration` reads back (whole milliseconds at the finest)."""
    for unit in ("d", "h", "m", "s"):
        if length and length % _UNITS[unit] == 0:
            return f"{length // _UNITS[unit]}{unit}"
    return f"{length // 1_000}ms"


def to_datetime(at: Micros) -> datetime:
    """Microseconds since the epoch as an aware UTC datetime."""
    return _EPOCH + timedelta(microseconds=at)


def to_rfc3339(at: Micros) -> str:
    """Microseconds since the epoch as `2026-01-31T12:00:00.000000Z`."""
    second, micros = divmod(at, 1_000_000)
    return f"{_second(second)}.{micros:06d}Z"


@lru_cache(maxsize=1024)
def _second(at: int) -> str:
    """A whole second, as text without its zone; times come in crowds."""
    return to_datetime(at * 1_000_000).replace(tzinfo=None).isoformat()


def from_datetime(at: datetime) -> Micros:
    """An aware datetime as microseconds since the epoch (exact; no floats).

    Hours at either end of the calendar that only another offset can name become the nearest that UTC can.
    """
    return min(max((at - _EPOCH) // timedelta(microseconds=1), _FIRST), _LAST)


def from_rfc3339(text: str) -> Micros:
    """An RFC 3339 time with an offset as microseconds (finer digits are cut); else `InvalidInput`."""
    try:
        at = datetime.fromisoformat(text.upper()) if _RFC3339.fullmatch(text) else None
    except ValueError:
        at = None
    if at is None:
        raise InvalidInput(f"'{text[:64]}' is not an RFC 3339 time", hint="for example 2026-01-31T12:00:00Z")
    return from_datetime(at)


_FIRST = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)
_LAST = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)

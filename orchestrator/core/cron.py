"""Times by the clock on the wall: cron expressions in a time zone. The one module that knows the library.

Five fields, `minute hour day month weekday`, read as Debian's cron reads them: names (`MON`, `JAN`), ranges,
lists and steps; `L` for the last day of a month; `MON#2` for the second Monday. Also when clocks change: a
time that is skipped counts as the moment after the gap, and one that comes twice counts once, unless the
expression begins with `*` in minutes or hours, which goes by real time.
"""

from datetime import datetime
from difflib import get_close_matches
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from schemas.errors import InvalidInput
from schemas.times import Micros, from_datetime, to_datetime

__all__ = ["check_cron", "check_timezone", "next_after"]

_FIELDS: Final = 5
_HINT: Final = "write minute hour day month weekday, for example 30 2 * * MON-FRI"
_SOME_TIME: Final[Micros] = 946_684_800_000_000  # 2000-01-01; what fires at all does so within 50 years of it


def next_after(cron: str, timezone: str, at: Micros) -> Micros | None:
    """The first time after `at` that the expression names; None when there is none within 50 years.

    `InvalidInput` for an expression or a time zone that makes no sense.
    """
    zone = _zone(timezone)
    try:
        for found in _parsed(cron, to_datetime(at).astimezone(zone)):
            if (moment := from_datetime(found)) > at:  # after the end of summer time it first looks back
                return moment
    except OverflowError:
        pass  # the calendar ends
    return None


def check_cron(cron: str) -> None:
    """Raise `InvalidInput` when the expression makes no sense or names no time at all."""
    if next_after(cron, "UTC", _SOME_TIME) is None:
        raise _never(cron)


def check_timezone(timezone: str) -> None:
    """Raise `InvalidInput` when there is no such time zone."""
    _zone(timezone)


def _parsed(cron: str, start: datetime) -> CronSim:
    fields = cron.split()
    if len(fields) != _FIELDS:
        raise InvalidInput(f"'{cron}' has {len(fields)} fields, not 5", code="bad_schedule", hint=_HINT)
    try:
        return CronSim(cron, start)
    except CronSimError as error:
        if _is_fault_of_month(fields, start):
            raise _never(cron) from None
        wrong = (
            str(error).removeprefix("Bad ").replace("day-of-month", "day").replace("day-of-week", "weekday")
        )
        message = f"'{cron}' is not a cron expression: the {wrong} is wrong"
        raise InvalidInput(message, code="bad_schedule", hint=_HINT) from None


def _is_fault_of_month(fields: list[str], start: datetime) -> bool:
    """Whether the expression is only refused because its months have no such day."""
    minute, hour, day, _, weekday = fields
    try:
        CronSim(f"{minute} {hour} {day} * {weekday}", start)
        CronSim(f"{minute} {hour} * {fields[3]} {weekday}", start)
    except CronSimError:
        return False
    return True


def _never(cron: str) -> InvalidInput:
    return InvalidInput(f"'{cron}' never fires", code="bad_schedule", hint="no month has such a day")


def _zone(timezone: str) -> ZoneInfo:
    try:
        return ZoneInfo(timezone)
    except (KeyError, ValueError, OSError):
        close = get_close_matches(timezone, available_timezones(), 1)
        raise InvalidInput(
            f"'{timezone[:64]}' is not a time zone",
            code="bad_timezone",
            hint=f"did you mean '{close[0]}'?" if close else "for example Europe/Berlin, or UTC",
        ) from None

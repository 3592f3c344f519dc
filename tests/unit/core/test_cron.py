"""Times by the clock on the wall."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.cron import check_cron, check_timezone, next_after
from schemas.errors import InvalidInput
from schemas.times import from_rfc3339, to_rfc3339

pytestmark = pytest.mark.unit


def after(cron: str, at: str, timezone: str = "UTC") -> str | None:
    """The next time, without its zeros; `at` likewise."""
    found = next_after(cron, timezone, from_rfc3339(f"{at}Z"))
    return None if found is None else to_rfc3339(found).removesuffix(":00.000000Z")


@pytest.mark.parametrize(
    ("cron", "at", "expected"),
    [
        ("30 2 * * *", "2026-01-31T12:00:00", "2026-02-01T02:30"),
        ("30 2 * * *", "2026-02-01T02:29:59.999999", "2026-02-01T02:30"),
        ("30 2 * * *", "2026-02-01T02:30:00", "2026-02-02T02:30"),
        ("30 2 * * *", "2026-02-01T02:30:00.000001", "2026-02-02T02:30"),
        ("*/15 8-9 * * MON-FRI", "2026-01-30T09:45:00", "2026-02-02T08:00"),
        ("0 0 29 2 *", "2026-01-01T00:00:00", "2028-02-29T00:00"),
        ("0 0 L * *", "2026-02-01T00:00:00", "2026-02-28T00:00"),
        ("0 0 * 2 MON#5", "2026-01-01T00:00:00", "2044-02-29T00:00"),
        ("0 0 13 * FRI", "2026-02-14T00:00:00", "2026-02-20T00:00"),
        ("0 0 * jan,jul sun", "2026-02-01T00:00:00", "2026-07-05T00:00"),
    ],
)
def test_next(cron: str, at: str, expected: str) -> None:
    """The first time strictly after, as cron reads it."""
    assert after(cron, at) == expected


@pytest.mark.parametrize(
    ("cron", "at", "expected"),
    [
        ("30 2 * * *", "2026-01-31T12:00:00", "2026-02-01T01:30"),  # winter: an hour ahead
        ("30 2 * * *", "2026-07-31T12:00:00", "2026-08-01T00:30"),  # summer: two
        ("30 2 * * *", "2026-03-28T12:00:00", "2026-03-29T01:00"),  # skipped: 3:00, the moment after the gap
        ("30 2 * * *", "2026-03-29T01:00:00", "2026-03-30T00:30"),
        ("30 2 * * *", "2026-10-24T12:00:00", "2026-10-25T00:30"),  # twice: the first counts
        ("30 2 * * *", "2026-10-25T00:30:00", "2026-10-26T01:30"),
        ("45 2 * * *", "2026-10-25T01:10:00", "2026-10-26T01:45"),  # within the hour that came again
        ("*/30 * * * *", "2026-10-25T00:30:00", "2026-10-25T01:00"),  # by real time
    ],
)
def test_when_clocks_change(cron: str, at: str, expected: str) -> None:
    """Times are those of the zone; what is skipped comes after the gap, what comes twice counts once."""
    assert after(cron, at, "Europe/Berlin") == expected


@given(
    st.sampled_from(["30 2 * * *", "*/20 * * * *", "15 1-3 * * *", "0 0 1 * *", "59 23 * * SUN"]),
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]),
    st.integers(1_700_000_000_000_000, 2_000_000_000_000_000),
)
def test_time_goes_on(cron: str, timezone: str, at: int) -> None:
    """The next time is always later, and from just before it the same."""
    found = next_after(cron, timezone, at)
    assert found is not None
    assert found > at
    assert next_after(cron, timezone, found - 1) == found


@pytest.mark.parametrize("cron", ["0 0 30 2 *", "0 0 31 2,4,6 *", "0 0 */30 2 MON#5", "0 0 30-31 2 */2"])
def test_never(cron: str) -> None:
    """What names no day of any year is found."""
    with pytest.raises(InvalidInput, match="never fires"):
        check_cron(cron)


@pytest.mark.parametrize(
    ("cron", "message"),
    [
        ("", "has 0 fields, not 5"),
        ("0 0 * *", "has 4 fields, not 5"),
        ("0 0 0 * * *", "has 6 fields, not 5"),
        ("@daily", "has 1 fields, not 5"),
        ("60 * * * *", "the minute is wrong"),
        ("* 24 * * *", "the hour is wrong"),
        ("* * 32 * *", "the day is wrong"),
        ("* * 32 2 *", "the day is wrong"),
        ("* * * 13 *", "the month is wrong"),
        ("* * * * 8", "the weekday is wrong"),
        ("*/0 * * * *", "the minute is wrong"),
        ("5-1 * * * *", "the minute is wrong"),
    ],
)
def test_bad_expressions(cron: str, message: str) -> None:
    """The field that is wrong is named, and the hint shows how it is written."""
    with pytest.raises(InvalidInput, match=message) as caught:
        check_cron(cron)
    assert caught.value.hint


@given(st.lists(st.text("0123456789*/,-#LWMONJA ", max_size=6), min_size=5, max_size=5).map(" ".join))
def test_any_text_is_a_time_or_refused(cron: str) -> None:
    """No text makes it fail in another way."""
    try:
        check_cron(cron)
    except InvalidInput:
        return
    assert next_after(cron, "Europe/Berlin", 1_700_000_000_000_000)


@pytest.mark.parametrize(
    "timezone", ["Europe/Berln", "", "../etc/passwd", "/etc/passwd", "America", "\0", "CET/x"]
)
def test_bad_time_zones(timezone: str) -> None:
    """A zone is a name in the database of time zones, and nothing else."""
    with pytest.raises(InvalidInput, match="is not a time zone") as caught:
        check_timezone(timezone)
    assert caught.value.hint


def test_the_end_of_the_calendar() -> None:
    """There is nothing after it."""
    assert after("0 0 1 1 *", "9999-12-31T23:59:00", "Europe/Berlin") is None

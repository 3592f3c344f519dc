"""Times and durations at the edges: text in, microseconds inside, text out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import InvalidInput
from schemas.times import (
    MAX_DURATION,
    format_duration,
    from_datetime,
    from_rfc3339,
    parse_duration,
    to_datetime,
    to_rfc3339,
)


@pytest.mark.parametrize(
    ("text", "micros"),
    [("500ms", 500_000), ("30s", 30_000_000), ("5m", 300_000_000), ("2h", 7_200_000_000), ("0s", 0)],
)
def test_durations_are_read(text: str, micros: int) -> None:
    """A whole number and a unit."""
    assert parse_duration(text) == micros


@pytest.mark.parametrize("text", ["", "5", "s", "-1s", "1.5s", "1 s", "1s\n", "1w", "٣s", "9" * 13 + "s"])
def test_other_durations_are_refused(text: str) -> None:
    """Anything else is an error that shows how to write one."""
    with pytest.raises(InvalidInput) as caught:
        parse_duration(text)
    assert caught.value.code == "bad_duration"
    assert caught.value.hint


def test_a_duration_has_a_limit() -> None:
    """Beyond it, it is called too long."""
    with pytest.raises(InvalidInput) as caught:
        parse_duration("367d")
    assert caught.value.code == "wait_too_long"


@given(st.integers(0, MAX_DURATION // 1_000))
def test_durations_round_trip(milliseconds: int) -> None:
    """What is written is read back, to the millisecond."""
    assert parse_duration(format_duration(milliseconds * 1_000)) == milliseconds * 1_000


@given(st.datetimes(timezones=st.timezones()))
def test_times_round_trip(at: object) -> None:
    """Microseconds survive text and datetimes, and every text is a time of four-digit years in UTC."""
    micros = from_datetime(at)  # type: ignore[arg-type]
    text = to_rfc3339(micros)
    assert from_rfc3339(text) == micros
    assert from_datetime(to_datetime(micros)) == micros
    assert len(text) == len("2026-01-31T12:00:00.000000Z")


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00.000000Z"),
        ("2026-01-31t12:00:00z", "2026-01-31T12:00:00.000000Z"),
        ("2026-01-31T12:00:00.123456789+02:00", "2026-01-31T10:00:00.123456Z"),
        ("0001-01-01T00:00:00+14:00", "0001-01-01T00:00:00.000000Z"),
        ("9999-12-31T23:59:59-14:00", "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_rfc3339_is_read(text: str, utc: str) -> None:
    """Offsets, fractions and both cases; a moment outside the UTC calendar becomes its end."""
    assert to_rfc3339(from_rfc3339(text)) == utc


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-01-31",
        "2026-01-31T12:00:00",
        "2026-01-31 12:00:00Z",
        "20260131T120000Z",
        "2026-W05-6T12:00:00Z",
        "2026-02-30T12:00:00Z",
        "2026-01-31T25:00:00Z",
        "2026-01-31T12:00:00Z\n",
        "2026-01-31T12:00:00+0200",
        "2026-01-31T12:00:00+99:00",
        "٢٠٢٦-01-31T12:00:00Z",
    ],
)
def test_other_times_are_refused(text: str) -> None:
    """ISO forms that RFC 3339 does not have, and days that do not exist, are errors."""
    with pytest.raises(InvalidInput):
        from_rfc3339(text)

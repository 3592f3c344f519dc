"""The values of secrets in what an action gives: found in whatever way they are written, and hidden."""

import base64
import json
import logging
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.redaction import HIDDEN, PLAIN, HidingFormatter, Redactor
from schemas.codec import Malformed, decode, encode

VALUE = 'p"ä\\ss wörd\n/+second line'


def plain(redactor: Redactor, value: Any) -> Any:
    """What the redactor leaves of a JSON value."""
    return decode(encode(redactor.value(value)), object)


@pytest.mark.parametrize(
    "written",
    [
        VALUE,
        json.dumps(VALUE),
        json.dumps(VALUE, ensure_ascii=False),
        repr(VALUE),
        quote(VALUE),
        quote(VALUE, safe=""),
        base64.b64encode(VALUE.encode()).decode(),
        f"it is {VALUE}, {VALUE}.",
    ],
)
def test_a_value_is_found_however_it_is_written(written: str) -> None:
    """In other text, more than once, and as JSON, Python, URLs and base64 have it."""
    shown = Redactor([VALUE]).text(f"<{written}>")
    assert HIDDEN in shown
    assert "second line" not in shown
    assert "second%20line" not in shown
    assert "wö" not in shown
    assert base64.b64encode(VALUE.encode()).decode()[:8] not in shown
    assert (shown[0], shown[-1]) == ("<", ">")


def test_each_line_of_a_value_is_hidden() -> None:
    """Of a key printed a line at a time nothing shows but its short lines."""
    redactor = Redactor(["-----BEGIN KEY-----\nabcdefghijkl\nxyz\n-----END KEY-----"])
    assert redactor.text("1: abcdefghijkl 2: xyz") == f"1: {HIDDEN} 2: xyz"


def test_values_that_overlap_leave_nothing() -> None:
    """What belongs to two values is hidden with both."""
    assert Redactor(["abcdWXYZ", "WXYZefgh"]).text("-abcdWXYZefgh-") == f"-{HIDDEN}-"


def test_short_values_stay() -> None:
    """They would be found everywhere."""
    text = 'abcdef YWJj "\\n" \n\r'
    assert Redactor(["abc", "\n\r"]).text(text) == text


@pytest.mark.parametrize("kept", range(4, 12))
def test_what_is_left_of_a_value_that_was_cut_is_hidden(kept: int) -> None:
    """At both ends of a long text; a short one is what it is."""
    secret, filler = "hunter2-long", "." * 1000
    redactor = Redactor([secret])
    assert redactor.text(secret[-kept:] + filler) == HIDDEN + filler
    assert redactor.text("\ufffd" + secret[-kept:] + filler) == f"\ufffd{HIDDEN}{filler}"
    assert redactor.text(filler + secret[:kept]) == filler + HIDDEN
    assert redactor.text(secret[:kept]) == secret[:kept]


def test_in_json_keys_and_numbers_too() -> None:
    """What is left is JSON of the same shape; other values stay as they are."""
    redactor = Redactor(["12345678", "canary"])
    value = {"a canary": [12345678, {"x": "canary"}, 1.5, True, None, 10**30], "n": -912345678.5}
    assert plain(redactor, value) == {
        "a ***": [HIDDEN, {"x": HIDDEN}, 1.5, True, None, 10**30],
        "n": "-9***.5",
    }


def test_what_cannot_be_searched_is_not_let_through() -> None:
    """Nested too deeply to be read: it is refused."""
    deep: Any = "canary"
    for _ in range(100):
        deep = [deep]
    with pytest.raises(Malformed):
        Redactor(["canary"]).value(deep)


def test_without_secrets_nothing_is_touched() -> None:
    """Not even copied."""
    value = {"a": ["canary"]}
    assert PLAIN.value(value) is value
    assert PLAIN.text("canary") == "canary"


@given(st.text(min_size=4, max_size=30), st.text(max_size=60), st.text(max_size=60))
def test_a_value_never_stays(secret: str, before: str, after: str) -> None:
    """Whatever stands around it; and what has nothing to do with it stays."""
    redactor = Redactor([secret])
    shown = redactor.text(before + secret + after)
    assert HIDDEN in shown
    assert secret not in shown or secret in HIDDEN + after or secret in before + HIDDEN
    text = before.replace(secret[0], "")
    if len(secret) < 8 and secret.isascii() and secret.isalnum():
        assert redactor.text(text) == text


def test_the_agents_own_log_hides_them() -> None:
    """In the message and in a traceback."""
    formatter = HidingFormatter(None, Redactor(["canary"]).text)
    error = ValueError("no canary")
    raised = (ValueError, error, None)
    record = logging.LogRecord("x", logging.ERROR, "p", 1, "it was %s", ("canary",), raised)
    line = formatter.format(record)
    assert line == f"it was {HIDDEN}\nValueError: no {HIDDEN}"

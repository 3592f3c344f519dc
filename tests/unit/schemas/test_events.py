"""Reading CloudEvents: both modes, every way of being wrong, and what expressions see."""

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec import UNSET

from schemas.codec import MAX_EVENT_BYTES, Malformed
from schemas.events import (
    CONTENT_TYPE,
    MAX_ATTRIBUTE,
    Event,
    event_scope,
    new_event,
    parse_traceparent,
    read_event,
    write_event,
)

LEAST = {"specversion": "1.0", "id": "1", "source": "/shop", "type": "com.example.paid"}
TRACE = f"00-{'a' * 32}-{'b' * 16}-01"
OTHER_TRACE = f"00-{'c' * 32}-{'d' * 16}-00"


def headers_of(prefix: str, **more: Any) -> dict[str, Any]:
    """The least event's attributes, and more, as headers."""
    return {f"{prefix}{name}": value for name, value in {**LEAST, **more}.items()}


def structured(**members: Any) -> bytes:
    """The least event with other members, in JSON; `None` is JSON's null."""
    return json.dumps({**LEAST, **members}).encode()


def refusal(body: bytes, content_type: str | None = CONTENT_TYPE, headers: Any = None) -> Malformed:
    """The error of reading what is no event; it must say what to do, and never be long."""
    with pytest.raises(Malformed) as caught:
        read_event(body, content_type, headers or {})
    assert caught.value.message
    assert caught.value.hint
    assert len(caught.value.message) <= 600
    return caught.value


# Structured mode


@pytest.mark.parametrize(
    "content_type",
    [CONTENT_TYPE, "Application/CloudEvents+JSON; charset=UTF-8", "application/json", "", None],
)
def test_structured_event_under_every_content_type(content_type: str | None) -> None:
    """A JSON object with a specversion is an event, whether its type says so, says JSON, or nothing."""
    event = read_event(structured(data={"total": 3}, time="2026-01-31T12:00:00Z"), content_type, {})
    assert event == Event(
        id="1", source="/shop", type="com.example.paid", time="2026-01-31T12:00:00Z", data={"total": 3}
    )


def test_extensions_are_kept_and_null_is_absent() -> None:
    """Extension attributes stay with their types; a null attribute is one that is not there."""
    event = read_event(structured(tenant="a", retries=3, vip=True, subject=None, gone=None), CONTENT_TYPE, {})
    assert event.extensions == {"tenant": "a", "retries": 3, "vip": True}
    assert event.subject is None


def test_absent_data_is_not_null_data() -> None:
    """An event without data has none; an event whose data is null has null."""
    assert read_event(structured(), CONTENT_TYPE, {}).data is UNSET
    assert read_event(structured(data=None), CONTENT_TYPE, {}).data is None


@pytest.mark.parametrize(
    ("raw", "datacontenttype", "data"),
    [
        (b'{"a": 1}', None, {"a": 1}),
        (b'{"a": 1}', "application/vnd.shop+json", {"a": 1}),
        ("é".encode(), "text/plain; charset=utf-8", "é"),
        (b"", "application/json", UNSET),
    ],
)
def test_base64_data_is_read_by_its_content_type(raw: bytes, datacontenttype: str | None, data: Any) -> None:
    """`data_base64` is decoded, then JSON or text as `datacontenttype` says."""
    body = structured(data_base64=base64.b64encode(raw).decode(), datacontenttype=datacontenttype)
    assert read_event(body, CONTENT_TYPE, {}).data == data


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"specversion": "0.3"}, "bad_specversion"),
        ({"specversion": 1.0}, "bad_specversion"),
        ({"specversion": None}, "bad_specversion"),
        ({"id": None}, "missing_attribute"),
        ({"id": ""}, "missing_attribute"),
        ({"source": ""}, "missing_attribute"),
        ({"type": None}, "missing_attribute"),
        ({"id": 5}, "bad_attribute"),
        ({"source": ["/shop"]}, "bad_attribute"),
        ({"subject": "x" * (MAX_ATTRIBUTE + 1)}, "bad_attribute"),
        ({"subject": "two\nlines"}, "bad_attribute"),
        ({"type": "nul\x00"}, "bad_attribute"),
        ({"time": "yesterday"}, "bad_attribute"),
        ({"time": "2026-01-31T12:00:00"}, "bad_attribute"),
        ({"time": 1}, "bad_attribute"),
        ({"camelCase": "x"}, "bad_attribute"),
        ({"": "x"}, "bad_attribute"),
        ({"tenant": {"name": "a"}}, "bad_attribute"),
        ({"ratio": 0.5}, "bad_attribute"),
        ({"data": 1, "data_base64": "MQ=="}, "bad_data"),
        ({"data_base64": 5}, "bad_data"),
        ({"data_base64": "not base64!"}, "bad_data"),
        ({"data_base64": "é"}, "bad_data"),
        ({"data_base64": "/w==", "datacontenttype": "text/plain"}, "bad_data"),
        ({"data_base64": "iVBORw==", "datacontenttype": "image/png"}, "bad_data"),
        ({"data_base64": "ezE=", "datacontenttype": "application/json"}, "bad_data"),
        ({"data_base64": "MQ==", "datacontenttype": 5}, "bad_attribute"),
        ({"count": 2**63}, "malformed"),
        ({"data": 2**63}, "malformed"),
    ],
)
def test_wrong_members_are_refused(members: dict[str, Any], code: str) -> None:
    """Each way in which an event's members can be wrong has its code."""
    assert refusal(structured(**members)).code == code


@pytest.mark.parametrize(
    ("body", "content_type", "code"),
    [
        (b"", CONTENT_TYPE, "malformed"),
        (b"hello", CONTENT_TYPE, "malformed"),
        (b"\xff\xfe", CONTENT_TYPE, "malformed"),
        (structured(subject="\udc80"), CONTENT_TYPE, "malformed"),
        (b'"text"', CONTENT_TYPE, "not_cloudevent"),
        (b'{"order": 5}', "application/json", "not_cloudevent"),
        (b'{"order": 5}', None, "not_cloudevent"),
        (structured(), "text/plain", "not_cloudevent"),
        (b"[]", CONTENT_TYPE, "batch_unsupported"),
        (b"[]", "application/cloudevents-batch+json", "batch_unsupported"),
        (structured(), "application/cloudevents+avro", "unsupported_format"),
        (structured(data="x" * MAX_EVENT_BYTES), CONTENT_TYPE, "too_large"),
        (b"[" * 60_000, CONTENT_TYPE, "too_deep"),
        (b'{"data":' * 100 + b"1" + b"}" * 100, CONTENT_TYPE, "too_deep"),
    ],
)
def test_what_is_no_event_is_refused(body: bytes, content_type: str | None, code: str) -> None:
    """Bytes that are no event at all, too large or too deep are refused, each with its code."""
    assert refusal(body, content_type).code == code


def test_limit_is_exact() -> None:
    """An event of exactly the limit is read, one byte more is not."""
    body = structured(data="")
    filled = structured(data="x" * (MAX_EVENT_BYTES - len(body)))
    assert len(filled) == MAX_EVENT_BYTES
    assert read_event(filled, CONTENT_TYPE, {}).id == "1"
    assert refusal(filled + b" ").code == "too_large"


# Binary mode


@pytest.mark.parametrize("prefix", ["cloudEvents_", "cloudEvents:", "ce-", "CE-", "CLOUDEVENTS_"])
def test_binary_event_under_every_prefix(prefix: str) -> None:
    """Attributes come from headers of each prefix, in any case; the content type is the data's."""
    event = read_event(b'{"total": 3}', "application/json", {**headers_of(prefix, tenant="a"), "other": "x"})
    assert event == Event(
        id="1",
        source="/shop",
        type="com.example.paid",
        datacontenttype="application/json",
        data={"total": 3},
        extensions={"tenant": "a"},
    )


def test_headers_may_have_amqp_types() -> None:
    """An AMQP table's bytes, numbers, booleans and times become attributes; other headers are passed over."""
    headers: dict[Any, Any] = headers_of(
        "cloudEvents_",
        id=7,
        source=b"/shop",
        time=datetime(2026, 1, 31, 12, tzinfo=UTC),
        subject=True,
        vip=True,
        retries=3,
        gone=None,
    )
    headers.update({"x-death": [{"count": 1}], "": None, 5: 5, "blob": b"\xff"})
    event = read_event(b"", None, headers)
    assert (event.id, event.source, event.subject) == ("7", "/shop", "true")
    assert event.time == "2026-01-31T12:00:00.000000Z"
    assert event.extensions == {"vip": True, "retries": 3}
    assert event.data is UNSET


def test_a_naive_amqp_time_is_utc() -> None:
    """AMQP times have no zone; they are UTC."""
    naive = datetime(2026, 1, 31, 12, tzinfo=UTC).replace(tzinfo=None)
    assert read_event(b"", "", headers_of("cloudEvents:", time=naive)).time == "2026-01-31T12:00:00.000000Z"


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
        ('"a \\"b\\""', 'a "b"'),
        ("100%", "100%"),
        ("%41", "A"),
    ],
)
def test_http_headers_are_unescaped(raw: str, value: str) -> None:
    """Values of `ce-` headers lose their quotes and one round of percent-encoding."""
    assert read_event(b"", "", headers_of("ce-", subject=raw)).subject == value


def test_amqp_headers_are_not_unescaped() -> None:
    """Values of AMQP headers are the text itself."""
    assert read_event(b"", "", headers_of("cloudEvents_", subject="%41")).subject == "%41"


@pytest.mark.parametrize(
    ("content_type", "data"),
    [("", 1), (None, 1), ("application/vnd.x+json; v=1", 1), ("text/csv", "1"), ("application/xml", "1")],
)
def test_binary_data_is_read_by_content_type(content_type: str | None, data: Any) -> None:
    """Data in binary mode is JSON unless the content type says text."""
    assert read_event(b"1", content_type, headers_of("ce-")).data == data


@pytest.mark.parametrize(
    ("body", "content_type", "more", "code"),
    [
        (b"{", "application/json", {}, "bad_data"),
        (b"hello", None, {}, "bad_data"),
        (b"\xff", "text/plain", {}, "bad_data"),
        (b"\x89PNG", "image/png", {}, "bad_data"),
        (b"", "", {"id": None}, "missing_attribute"),
        (b"", "", {"specversion": None}, "bad_specversion"),
        (b"", "", {"subject": b"\xff"}, "bad_attribute"),
        (b"", "", {"subject": 0.5}, "bad_attribute"),
        (b"", "", {"tenant": {}}, "bad_attribute"),
        (b"", "", {"tenant": ["a"]}, "bad_attribute"),
        (b"", "", {"data": "x"}, "bad_attribute"),
        (b"", "", {"bad name": "x"}, "bad_attribute"),
        (b"", "", {"subject": "%C0%A0"}, "bad_attribute"),
        (b"", "", {"time": 1_700_000_000}, "bad_attribute"),
        (b"[" * 64 + b"]" * 64, "", {}, "too_deep"),
        (b'"' + b"x" * MAX_EVENT_BYTES + b'"', "", {}, "too_large"),
        (b'"' + b"x" * (MAX_EVENT_BYTES - 2) + b'"', "", {}, "too_large"),
        (b"x" * (MAX_EVENT_BYTES + 1), "text/plain", {}, "too_large"),
    ],
)
def test_wrong_binary_events_are_refused(
    body: bytes, content_type: str | None, more: dict[str, Any], code: str
) -> None:
    """Each way in which a binary event can be wrong has its code; the limits hold for its structured form."""
    assert refusal(body, content_type, headers_of("ce-", **more)).code == code


def test_headers_that_contradict_are_refused() -> None:
    """The same attribute in two headers is one attribute if they agree, and refused if not."""
    same = {**headers_of("ce-"), **headers_of("cloudEvents_")}
    assert read_event(b"", "", same).id == "1"
    assert refusal(b"", "", {**same, "ce-id": "2"}).code == "bad_attribute"


# Trace context


def test_trace_header_counts_before_the_extension() -> None:
    """A valid `traceparent` header is taken, else the extension; an invalid one is no parent, no error."""
    body = structured(traceparent=OTHER_TRACE)
    assert read_event(body, CONTENT_TYPE, {}).traceparent == OTHER_TRACE
    assert read_event(body, CONTENT_TYPE, {"Traceparent": TRACE}).traceparent == TRACE
    assert read_event(body, CONTENT_TYPE, {"traceparent": TRACE.encode()}).traceparent == TRACE
    assert read_event(body, CONTENT_TYPE, {"traceparent": "nonsense"}).traceparent == OTHER_TRACE
    odds: list[Any] = [None, 5, b"\xff", [], "nonsense"]
    for odd in odds:
        assert read_event(structured(traceparent=7), CONTENT_TYPE, {"traceparent": odd}).traceparent == ""


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        (TRACE, ("a" * 32, "b" * 16, True)),
        (OTHER_TRACE, ("c" * 32, "d" * 16, False)),
        (TRACE[:-2] + "03", ("a" * 32, "b" * 16, True)),
        ("01" + TRACE[2:] + "-more", ("a" * 32, "b" * 16, True)),
        (TRACE + "-more", None),
        ("ff" + TRACE[2:], None),
        (TRACE.upper(), None),
        (TRACE + "\n", None),
        (f"00-{'0' * 32}-{'b' * 16}-01", None),
        (f"00-{'a' * 32}-{'0' * 16}-01", None),
        ("01" + TRACE[2:] + "more", None),
        ("", None),
        (None, None),
        (5, None),
    ],
)
def test_traceparent_follows_w3c(text: object, parsed: Any) -> None:
    """`parse_traceparent` accepts what Trace Context says, and answers None to all else."""
    assert parse_traceparent(text) == parsed


# Our own


def test_new_event_reads_back() -> None:
    """An event of our own making is one that we would accept, with its time in UTC."""
    event = new_event(
        id="r/1", source="/baton/baton", type="baton.run.started", at=0, subject="r", data={"k": 1}
    )
    assert event.time == "1970-01-01T00:00:00.000000Z"
    assert read_event(write_event(event), CONTENT_TYPE, {}) == event


def test_scope_is_flat() -> None:
    """Expressions see attributes, extensions and data side by side, and no key for what is absent."""
    event = read_event(structured(tenant="a", data=[1]), CONTENT_TYPE, {})
    assert event_scope(event) == {**LEAST, "tenant": "a", "data": [1]}
    assert event_scope(read_event(structured(), CONTENT_TYPE, {})) == LEAST

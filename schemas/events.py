"""Events: CloudEvents 1.0 in JSON, read in structured and in binary mode, written structured.

An event is read strictly, because what is accepted here starts runs: each way of being wrong has its own
code, and a message for the person who reads the dead letter. The rules are those of the CloudEvents 1.0.2
core, JSON format, AMQP binding and HTTP binding, and W3C Trace Context for `traceparent`.
"""

import re
from base64 import b64decode
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import unquote

import msgspec
from msgspec import UNSET, Struct, field

from schemas.codec import MAX_EVENT_BYTES, Malformed, decode_json, encode
from schemas.errors import InvalidInput
from schemas.times import Micros, from_datetime, from_rfc3339, to_rfc3339

__all__ = [
    "CONTENT_TYPE",
    "MAX_ATTRIBUTE",
    "Attribute",
    "Event",
    "event_scope",
    "hops_of",
    "new_event",
    "parse_traceparent",
    "read_event",
    "write_event",
]

CONTENT_TYPE: Final = "application/cloudevents+json"
"""Content type of a structured event."""

MAX_ATTRIBUTE: Final = 1024
"""Longest attribute, in characters."""

MAX_SHOWN: Final = 80
"""How much of a foreign value a message shows, in characters."""

REQUIRED: Final = ("id", "source", "type")
OPTIONAL: Final = ("subject", "time", "datacontenttype", "dataschema")
EXTENSION_PATTERN: Final = "[a-z0-9]{1,64}"
"""Names that an extension attribute can have."""
HEADER_PREFIXES: Final = ("cloudevents_", "cloudevents:", "ce-")
"""How a header that is an attribute begins, in lower case."""

Attribute = str | int | bool

HOPS: Final = "batonhops"
"""Extension attribute of an event that a run emitted; see `hops_of`."""

_CONTEXT = frozenset({"specversion", *REQUIRED, *OPTIONAL})
_JSON_MODES = ("", "application/json")
_EXTENSION = re.compile(EXTENSION_PATTERN)
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
_QUOTED = re.compile(r'"(.*)"', re.DOTALL)
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)
_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-[!-~]{0,512})?")


class Event(Struct, frozen=True, kw_only=True):
    """A CloudEvent. `(source, id)` names it for good; `time` is the sender's own RFC 3339 text.

    `data` is JSON data, text when `datacontenttype` says text, and `UNSET` when there is none. `extensions`
    holds the sender's own attributes.
    """

    id: str
    source: str
    type: str
    specversion: str = "1.0"
    subject: str | None = None
    time: str | None = None
    datacontenttype: str | None = None
    dataschema: str | None = None
    data: Any = UNSET
    extensions: dict[str, Attribute] = field(default_factory=dict)

    @property
    def traceparent(self) -> str:
        """The valid W3C `traceparent` this event came with, or nothing."""
        text = self.extensions.get("traceparent", "")
        return text if isinstance(text, str) and parse_traceparent(text) else ""


def new_event(
    *,
    id: str,  # noqa: A002  the attributes' own names
    source: str,
    type: str,  # noqa: A002
    at: Micros,
    subject: str | None = None,
    data: Any = UNSET,
    hops: int = 0,
) -> Event:
    """An event of our own making, at a time in microseconds. `hops`: see `hops_of`."""
    media = None if data is UNSET else "application/json"
    return Event(
        id=id,
        source=source,
        type=type,
        subject=subject,
        time=to_rfc3339(at),
        datacontenttype=media,
        data=data,
        extensions={HOPS: hops} if hops else {},
    )


def hops_of(event: Event) -> int:
    """How many runs in a row led to this event, each started by what the one before it emitted; 0 for none.

    It bounds workflows that start each other by events in a circle. What is no count counts as 0.
    """
    hops = event.extensions.get(HOPS, 0)
    text = str(hops) if not isinstance(hops, bool) else ""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0  # noqa: PLR2004


def event_scope(event: Event) -> dict[str, Any]:
    """The event as one flat object: attributes, extensions and `data`, without what is absent.

    This is its JSON format, and what expressions see as `event`.
    """
    scope: dict[str, Any] = {"specversion": event.specversion}
    scope.update((name, getattr(event, name)) for name in REQUIRED)
    scope.update((name, value) for name in OPTIONAL if (value := getattr(event, name)) is not None)
    scope.update(event.extensions)
    if event.data is not UNSET:
        scope["data"] = event.data
    return scope


def write_event(event: Event) -> bytes:
    """The event in structured JSON, to be sent with `CONTENT_TYPE`."""
    return encode(event_scope(event))


def read_event(
    body: bytes, content_type: str | None, headers: Mapping[str, Any], limit: int = MAX_EVENT_BYTES
) -> Event:
    """Read an event from a message or an HTTP request; raise `Malformed` for whatever is not one.

    `limit` is in bytes and holds for the structured form. A valid `traceparent` header counts before the
    extension of that name and takes its place. Codes: `too_large too_deep malformed not_cloudevent
    batch_unsupported unsupported_format bad_specversion missing_attribute bad_attribute bad_data`.
    """
    media = _media_type(content_type)
    if media.startswith("application/cloudevents-batch"):
        raise _refusal("batch_unsupported", "a batch of events", "send each event as a message of its own")
    if media.startswith("application/cloudevents"):
        if media not in (CONTENT_TYPE, "application/cloudevents"):
            raise _refusal(
                "unsupported_format", f"events in {_show(media)} are not read", f"send {CONTENT_TYPE}"
            )
        event = _read_structured(body, limit)
    elif attributes := _header_attributes(headers):
        event = _read_binary(body, content_type, attributes, limit)
    elif media in _JSON_MODES:
        event = _read_structured(body, limit)
    else:
        raise _refusal(
            "not_cloudevent",
            f"content type {_show(media)} and no CloudEvents headers",
            f"send {CONTENT_TYPE}, or the attributes as headers such as cloudEvents_type",
        )
    return _with_trace_header(event, headers)


def parse_traceparent(text: object) -> tuple[str, str, bool] | None:
    """`(trace_id, span_id, sampled)` of a W3C `traceparent`; None, never an error, for what is not one.

    A version after 00 may bring more fields, which are passed over, as Trace Context asks.
    """
    match = _TRACEPARENT.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        return None
    version, trace_id, span_id, flags, rest = match.groups()
    if version == "ff" or (version == "00" and rest is not None):
        return None
    if trace_id == "0" * 32 or span_id == "0" * 16:
        return None
    return trace_id, span_id, bool(int(flags, 16) & 1)


# The two modes


def _read_structured(body: bytes, limit: int) -> Event:
    """An event whose body is all of it."""
    members = decode_json(body, limit=limit)
    if isinstance(members, list):
        raise _refusal("batch_unsupported", "a JSON array", "send each event as a message of its own")
    if not isinstance(members, dict) or "specversion" not in members:
        raise _refusal(
            "not_cloudevent",
            "no CloudEvent: a JSON object with specversion, id, source and type is expected",
            "wrap your data: see docs/messages.md",
        )
    data = members.pop("data", UNSET)
    if "data_base64" not in members:
        return _make(members, data)
    encoded = members.pop("data_base64")
    if data is not UNSET:
        raise _refusal("bad_data", "both data and data_base64", "send one of them")
    return _within_limits(_make(members, _read_data(_decode_base64(encoded), members)), limit)


def _read_binary(body: bytes, content_type: str | None, attributes: dict[str, Any], limit: int) -> Event:
    """An event whose attributes are headers and whose body is the data alone."""
    if len(body) > limit:
        decode_json(body, limit=limit)  # one place says what too large means
    if content_type:
        attributes["datacontenttype"] = content_type
    return _within_limits(_make(attributes, _read_data(body, attributes)), limit)


def _within_limits(event: Event, limit: int) -> Event:
    """The event, if its structured form, in which it travels on, would be accepted too."""
    decode_json(write_event(event), limit=limit)
    return event


def _make(members: dict[str, Any], data: Any) -> Event:
    """An event from its attributes, each checked; null is absent."""
    attributes = {name: value for name, value in members.items() if value is not None}
    version = attributes.get("specversion")
    if version != "1.0":
        raise _refusal("bad_specversion", f"specversion {_show(version)}", 'only CloudEvents "1.0" is read')
    for name in REQUIRED:
        if attributes.get(name, "") == "":
            raise _refusal("missing_attribute", f"no {name}", f"every event needs a non-empty {name}")
    for name, value in attributes.items():
        _check_attribute(name, value)
    extensions = {name: attributes.pop(name) for name in list(attributes) if name not in _CONTEXT}
    return Event(**attributes, data=data, extensions=extensions)


def _check_attribute(name: str, value: Any) -> None:
    if name not in _CONTEXT and (name == "data" or not _EXTENSION.fullmatch(name)):
        raise _bad(name, "is not an attribute's name", "use 1 to 64 lower-case letters and digits")
    if isinstance(value, str):
        if len(value) > MAX_ATTRIBUTE:
            raise _bad(name, f"has {len(value)} characters", f"use {MAX_ATTRIBUTE} at most")
        if _UNPRINTABLE.search(value):
            raise _bad(name, "has control characters", "use printable text")
    elif name in _CONTEXT or not isinstance(value, int):
        expected = "text" if name in _CONTEXT else "text, a whole number or a boolean"
        raise _bad(name, f"is {_kind(value)}", f"it must be {expected}; objects belong into data")
    if name == "time":
        try:
            from_rfc3339(value)
        except InvalidInput as error:
            raise _bad(name, error.message, error.hint) from None


# Headers


def _header_attributes(headers: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes among the headers, whether AMQP gave text, bytes, a number or a time."""
    attributes: dict[str, Any] = {}
    for header, value in headers.items():
        name = _attribute_name(header)
        if name is None or value is None:
            continue
        known = _header_value(name, value, is_http=header.lower().startswith("ce-"))
        if attributes.setdefault(name, known) != known:
            raise _bad(name, "is in two headers that differ", "send it once")
    return attributes


def _attribute_name(header: object) -> str | None:
    """The attribute that a header holds, if it holds one."""
    if not isinstance(header, str):
        return None
    lowered = header.lower()
    for prefix in HEADER_PREFIXES:
        if lowered.startswith(prefix):
            return lowered.removeprefix(prefix)
    return None


def _header_value(name: str, value: Any, *, is_http: bool) -> Attribute:
    """One header as an attribute's value: the AMQP binding's native types, or text."""
    if isinstance(value, bytes | bytearray):
        try:
            value = value.decode()
        except UnicodeDecodeError:
            raise _bad(name, "is not UTF-8", "send text") from None
    if isinstance(value, datetime):
        return to_rfc3339(from_datetime(value if value.tzinfo else value.replace(tzinfo=UTC)))
    if isinstance(value, str):
        return _unescape(name, value) if is_http else value
    if not isinstance(value, int):
        raise _bad(name, f"is {_kind(value)}", "send text")
    if name in _CONTEXT:
        return encode(value).decode()  # the canonical string form
    return value


def _unescape(name: str, value: str) -> str:
    """An HTTP header's value without quotes and percent-encoding (HTTP binding 3.1.3.2)."""
    if quoted := _QUOTED.fullmatch(value):
        value = _QUOTED_PAIR.sub(r"\1", quoted[1])
    try:
        return unquote(value, errors="strict")
    except UnicodeDecodeError:
        raise _bad(name, "is not UTF-8 once percent-decoded", "encode it as UTF-8") from None


def _with_trace_header(event: Event, headers: Mapping[str, Any]) -> Event:
    for header, value in headers.items():
        if str(header).lower() == "traceparent":
            text = value.decode("ascii", "replace") if isinstance(value, bytes | bytearray) else value
            if parse_traceparent(text):
                extensions = {**event.extensions, "traceparent": text}
                return msgspec.structs.replace(event, extensions=extensions)
    return event


# Data


def _read_data(raw: bytes, attributes: Mapping[str, Any]) -> Any:
    """Bytes as data: JSON unless the content type says text; no bytes are no data."""
    content_type = attributes.get("datacontenttype")
    media = _media_type(content_type if isinstance(content_type, str) else "")
    if not raw:
        return UNSET
    if media == "" or media.endswith(("/json", "+json")):
        try:
            return decode_json(raw, limit=len(raw))
        except Malformed as error:
            code = "bad_data" if error.code == "malformed" else error.code
            raise Malformed(f"the data is not JSON: {error.message}", code=code, hint=error.hint) from None
    if media.startswith("text/") or media.endswith(("/xml", "+xml")):
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise _refusal("bad_data", f"the data is not UTF-8, as {_show(media)}", "send UTF-8") from None
    raise _refusal(
        "bad_data", f"data of type {_show(media)} is not read", "send JSON, text, or a reference to it"
    )


def _decode_base64(encoded: Any) -> bytes:
    if encoded is None:
        return b""
    try:
        return b64decode(encoded, validate=True)
    except (TypeError, ValueError):
        raise _refusal(
            "bad_data", "data_base64 is not Base64", "encode the bytes with the standard alphabet"
        ) from None


def _media_type(content_type: str | None) -> str:
    """A content type in lower case, without parameters."""
    return (content_type or "").partition(";")[0].strip().lower()


# Saying no


def _refusal(code: str, message: str, hint: str) -> Malformed:
    return Malformed(message, code=code, hint=hint)


def _bad(name: str, message: str, hint: str) -> Malformed:
    return _refusal("bad_attribute", f"attribute {_show(name)} {message}", hint)


def _show(value: object) -> str:
    """A foreign value in a message: quoted, and never long."""
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


def _kind(value: object) -> str:
    """What a foreign value is, in JSON's words where it has them."""
    return {dict: "an object", list: "an array", int: "a number", float: "a fraction", bool: "a boolean"}.get(
        type(value), type(value).__name__
    )

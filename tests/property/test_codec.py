"""Whatever bytes arrive, they are read or refused as `Malformed`; what we write is valid and reads back."""

import base64
import json
from datetime import UTC
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from msgspec import UNSET, Struct

import schemas
from schemas.codec import Malformed, decode, decode_json, encode
from schemas.events import CONTENT_TYPE, Event, event_scope, read_event, write_event
from schemas.messages import ActionInfo, Command, CommandKind, ErrorInfo, Presence, Result, ResultStatus
from schemas.workflow import Workflow
from tests.support.documents import objects, texts, values, workflows

JSON_SCHEMAS = Path(schemas.__file__).parent / "json"
STRUCTS: tuple[type[Struct], ...] = (Command, Result, Presence, Workflow)

names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", fullmatch=True)
ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=256)
counts = st.integers(0, 2**31)
times = st.datetimes(timezones=st.just(UTC))

errors = st.builds(
    ErrorInfo, code=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=64),
    message=texts, retryable=st.booleans(), details=values,
)  # fmt: skip
commands = st.builds(
    Command, id=ids, run_id=ids, workflow=ids, step=ids, host_index=counts, attempt=counts,
    kind=st.sampled_from(CommandKind), action=texts, issued_at=times, expires_at=times,
    timeout=st.floats(0.001, 1e6), epoch=counts, reply_to=names, args=objects, idempotent=st.booleans(),
    dry_run=st.booleans(),
)  # fmt: skip
results = st.builds(
    Result, command_id=ids, run_id=ids, step=ids, host_index=counts, attempt=counts, epoch=counts,
    agent=names, instance_id=ids, status=st.sampled_from(ResultStatus), output=values,
    error=st.none() | errors, started_at=st.none() | times, finished_at=st.none() | times, log=texts,
)  # fmt: skip
presences = st.builds(
    Presence, name=names, instance_id=ids, version=texts, at=times, pools=st.lists(names, max_size=3),
    labels=st.dictionaries(texts, texts, max_size=3), stopping=st.booleans(),
    actions=st.lists(
        st.builds(ActionInfo, name=texts, idempotent=st.booleans(), description=texts, args=objects),
        max_size=3,
    ),
)  # fmt: skip
printable = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=40)
extensions = st.dictionaries(
    st.from_regex(r"x[a-z0-9]{0,20}", fullmatch=True),
    printable | st.booleans() | st.integers(-(2**63), 2**63 - 1),
    max_size=3,
)
events = st.builds(
    Event, id=printable, source=printable, type=printable, subject=st.none() | printable,
    time=st.none() | times.map(lambda at: at.isoformat()), dataschema=st.none() | printable,
    datacontenttype=st.sampled_from([None, "application/json", "text/plain"]),
    data=st.just(UNSET) | values, extensions=extensions,
)  # fmt: skip

T = TypeVar("T", bound=Struct)


def validator(name: str) -> Draft202012Validator:
    """The generated schema of one kind of message, as outsiders use it."""
    return Draft202012Validator(json.loads((JSON_SCHEMAS / f"{name}.schema.json").read_text("utf-8")))


VALIDATORS = {name: validator(name) for name in ("command", "event", "presence", "result", "workflow")}


def round_trip(message: Struct, name: str) -> None:
    """Write, check against the schema, read back."""
    body = encode(message)
    VALIDATORS[name].validate(json.loads(body))
    assert decode(body, type(message)) == message


@given(commands)
def test_commands(command: Command) -> None:
    """Every command we can write is valid and reads back."""
    round_trip(command, "command")


@given(results)
def test_results(result: Result) -> None:
    """Every result we can write is valid and reads back."""
    round_trip(result, "result")


@given(presences)
def test_presences(presence: Presence) -> None:
    """Every announcement we can write is valid and reads back."""
    round_trip(presence, "presence")


@given(workflows)
def test_workflows(workflow: Workflow) -> None:
    """Every workflow document is valid and reads back."""
    round_trip(workflow, "workflow")


@given(events)
def test_events(event: Event) -> None:
    """Every event we can write is valid and reads back, structured."""
    body = write_event(event)
    VALIDATORS["event"].validate(json.loads(body))
    assert read_event(body, CONTENT_TYPE, {}) == event


@given(events)
def test_events_in_binary_mode(event: Event) -> None:
    """The same event read from headers and body says the same, but for the now known content type."""
    attributes = {f"cloudEvents_{key}": value for key, value in event_scope(event).items() if key != "data"}
    attributes.pop("cloudEvents_datacontenttype", None)
    body = b"" if event.data is UNSET else encode(event.data)
    read = read_event(body, "application/json", attributes)
    assert event_scope(read) == {**event_scope(event), "datacontenttype": "application/json"}


def refused_or(body: bytes, kind: type[Any]) -> Any:
    """What `body` reads as, or None where it is refused; any other exception fails the test."""
    try:
        return decode(body, kind)
    except Malformed as error:
        refusal = error
    assert refusal.code in ("too_large", "too_deep", "malformed")
    assert len(refusal.message) <= 500
    return None


@given(st.binary(max_size=200))
@example(b"[" * 100_000)
@example(b'"\\')
@example(b'{"a":' + b'"' * 3 + b"[" * 200)
def test_any_bytes_are_read_or_malformed(body: bytes) -> None:
    """No bytes make the codec raise anything else."""
    for kind in STRUCTS:
        refused_or(body, kind)
    try:
        decode_json(body)
    except Malformed:
        return
    json.loads(body)  # what we accept, others accept


@given(st.text('[]{}",:\\1 ntu0e+-.', max_size=60))
def test_json_like_text_is_read_or_malformed(text: str) -> None:
    """Text of JSON's own characters comes nearer to the corners; other readers agree on what we accept."""
    try:
        value = decode_json(text.encode())
    except Malformed:
        return
    assert value == json.loads(text)


def mutated(draw: st.DrawFn, body: bytes) -> bytes:
    """A message with some bytes cut out, put in, or changed."""
    for _ in range(draw(st.integers(1, 3))):
        at, end = sorted((draw(st.integers(0, len(body))), draw(st.integers(0, len(body)))))
        middle = draw(st.sampled_from([b"", b"null", b"[", b"}", b'"', b"\xff", b"-1e400", b"{}", b"9" * 30]))
        body = body[:at] + middle + (body[at:] if draw(st.booleans()) else body[end:])
    return body


@st.composite
def broken_messages(draw: st.DrawFn) -> bytes:
    """A valid message of any kind, damaged in bytes or in one member."""
    message = draw(st.one_of(commands, results, presences, events.map(event_scope)))
    body = encode(message)
    if draw(st.booleans()):
        return mutated(draw, body)
    members = json.loads(body)
    members[draw(st.sampled_from(sorted(members)))] = draw(values)
    return encode(members)


@given(broken_messages(), st.sampled_from([CONTENT_TYPE, "application/json", "", "text/plain", "x"]))
def test_broken_messages_are_read_or_malformed(body: bytes, content_type: str) -> None:
    """A damaged message is refused as such on every queue; what is still read can be written again."""
    for kind in STRUCTS:
        message = refused_or(body, kind)
        if message is not None:
            assert decode(encode(message), kind) == message
    event_or_malformed(body, content_type, {})


def event_or_malformed(body: bytes, content_type: str | None, headers: dict[Any, Any]) -> None:
    """Whatever is accepted as an event is one by our schema, and reads back from its structured form."""
    try:
        event = read_event(body, content_type, headers)
    except Malformed as error:
        refusal = error
    else:
        written = write_event(event)
        VALIDATORS["event"].validate(json.loads(written))
        assert read_event(written, CONTENT_TYPE, {}) == event
        return
    assert refusal.hint
    assert len(refusal.message.encode()) <= 1000


header_names = st.sampled_from(
    [prefix + name for prefix in ("cloudEvents_", "cloudEvents:", "ce-", "Ce-")
     for name in ("id", "source", "type", "specversion", "time", "datacontenttype", "x", "data", "", "é")]
    + ["traceparent", "content-type", "x-death", ""]
)  # fmt: skip
header_values = st.one_of(
    st.just("1.0"), st.text(max_size=20), st.binary(max_size=8), st.integers(), st.booleans(), st.none(),
    st.floats(), st.datetimes(), times, st.decimals(), st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)  # fmt: skip


@given(
    body=st.binary(max_size=20) | values.map(encode),
    content_type=st.none()
    | st.text(max_size=20)
    | st.sampled_from(["application/json", "text/plain", CONTENT_TYPE]),
    headers=st.dictionaries(header_names | st.integers() | st.binary(max_size=3), header_values, max_size=8),
    complete=st.booleans(),
)
def test_any_headers_make_an_event_or_malformed(
    body: bytes, content_type: str | None, headers: dict[Any, Any], *, complete: bool
) -> None:
    """No AMQP table, however odd, makes the reader raise anything else."""
    least = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s", "ce-type": "t"} if complete else {}
    event_or_malformed(body, content_type, {**headers, **least})


@given(st.binary(max_size=60), st.sampled_from([None, "application/json", "text/plain", "image/png"]))
def test_base64_data_is_read_or_malformed(raw: bytes, media: str | None) -> None:
    """Binary data in a structured event is JSON, text, or refused."""
    event = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "datacontenttype": media}
    event_or_malformed(encode({**event, "data_base64": base64.b64encode(raw).decode()}), CONTENT_TYPE, {})

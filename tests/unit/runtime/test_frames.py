"""Our encoding of published messages against pamqp's."""

from typing import Any

import pytest
from aiormq import spec
from hypothesis import given
from hypothesis import strategies as st
from pamqp.body import ContentBody
from pamqp.frame import FrameTypes, marshal
from pamqp.header import ContentHeader

from runtime.bus.frames import encode_message, encode_properties
from runtime.bus.port import Message

TEXT = st.text(min_size=1, max_size=60)


@given(
    content_type=TEXT,
    headers=st.dictionaries(TEXT, st.text() | st.integers(-(2**31), 2**31 - 1) | st.booleans()),
    expiration=st.none() | st.integers(0, 10**9).map(str),
    message_id=TEXT,
)
def test_properties_are_encoded_as_pamqp_does(
    content_type: str, headers: dict[str, Any], expiration: str | None, message_id: str
) -> None:
    """Byte for byte the same, whatever is left out."""
    theirs = spec.Basic.Properties(
        content_type=content_type,
        headers=headers or None,
        delivery_mode=2,
        expiration=expiration,
        message_id=message_id,
    )
    assert encode_properties(content_type, headers, expiration, message_id) == theirs.marshal()


@pytest.mark.parametrize("size", [0, 1, 99, 100, 101, 200, 250])
@pytest.mark.parametrize("mandatory", [False, True])
def test_frames_are_encoded_as_pamqp_does(size: int, mandatory: bool) -> None:  # noqa: FBT001
    """Method, header and body, the body cut into frames of at most 100 bytes."""
    message = Message("some.events", "a.key", b"x" * size, {"a": "b"}, expiration=1.5, mandatory=mandatory)
    properties = spec.Basic.Properties(
        content_type="application/json",
        headers={"a": "b"},
        delivery_mode=2,
        expiration="1500",
        message_id="m",
    )
    theirs: list[FrameTypes] = [
        spec.Basic.Publish(exchange="some.events", routing_key="a.key", mandatory=mandatory),
        ContentHeader(properties=properties, body_size=size),
        *(ContentBody(message.body[at : at + 100]) for at in range(0, size, 100)),
    ]
    assert b"".join(encode_message(message, "m", 7, 100)) == b"".join(marshal(one, 7) for one in theirs)


@pytest.mark.parametrize(
    "message",
    [
        Message("x" * 128, "key", b""),
        Message("exchange", "k" * 256, b""),
        Message("exchange", "key", b"", {"h": 2**70}),
        Message("exchange", "key", b"", content_type="t" * 256),
    ],
)
def test_what_amqp_cannot_carry_is_refused(message: Message) -> None:
    """Before a single byte of it is written."""
    with pytest.raises((TypeError, ValueError)):
        encode_message(message, "m", 1, 100)

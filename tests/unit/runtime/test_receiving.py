"""Our reading of AMQP frames against pamqp's."""

from typing import Any

import pytest
from aiormq import spec
from aiormq.exceptions import InvalidFrameError
from hypothesis import given
from hypothesis import strategies as st
from pamqp import frame
from pamqp.base import Frame
from pamqp.body import ContentBody
from pamqp.header import ContentHeader
from pamqp.heartbeat import Heartbeat

from runtime.bus.receiving import decode_frame

NAMES = st.text(alphabet="abc.-_09", max_size=60)
TEXT = st.text(min_size=1, max_size=60)
TAGS = st.integers(0, 2**63 - 1)

DELIVERS = st.builds(
    spec.Basic.Deliver,
    consumer_tag=TEXT,
    delivery_tag=TAGS,
    redelivered=st.booleans(),
    exchange=NAMES,
    routing_key=TEXT,
)
ACKS = st.builds(spec.Basic.Ack, delivery_tag=TAGS, multiple=st.booleans())
HEADERS = st.builds(
    ContentHeader,
    body_size=st.integers(0, 2**40),
    properties=st.builds(
        spec.Basic.Properties,
        content_type=st.none() | TEXT,
        headers=st.none() | st.dictionaries(TEXT, TEXT | st.integers(0, 1000), min_size=1, max_size=3),
        delivery_mode=st.sampled_from([None, 1, 2]),
        priority=st.none() | st.integers(1, 9),
        expiration=st.none() | st.integers(0, 10**6).map(str),
        message_id=st.none() | TEXT,
        app_id=st.none() | TEXT,
    ),
)
BODIES = st.builds(ContentBody, st.binary(min_size=1, max_size=300))
OTHERS = st.sampled_from(
    [
        Heartbeat(),
        spec.Basic.Nack(delivery_tag=3),
        spec.Channel.CloseOk(),
        spec.Basic.Cancel(consumer_tag="x"),
    ]
)


def _look(found: Any) -> Any:
    """A frame as something that can be compared."""
    if isinstance(found, ContentHeader):
        return (found.class_id, found.weight, found.body_size, dict(found.properties))
    if isinstance(found, ContentBody):
        return found.value
    return dict(found) if isinstance(found, Frame) else ()


@given(DELIVERS | ACKS | HEADERS | BODIES | OTHERS, st.integers(1, 2047))
def test_frames_are_decoded_as_pamqp_does(sent: Any, channel: int) -> None:
    """Size, channel, kind and every field, for what we decode and for what we leave to pamqp."""
    data = frame.marshal(sent, channel)
    (size, number, ours), (their_size, their_number, theirs) = decode_frame(data), frame.unmarshal(data)
    assert (size, number, type(ours)) == (their_size, their_number, type(theirs))
    assert _look(ours) == _look(theirs)


@pytest.mark.parametrize(
    "data",
    [
        b"\x01\x00\x01\x00\x00\x00\x04\x00\x3c\x00\x3c\xce",
        b"\x02\x00\x01\x00\x00\x00\x02\x00\x3c\xce",
        b"\x03\x00\x01\x00\x00\x00\x01x\x00",
        b"\x09\x00\x01\x00\x00\x00\x01x\xce",
    ],
)
def test_what_is_no_frame_is_refused(data: bytes) -> None:
    """Cut short, without its end, or of no known type: the error aiormq expects."""
    with pytest.raises(InvalidFrameError):
        decode_frame(data)


def test_text_that_is_not_utf_8_does_not_stop_the_reader() -> None:
    """RabbitMQ takes such a routing key; the message must arrive to be refused."""
    data = frame.marshal(spec.Basic.Deliver("tag", 1, False, "exchange", "k?"), 1)
    _, _, found = decode_frame(data.replace(b"k?", b"k\xff"))
    assert isinstance(found, spec.Basic.Deliver)
    assert found.routing_key == "k?"

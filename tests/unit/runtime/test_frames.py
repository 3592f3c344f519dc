"""Our encoding of message properties against pamqp's."""

from typing import Any

from aiormq import spec
from hypothesis import given
from hypothesis import strategies as st

from runtime.bus.properties import OutgoingProperties

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
    ours = OutgoingProperties(
        content_type=content_type, headers=headers, expiration=expiration, message_id=message_id
    )
    theirs = spec.Basic.Properties(
        content_type=content_type,
        headers=headers or None,
        delivery_mode=2,
        expiration=expiration,
        message_id=message_id,
    )
    assert ours.marshal() == theirs.marshal()
    assert ours.message_id == message_id

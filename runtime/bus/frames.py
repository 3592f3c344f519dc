"""The AMQP properties of what we publish."""

from typing import Any, Final

from aiormq import spec
from pamqp import encode

__all__ = ["OutgoingProperties"]

PERSISTENT: Final = 2

# AMQP 0-9-1, 4.2.6.1: the bits that say which properties follow, in this order.
CONTENT_TYPE, HEADERS, DELIVERY_MODE, EXPIRATION, MESSAGE_ID = 0x8000, 0x2000, 0x1000, 0x0100, 0x0080


class OutgoingProperties(spec.Basic.Properties):
    """The five properties that we use, encoded directly.

    pamqp asks for each of fourteen by name, which was a fifth of the cost of a publish.
    """

    def __init__(
        self, *, content_type: str, headers: dict[str, Any], expiration: str | None, message_id: str
    ) -> None:
        super().__init__(
            content_type=content_type,
            headers=headers,
            delivery_mode=PERSISTENT,
            expiration=expiration,
            message_id=message_id,
        )

    def marshal(self) -> bytes:
        """The property flags and list."""
        flags = CONTENT_TYPE | DELIVERY_MODE | MESSAGE_ID
        headers = expiration = b""
        if self.headers:
            flags |= HEADERS
            headers = encode.field_table(self.headers)
        if self.expiration is not None:
            flags |= EXPIRATION
            expiration = _short(self.expiration)
        return b"%b%b%b%c%b%b" % (
            flags.to_bytes(2, "big"),
            _short(self.content_type or ""),
            headers,
            PERSISTENT,
            expiration,
            _short(self.message_id or ""),
        )


def _short(text: str) -> bytes:
    data = text.encode()
    return bytes((len(data),)) + data

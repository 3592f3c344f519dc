"""JSON in and out, with a limit on size and depth. No other serialisation exists in Baton."""

from typing import Any, Final, TypeVar

import msgspec

from schemas.errors import InvalidInput

__all__ = ["MAX_DEPTH", "MAX_EVENT_BYTES", "MAX_MESSAGE_BYTES", "Malformed", "decode", "decode_json", "encode"]

T = TypeVar("T")

MAX_DEPTH: Final = 64
"""Deepest nesting of arrays and objects that is accepted."""

MAX_EVENT_BYTES: Final = 64 * 1024
"""Largest event that is accepted (CloudEvents 1.0 asks every intermediary to forward this much)."""

MAX_MESSAGE_BYTES: Final = 1024 * 1024
"""Largest command or result that is accepted."""

_encoder = msgspec.json.Encoder()
_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}


class Malformed(InvalidInput):
    """Bytes from outside that cannot be read; `code` is `too_large`, `too_deep` or `malformed`."""

    code = "malformed"


def encode(value: Any) -> bytes:
    """Compact JSON of a struct or plain data."""
    return _encoder.encode(value)


def decode(body: bytes, kind: type[T], *, limit: int = MAX_MESSAGE_BYTES) -> T:
    """Read JSON `body` as a `kind`; raise `Malformed` if it is too large, too deep or of another shape."""
    if len(body) > limit:
        raise Malformed(
            f"{len(body)} bytes, more than the limit of {limit}", code="too_large", hint="send a reference instead"
        )
    _check_depth(body)
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.json.Decoder(kind)
    try:
        result: T = decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(str(error), hint="see the JSON Schemas in schemas/json") from None
    return result


def decode_json(body: bytes, *, limit: int = MAX_MESSAGE_BYTES) -> Any:
    """Read any JSON, with the same limits as `decode`."""
    return decode(body, Any, limit=limit)  # type: ignore[arg-type]


def _check_depth(body: bytes) -> None:
    """Refuse nesting beyond `MAX_DEPTH` before a parser recurses into it."""
    if body.count(b"[") + body.count(b"{") <= MAX_DEPTH:
        return  # the usual case: too few brackets in all to be too deep
    depth = 0
    in_string = escaped = False
    for byte in body:
        if in_string:
            if escaped:
                escaped = False
            elif byte == 0x5C:
                escaped = True
            elif byte == 0x22:
                in_string = False
        elif byte == 0x22:
            in_string = True
        elif byte in (0x5B, 0x7B):
            depth += 1
            if depth > MAX_DEPTH:
                raise Malformed(
                    f"nested deeper than {MAX_DEPTH} levels", code="too_deep", hint="flatten the data"
                )
        elif byte in (0x5D, 0x7D):
            depth -= 1

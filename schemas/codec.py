"""JSON in and out, with a limit on size and depth. No other serialisation exists in Baton."""

import json
from typing import Any, Final, TypeVar

import msgspec

from schemas.errors import InvalidInput

__all__ = [
    "MAX_DEPTH",
    "MAX_EVENT_BYTES",
    "MAX_INTEGER",
    "MAX_MESSAGE_BYTES",
    "MAX_OUTPUT_BYTES",
    "Malformed",
    "decode",
    "decode_json",
    "encode",
]

T = TypeVar("T")

MAX_DEPTH: Final = 64
"""Deepest nesting of arrays and objects that is accepted."""

MAX_EVENT_BYTES: Final = 64 * 1024
"""Largest event that is accepted (CloudEvents 1.0 asks every intermediary to forward this much)."""

MAX_OUTPUT_BYTES: Final = 256 * 1024
"""Largest output of an action, as JSON: agents send no larger one."""

MAX_MESSAGE_BYTES: Final = 1024 * 1024
"""Largest command or result that is accepted."""

MAX_INTEGER: Final = 2**63 - 1
"""Largest whole number in an event; the least is `-MAX_INTEGER - 1`. Expressions have 64 bits."""

_MAX_REASON: Final = 500  # characters: a reason becomes a header, and must not carry a whole payload with it

_encoder = msgspec.json.Encoder()
_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}


class Malformed(InvalidInput):
    """Bytes from outside that cannot be read; `code` is `too_large`, `too_deep` or `malformed`.

    `schemas.events` adds codes for what is JSON but not an event.
    """

    code = "malformed"


def encode(value: Any) -> bytes:
    """Compact JSON of a struct or plain data."""
    return _encoder.encode(value)


def decode(body: bytes, kind: type[T], *, limit: int = MAX_MESSAGE_BYTES) -> T:
    """Read JSON `body` as a `kind`; raise `Malformed` if it is too large, too deep or of another shape.

    Of a name that an object has twice, the last value counts.
    """
    if len(body) > limit:
        raise Malformed(
            f"{len(body)} bytes, more than the limit of {limit}",
            code="too_large",
            hint="put the bulk elsewhere and send a reference to it",
        )
    if not body:
        raise Malformed("the body is empty", hint="see the JSON Schemas in schemas/json")
    _check_depth(body)
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.json.Decoder(kind)
    try:
        result: T = decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(str(error)[:_MAX_REASON], hint="see the JSON Schemas in schemas/json") from None
    return result


def decode_json(body: bytes, *, limit: int = MAX_MESSAGE_BYTES) -> Any:
    """Read any JSON, with the limits of `decode` and two more: names are unique and integers have 64 bits.

    What passes means the same to every reader, whichever JSON library or expression language it has.
    """
    value = decode(body, Any, limit=limit)
    _strict.decode(body.decode())  # a second reading, only to see what the first passes over
    return value


def _unique_names(members: list[tuple[str, Any]]) -> None:
    names = set()
    for name, _ in members:
        if name in names:
            raise Malformed(
                f"an object has the member '{name[:64]}' twice", hint="give each member its own name"
            )
        names.add(name)


def _integer(digits: str) -> None:
    if len(digits) > len(str(-MAX_INTEGER)) or not -MAX_INTEGER - 1 <= int(digits) <= MAX_INTEGER:
        raise Malformed("a whole number has more than 64 bits", hint="send large numbers as text")


_strict = json.JSONDecoder(object_pairs_hook=_unique_names, parse_int=_integer)

_BRACKETS_ALIKE = bytes.maketrans(b"{}", b"[]")
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def _check_depth(body: bytes) -> None:
    r"""Refuse nesting beyond `MAX_DEPTH` before a parser recurses into it.

    Once `\\` and `\"` are gone, every second piece between quotes is outside strings. Each round then strikes
    out the innermost pairs of brackets, so what still holds a pair after `MAX_DEPTH` rounds was deeper.
    Brackets that never match are the parser's to refuse, unless they alone would be too deep for it.
    """
    if body.count(b"[") + body.count(b"{") <= MAX_DEPTH:
        return  # the usual case: too few brackets in all to be too deep
    outside = b"".join(body.replace(rb"\\", b"").replace(rb"\"", b"").split(b'"')[::2])
    brackets = outside.translate(_BRACKETS_ALIKE, _NOT_BRACKETS)
    for _ in range(MAX_DEPTH):
        brackets = brackets.replace(b"[]", b"")
        if not brackets:
            return
    if b"[]" in brackets or brackets.count(b"[") > MAX_DEPTH:
        raise Malformed(f"nested deeper than {MAX_DEPTH} levels", code="too_deep", hint="flatten the data")

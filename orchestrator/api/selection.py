"""Which runs somebody asks for, as the store takes it."""

from schemas.errors import InvalidInput
from schemas.times import Micros, from_rfc3339

__all__ = ["given_time"]


def given_time(text: str | None, name: str) -> Micros | None:
    """An RFC 3339 time of a request; `name` says which in the error."""
    if text is None:
        return None
    try:
        return from_rfc3339(text)
    except InvalidInput as error:
        raise InvalidInput(f"{name}: {error.message}", code="bad_time", hint=error.hint) from None

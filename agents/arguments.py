"""Readers for arguments that several actions share."""

from pathlib import Path

from agents.sdk import BadArguments
from schemas.errors import InvalidInput
from schemas.times import parse_duration

__all__ = ["absolute", "octal", "seconds"]


def seconds(length: str | float | None) -> float | None:
    """A duration as seconds: a number, or text such as `30s`. None stays None: no limit of its own."""
    if isinstance(length, str):
        try:
            return parse_duration(length) / 1_000_000
        except InvalidInput as error:
            raise BadArguments(f"{error.message}: {error.hint} - at `$.timeout`") from None
    if length is not None and length <= 0:
        raise BadArguments(f"{length} is not a duration - at `$.timeout`")
    return length


def absolute(path: str, field: str) -> Path:
    """A path that means the same wherever the agent was started."""
    if not path.startswith("/") or "\0" in path:
        raise BadArguments(f"'{path}' is not an absolute path - at `$.{field}`")
    return Path(path)


def octal(mode: str) -> int:
    """Permission bits from text such as `0644`; set-user-id, set-group-id and sticky are refused."""
    try:
        bits = int(mode, 8)
    except ValueError:
        bits = -1
    if not 0 <= bits <= 0o777:  # noqa: PLR2004 - that is what permission bits are
        raise BadArguments(f"'{mode}' is not a mode such as '0644' - at `$.mode`")
    return bits

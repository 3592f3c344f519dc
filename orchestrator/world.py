"""Where the outside enters: the clock, chance, and new ids. Tests bring a world of their own."""

import os
import random
import time
import uuid
from typing import Protocol

from schemas.times import Micros

__all__ = ["SystemWorld", "World"]


class World(Protocol):
    """What the coordinator asks of the outside."""

    def now(self) -> Micros:
        """Wall-clock time; it may jump."""

    def jitter(self) -> float:
        """A random number in [0, 1)."""

    def run_id(self) -> str:
        """A new id for a run."""

    def hex_id(self, size: int) -> str:
        """`size` random bytes as lower-case hex, not all zero."""


class SystemWorld:
    """The real one."""

    def now(self) -> Micros:
        """Microseconds since the epoch."""
        return time.time_ns() // 1_000

    def jitter(self) -> float:
        """Not for secrets: only for spreading retries."""
        return random.random()  # noqa: S311

    def run_id(self) -> str:
        """A UUID version 7 (RFC 9562): random, and sorted by time."""
        at = time.time_ns() // 1_000_000
        value = at.to_bytes(6) + os.urandom(10)
        return str(
            uuid.UUID(
                bytes=bytes(
                    (*value[:6], 0x70 | value[6] & 0x0F, value[7], 0x80 | value[8] & 0x3F, *value[9:])
                )
            )
        )

    def hex_id(self, size: int) -> str:
        """From the system's source of randomness."""
        return (os.urandom(size - 1) + bytes((1 + random.randrange(255),))).hex()  # noqa: S311

"""Where the outside enters: the clock, new ids, and this host's processes. A simulation brings its own."""

import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Protocol

from agents.processes import kill_marked

__all__ = ["SystemWorld", "World"]


class World(Protocol):
    """What an agent asks of the outside."""

    def now(self) -> datetime:
        """Wall-clock time, with its zone; it may jump."""

    def instance_id(self) -> str:
        """An id for a journal made anew."""

    async def kill_marked(self, cookies: Iterable[str]) -> None:
        """Kill whatever the commands with these ids left running on this host."""


class SystemWorld:
    """The real one."""

    def now(self) -> datetime:
        """In UTC."""
        return datetime.now(UTC)

    def instance_id(self) -> str:
        """A random UUID as hex."""
        return uuid.uuid4().hex

    async def kill_marked(self, cookies: Iterable[str]) -> None:
        """See `agents.processes.kill_marked`."""
        await kill_marked(cookies)

"""What the API's handlers work with, and how they ask the coordinator for something."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from litestar.di import NamedDependency
from litestar.params import SkipValidation

from orchestrator.deadletters import DeadLetterBox
from orchestrator.loop.intake import Content
from orchestrator.settings import Settings
from orchestrator.store.port import Reader
from orchestrator.world import SystemWorld
from schemas.errors import Unreachable
from schemas.times import Micros

__all__ = ["ANSWER_SECONDS", "Parts", "TheParts"]

ANSWER_SECONDS: Final = 30.0
"""How long a request waits for the coordinator's loop."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a coordinator that the API needs.

    `submit` puts a request into the loop and answers after the commit. `why_not_ready` is empty once events
    are taken in. `metrics` gives the Prometheus text.
    """

    settings: Settings
    reader: Reader
    submit: Callable[[Content], Awaitable[Any]]
    dead: DeadLetterBox
    metrics: Callable[[], bytes]
    why_not_ready: Callable[[], str]
    now: Callable[[], Micros] = SystemWorld().now

    async def ask(self, content: Content) -> Any:
        """Have the loop do something; raises what it raises, and `Unreachable` when it is silent."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await self.submit(content)
        except TimeoutError:
            raise Unreachable(
                f"the coordinator gave no answer within {ANSWER_SECONDS:.0f} s",
                code="no_answer",
                hint="it may still do what was asked: look before you ask again",
            ) from None


TheParts = NamedDependency[SkipValidation[Parts]]
"""`Parts`, as a handler asks for them."""

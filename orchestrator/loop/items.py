"""What stands in the loop's mailbox, and who must hear what came of it."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from orchestrator.loop.intake import Content
from runtime.bus.port import Delivery
from schemas.errors import Conflict

__all__ = ["Item", "Origin", "answer", "refuse", "stopping"]

Origin = Delivery | asyncio.Future[Any] | None


@dataclass(slots=True)
class Item:
    """Something to decide, and who must hear of it."""

    content: Content | None
    origin: Origin
    arrived: float
    refused: str = ""


def answer(future: asyncio.Future[Any], said: Any) -> None:
    """Answer a request; an exception is raised there."""
    if future.done():
        return  # whoever asked has gone
    if isinstance(said, BaseException):
        future.set_exception(said)
    else:
        future.set_result(said)


def refuse(items: Iterable[Item]) -> None:
    """Whoever waits for an answer gets one: the coordinator is stopping."""
    for item in items:
        if isinstance(item.origin, asyncio.Future):
            answer(item.origin, stopping())


def stopping() -> Conflict:
    """What is said to whoever comes too late."""
    return Conflict("the coordinator is stopping", code="stopping", hint="try again")

"""How many runs there may be: further events wait on the broker, and the API says so."""

from collections.abc import Callable

from orchestrator.settings import Settings
from runtime.bus.port import Bus, Delivery, Subscription
from schemas.errors import Unreachable

__all__ = ["Gate"]

PREFETCH = 100

RESUME_AT = 0.9
"""Part of a limit below which events are taken in again."""


class Gate:
    """Takes events in from `queue` only while there is room for new runs.

    `active` and `queued` say how many runs are in motion, and how many wait for room in their group.
    """

    def __init__(
        self, settings: Settings, bus: Bus, queue: str, active: Callable[[], int], queued: Callable[[], int]
    ) -> None:
        self._bus = bus
        self._queue = queue
        self._counts = (
            ("active", active, settings.max_active_runs),
            ("queued", queued, settings.max_queued_runs),
        )
        self._subscription: Subscription | None = None

    @property
    def room(self) -> int:
        """How many more runs may be in motion."""
        _, active, limit = self._counts[0]
        return max(0, limit - active())

    def check(self, others: int = 0) -> None:
        """Raise `Unreachable` unless there is room for a new run, besides so many `others`."""
        for what, count, limit in self._counts:
            if count() + others >= limit:
                raise Unreachable(
                    f"{count()} runs are {what}, which is the limit",
                    code="too_many_runs",
                    hint="try again later, or publish the event to RabbitMQ, where it waits",
                )

    async def regulate(self, arrived: Callable[[Delivery], None]) -> None:
        """Begin or stop to take events in; a flood waits on the broker."""
        if self._subscription is None:
            if all(count() < max(1, limit * RESUME_AT) for _, count, limit in self._counts):
                prefetch = min(PREFETCH, *(limit for _, _, limit in self._counts))
                self._subscription = await self._bus.subscribe(self._queue, arrived, prefetch=prefetch)
        elif any(count() >= limit for _, count, limit in self._counts):
            subscription, self._subscription = self._subscription, None
            await subscription.cancel()

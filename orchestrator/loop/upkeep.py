"""What the coordinator looks after now and then, beside its loop."""

import asyncio
import logging
from collections.abc import Callable

from orchestrator.metrics import Metrics
from orchestrator.settings import Settings
from orchestrator.store.port import Store
from orchestrator.world import World

__all__ = ["Upkeep"]

log = logging.getLogger(__name__)

PRUNE_ROWS = 10_000
SHOWN = 100


class Upkeep:
    """Looks for runs that nothing would move, and forgets what need not be remembered any more.

    `stranded` are those that queue for groups which wait for each other; the store knows of the others.
    `look_again` lets the loop see who has room in a group, and what the clock has done to schedules.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        world: World,
        metrics: Metrics,
        stranded: Callable[[], list[str]],
        look_again: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._store = store
        self._world = world
        self._metrics = metrics
        self._stranded = stranded
        self._look_again = look_again

    async def run(self) -> None:
        """Do so every `reconcile_every` seconds until cancelled."""
        while True:
            await asyncio.sleep(self._settings.reconcile_every)
            await self._find_stranded()
            await self._prune()
            self._look_again()

    async def _find_stranded(self) -> None:
        """Rule 12: there are none."""
        stranded = [*await self._store.stranded(SHOWN), *self._stranded()][:SHOWN]
        self._metrics.stranded.set(len(stranded))
        if stranded:
            log.error("ALARM: nothing would ever move these runs: %s", ", ".join(stranded))

    async def _prune(self) -> None:
        now = self._world.now()
        horizon = now - self._settings.inbox_days * 86_400_000_000
        while await self._store.prune_inbox(horizon, PRUNE_ROWS) == PRUNE_ROWS:
            pass  # the loop commits in between
        while await self._store.prune_starts(now, PRUNE_ROWS) == PRUNE_ROWS:
            pass
        if await self._store.prune_kept(now) >= self._settings.max_kept_events:
            log.warning(
                "%d events are kept for steps that may come to wait for them, which is the limit: the oldest "
                "are forgotten early; raise max_kept_events, or lower keep_events",
                self._settings.max_kept_events,
            )

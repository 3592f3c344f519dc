"""Tails the history and exports what has ended; the history is the buffer.

Spans leave in the order of the history. After a batch has left, the cursor behind it is committed before the
next one leaves, so that a crash repeats at most one batch: the one that was sent but whose cursor was not yet
committed. Repeated spans have the same ids and content. A backend that is away loses nothing.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

from orchestrator.core.facts import Fact
from orchestrator.core.model import Run
from orchestrator.store.port import HistoryEntry, Page, StoredFact
from orchestrator.telemetry.projection import Projection, SpanRecord, tells_of_spans
from runtime.failpoint import failpoint
from schemas.errors import BatonError, Unreachable
from schemas.times import Micros

__all__ = ["FactSource", "RunHistory", "Sender", "TelemetryExporter"]

log = logging.getLogger(__name__)

PAGE: Final = 1_000
"""Most facts read at once, and so the most spans in one export."""
MOST_RUNS: Final = 10_000
"""Most live runs whose folded state is kept at hand; others are folded anew when they move."""
POLL: Final = 0.5  # seconds; long enough for the spans of a burst to leave together
FIRST_RETRY: Final = 1.0  # seconds
LONGEST_RETRY: Final = 30.0  # seconds
LOOK_BACK: Final[Micros] = 3_600_000_000
"""How much of an old history is exported when telemetry is switched on for the first time."""


class FactSource(Protocol):
    """The part of `orchestrator.store.port.Store` that is tailed."""

    async def telemetry_cursor(self) -> int: ...  # noqa: D102

    async def facts_after(self, fact_id: int, limit: int) -> list[StoredFact]: ...  # noqa: D102

    async def load_runs(self, ids: Sequence[str]) -> dict[str, Run]: ...  # noqa: D102


class RunHistory(Protocol):
    """The part of `orchestrator.store.port.Reader` that tells what a run went through before."""

    async def history(  # noqa: D102
        self, run_id: str, *, cursor: str | None = None, limit: int = 100
    ) -> Page[HistoryEntry]: ...


class Sender(Protocol):
    """Where spans go (`sender.OtlpSender`)."""

    def send(self, records: Sequence[SpanRecord]) -> str:
        """Send and block; empty when they arrived, else why not."""

    def close(self) -> None:
        """Cut a `send` short, as far as possible."""


class TelemetryExporter:
    """`run` until `stop`.

    `done(cursor)` has the cursor committed and returns after that. Nothing that goes wrong here leaves `run`.
    """

    def __init__(
        self,
        source: FactSource,
        reader: RunHistory,
        projection: Projection,
        sender: Sender,
        done: Callable[[int], Awaitable[object]],
        now: Callable[[], Micros],
    ) -> None:
        self._source = source
        self._reader = reader
        self._projection = projection
        self._sender = sender
        self._done = done
        self._now = now
        self._stopping = asyncio.Event()
        self._finished = asyncio.Event()
        self._finished.set()
        self._cursor = -1  # not read yet
        self._trouble = ""

    async def run(self) -> None:
        """Export until `stop`; then once more what is there, and return."""
        retry = FIRST_RETRY
        self._finished.clear()
        try:
            while True:
                last = self._stopping.is_set()
                busy = await self._try_turn()
                if self._trouble:
                    if last:
                        return
                    await self._sleep(retry)
                    retry = min(2 * retry, LONGEST_RETRY)
                    continue
                retry = FIRST_RETRY
                if not busy:
                    if last:
                        return
                    await self._sleep(POLL)
        finally:
            self._finished.set()

    async def stop(self, within: float = 3.0) -> None:
        """Let `run` export what is left, for `within` seconds at most; the rest leaves at the next start."""
        self._stopping.set()
        try:
            async with asyncio.timeout(within):
                await self._finished.wait()
        except TimeoutError:
            log.warning("telemetry: the backend is slow; the remaining spans are exported at the next start")
        self._sender.close()

    async def _try_turn(self) -> bool:
        """One turn; whether there may be more to do. What goes wrong is said once, until it changes."""
        try:
            busy = await self._turn()
        except BatonError as error:
            self._say(error.message)
        except Exception as error:  # telemetry may lose its own work, never the coordinator
            log.debug("telemetry failed", exc_info=True)
            self._say(f"{type(error).__name__}: {error}")
        else:
            self._say("")
            return busy
        self._projection.trim(0)  # half a page may be folded; the next turn reads it again
        return False

    async def _turn(self) -> bool:
        """Read a page of facts, export the spans that end in it, and have the cursor committed."""
        if self._cursor < 0:
            self._cursor = await self._first_cursor()
        facts = await self._source.facts_after(self._cursor, PAGE)
        if not facts:
            return False
        spans = await self._project(facts)
        if spans:
            if problem := await asyncio.to_thread(self._sender.send, spans):
                raise Unreachable(problem)
            failpoint("telemetry.after_export")
            await self._done(facts[-1].id)
        self._cursor = facts[-1].id
        return True

    async def _project(self, facts: Sequence[StoredFact]) -> list[SpanRecord]:
        """Fold a page of facts, taking up runs as they appear."""
        self._projection.trim(MOST_RUNS)
        facts = [stored for stored in facts if tells_of_spans(stored.fact)]
        unknown = {stored.run_id for stored in facts if not self._projection.knows(stored.run_id)}
        runs = await self._source.load_runs(sorted(unknown)) if unknown else {}
        spans: list[SpanRecord] = []
        for stored in facts:
            if not self._projection.knows(stored.run_id):
                run = runs.get(stored.run_id)
                if run is None:
                    continue  # deleted since: there is nothing to tell of it any more
                self._projection.learn(run.head, await self._past(stored) if stored.seq > 1 else ())
            if span := self._projection.feed(stored.run_id, stored.fact):
                spans.append(span)
        return spans

    async def _past(self, stored: StoredFact) -> list[Fact]:
        """What happened to the run before this fact."""
        past: list[Fact] = []
        cursor: str | None = None
        while True:
            page = await self._reader.history(stored.run_id, cursor=cursor, limit=PAGE)
            past += [entry.fact for entry in page.items if entry.seq < stored.seq]
            cursor = page.next
            if cursor is None or page.items[-1].seq >= stored.seq:
                return past

    async def _first_cursor(self) -> int:
        """Where to begin: at the stored cursor; without one, no further back than `LOOK_BACK`."""
        cursor = await self._source.telemetry_cursor()
        if cursor:
            return cursor
        since = self._now() - LOOK_BACK
        low, high = 0, 1  # every fact up to `low` is too old; the first after `high` is not
        if not await self._is_old(low, since):
            return low
        while await self._is_old(high, since):
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            if await self._is_old(middle, since):
                low = middle
            else:
                high = middle
        return high

    async def _is_old(self, fact_id: int, since: Micros) -> bool:
        """Whether there is a fact after this one, and it is from before `since`."""
        return any(stored.fact.at < since for stored in await self._source.facts_after(fact_id, 1))

    def _say(self, trouble: str) -> None:
        """One line for each change."""
        if trouble and not self._trouble:
            log.warning("telemetry: spans cannot be exported and are kept: %s", trouble)
        elif self._trouble and not trouble:
            log.info("telemetry: spans are exported again")
        self._trouble = trouble

    async def _sleep(self, seconds: float) -> None:
        """Sleep, but not past `stop`."""
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return

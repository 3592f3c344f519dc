"""What an agent remembers: every command it took, whether it started, and what came of it.

The order is the rule: a command is here before it is acknowledged, a non-idempotent action is `started` here
before it starts, a result is here before it is published. So after a crash each command is in one of four
states, and each has one honest continuation (`agents/recovery.py`).
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, NamedTuple

from agents.limits import Limits
from agents.world import SystemWorld, World
from runtime.sqlite import Database, NewWorker, ThreadWorker, load_queries
from schemas.times import Micros

__all__ = ["Batch", "Entry", "Journal", "Known", "State", "Unsettled"]

_HERE: Final = Path(__file__).parent
_SQL: Final = load_queries(_HERE / "sql" / "journal.sql")

APPLICATION_ID: Final = 0x4241544A
"""`BATJ` in the file's header: an agent's journal, not a coordinator's database."""

State = Literal["received", "started", "finished", "published"]


class Entry(NamedTuple):
    """A command that the journal may not know. One answered at once comes `finished`, with its result.

    `tombstone`: nobody ever sent it here, and if it comes it must not start.
    """

    id: str
    state: State
    tombstone: bool
    command: bytes | None
    traceparent: str
    reply_to: str
    received_at: Micros
    issued_at: Micros
    """By the coordinator's clock; of a tombstone the time that the question names, or is itself from."""
    result: bytes | None = None


class Known(NamedTuple):
    """What the journal already had on a command. With a result it has the `command` only if that was lost."""

    state: State
    tombstone: bool
    result: bytes | None
    command: bytes | None = None
    traceparent: str = ""
    started_at: Micros | None = None


class Unsettled(NamedTuple):
    """A command whose result is not confirmed, as a restart finds it."""

    seq: int
    id: str
    state: State
    command: bytes | None
    traceparent: str
    reply_to: str
    started_at: Micros | None
    result: bytes | None


@dataclass(slots=True)
class Batch:
    """Everything that one transaction writes, in this order, which is that of a command's life.

    `started`: (at, id). `finished`: (result, id). `lost`: likewise, with a result that is no answer; the
    command is kept, so that a query can ask its probe again, and is then `reopened`: as if just lost.
    """

    received: list[Entry] = field(default_factory=list)
    reopened: list[tuple[str]] = field(default_factory=list)
    started: list[tuple[Micros, str]] = field(default_factory=list)
    finished: list[tuple[bytes, str]] = field(default_factory=list)
    lost: list[tuple[bytes, str]] = field(default_factory=list)
    published: list[tuple[str]] = field(default_factory=list)

    def __bool__(self) -> bool:
        """Whether there is anything to write."""
        return bool(
            self.received or self.reopened or self.started or self.finished or self.lost or self.published
        )


class Journal:
    """The journal in the file at `path`; one process at a time (`runtime.lock`), one writer in it."""

    def __init__(self, path: Path, world: World | None = None, worker: NewWorker = ThreadWorker) -> None:
        self._world = world or SystemWorld()
        self._db = Database(path, _HERE / "migrations", application_id=APPLICATION_ID, worker=worker)
        self.instance_id = ""
        self.forgotten: Micros = 0
        """The youngest `issued_at` of what was pruned: a later command that is not here never came."""

    async def open(self) -> None:
        """Open or make the file, and with it the instance id."""
        await self._db.open()
        self.instance_id, self.forgotten = await self._db.write(_instance, self._world.instance_id())

    async def close(self) -> None:
        """Close the file."""
        await self._db.close()

    async def write(self, batch: Batch) -> dict[int, Known]:
        """Write the whole batch or nothing; it is on disk when this returns.

        A command that was known before is left as it was; what is known of it is returned under its place in
        `batch.received`.
        """
        return await self._db.write(_write, batch)

    async def unsettled(self, after: int, limit: int) -> list[Unsettled]:
        """Up to `limit` commands whose results are not confirmed, in order, beyond the seq `after`."""
        return await self._db.read(_unsettled, after, limit)

    async def prune(self, now: Micros, limits: Limits) -> int:
        """Forget some of the oldest answered commands; return how many. Call again while it returns any.

        Not while a batch that was made with an earlier `forgotten` waits to be written.
        """
        count, youngest = await self._db.write(_prune, now, limits)
        self.forgotten = max(self.forgotten, youngest)
        return count


def _instance(db: sqlite3.Connection, new: str) -> tuple[str, Micros]:
    db.execute(_SQL["make_instance"], (new,))
    instance, forgotten = db.execute(_SQL["instance"]).fetchone()
    return str(instance), int(forgotten)


def _write(db: sqlite3.Connection, batch: Batch) -> dict[int, Known]:
    known: dict[int, Known] = {}
    receive = _SQL["receive"]
    for place, entry in enumerate(batch.received):
        if db.execute(receive, entry).rowcount == 0:
            state, tombstone, *more = db.execute(_SQL["find"], (entry.id,)).fetchone()
            known[place] = Known(state, bool(tombstone), *more)
    _many(db, "reopen", batch.reopened)
    _many(db, "start", batch.started)
    _many(db, "finish", batch.finished)
    _many(db, "lose", batch.lost)
    _many(db, "publish", batch.published)
    return known


def _many(db: sqlite3.Connection, query: str, rows: Sequence[tuple[object, ...]]) -> None:
    if rows:
        db.executemany(_SQL[query], rows)


def _unsettled(db: sqlite3.Connection, after: int, limit: int) -> list[Unsettled]:
    return [Unsettled(*row) for row in db.execute(_SQL["unsettled"], (after, limit))]


def _prune(db: sqlite3.Connection, now: Micros, limits: Limits) -> tuple[int, Micros]:
    bounds = {
        "batch": limits.prune_batch,
        "before": now - round(limits.keep_published * 1_000_000),
        "keep": limits.max_published,
    }
    gone = [issued_at for (issued_at,) in db.execute(_SQL["prune"], bounds)]
    youngest = max(gone, default=0)
    if gone:
        db.execute(_SQL["forget"], (youngest,))
    return len(gone), youngest

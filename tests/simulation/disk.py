"""SQLite without threads: real files, made-up latency, and the troubles that a disk can make."""

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from orchestrator.store.port import Batch
from orchestrator.store.sqlite import MIGRATIONS, SqliteStore
from runtime.sqlite import Database, NewWorker
from tests.simulation.clockwork import Life

__all__ = ["Disk", "SimStore"]

T = TypeVar("T")

_MOMENT = 0.000_001
"""Seconds; what keeps one thing after another where the order must hold."""


class Disk:
    """The disk of one node. `full`: nothing can be written. `lies`: the next commits succeed and yet fail."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self.full = False
        self.lies = 0
        self.slow = False
        self.refused = 0
        self.lied = 0

    def worker(self, life: Life) -> NewWorker:
        """What `runtime.sqlite` runs its functions with, in this life."""
        return lambda connect: _InlineWorker(connect, life, self)

    def before_work(self) -> None:
        """Refuse to do anything when full."""
        if self.full:
            self.refused += 1
            raise _trouble(sqlite3.SQLITE_FULL, "database or disk is full")

    def after_change(self) -> None:
        """Complain about what was just committed, if that is due."""
        if self.lies:
            self.lies -= 1
            self.lied += 1
            raise _trouble(sqlite3.SQLITE_IOERR, "disk I/O error")

    def latency(self) -> float:
        """Seconds that one transaction takes."""
        return self._rng.uniform(0.000_1, 0.2 if self.slow else 0.003)


class _InlineWorker:
    """See `runtime.sqlite.Worker`. Each function runs in one step of the loop, in the order asked for."""

    def __init__(self, connect: Callable[[], sqlite3.Connection], life: Life, disk: Disk) -> None:
        self._connect = connect
        self._life = life
        self._disk = disk
        self._db: sqlite3.Connection | None = None
        self._free_at = 0.0

    async def open(self) -> None:
        """Connect, for as long as the life lasts."""
        await asyncio.sleep(0)
        if self._disk.full:
            raise _trouble(sqlite3.SQLITE_CANTOPEN, "unable to open database file")
        self._db = self._connect()
        self._db.execute("PRAGMA synchronous = OFF")
        self._life.at_death.append(self._drop)

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Have it run a little later; what came of it is known a little later still."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._free_at = max(self._free_at + _MOMENT, loop.time() + self._disk.latency())
        loop.call_at(self._free_at, self._execute, work, future)
        return await future

    def _execute(self, work: Callable[[sqlite3.Connection], T], future: "asyncio.Future[T]") -> None:
        assert self._db is not None
        db, disk = self._db, self._disk
        before = db.total_changes
        try:
            disk.before_work()
            value = work(db)
            if db.total_changes > before:
                disk.after_change()
        except Exception as error:  # noqa: BLE001 - it is raised where the result is awaited
            tell, what = future.set_exception, error
        else:
            tell, what = future.set_result, value  # type: ignore[assignment]
        self._free_at += _MOMENT
        asyncio.get_running_loop().call_at(self._free_at, _settle, future, tell, what)

    async def close(self) -> None:
        """Close after what was asked for."""
        await asyncio.sleep(max(0.0, self._free_at - asyncio.get_running_loop().time()) + _MOMENT)
        self._drop()

    def _drop(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            db.close()


def _settle(future: "asyncio.Future[Any]", tell: Callable[[Any], None], what: Any) -> None:
    if not future.done():  # nobody waits any more, and yet it was done
        tell(what)


def _trouble(code: int, message: str) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError(message)
    error.sqlite_errorcode = code
    error.sqlite_errorname = message.upper().replace(" ", "_")
    return error


class SimStore(SqliteStore):
    """The coordinator's real store on a simulated disk.

    `committed` sees each batch, with its epoch, as it becomes durable; None stands for the taking over.
    """

    def __init__(
        self, path: Path, disk: Disk, life: Life, committed: Callable[[int, Batch | None], None]
    ) -> None:
        super().__init__(path)
        self._db = Database(path, MIGRATIONS, worker=disk.worker(life))
        self._committed = committed
        self._batches: deque[Batch] = deque()
        life.at_death.append(self._lock.release)

    def let_go(self) -> None:
        """Lose the lock, as on a file system that does not keep it."""
        self._lock.release()

    def _take_over(self, db: sqlite3.Connection) -> None:
        super()._take_over(db)
        self._committed(self.epoch, None)

    async def commit(self, batch: Batch) -> None:
        """See the port."""
        self._batches.append(batch)
        await super().commit(batch)

    def _write(self, db: sqlite3.Connection, changes: Any) -> None:
        """The last step before COMMIT, which nothing can come between."""
        batch = self._batches.popleft()
        super()._write(db, changes)
        self._committed(self.epoch, batch)

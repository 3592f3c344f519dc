"""SQLite files of ours: one connection that writes, any number that read, ordered migrations."""

import asyncio
import contextlib
import re
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar, TypeVarTuple, cast

import aiosqlite

from schemas.errors import BatonError, InternalError

__all__ = [
    "APPLICATION_ID",
    "Database",
    "NewWorker",
    "ReadOnlyDatabase",
    "StorageFailure",
    "ThreadWorker",
    "Worker",
    "load_queries",
]

T = TypeVar("T")
Args = TypeVarTuple("Args")

APPLICATION_ID: Final = 0x4241544E
"""`BATN` in the file's header (`PRAGMA application_id`): this file is ours."""

BUSY_TIMEOUT: Final = 5.0  # seconds; only a person with a tool can be in the way

# Result codes (sqlite.org/rescode.html) that tell of the file or the disk, not of a mistake in our SQL.
TROUBLE: Final = {
    sqlite3.SQLITE_FULL: "free space on that disk, then start again",
    sqlite3.SQLITE_IOERR: "check that disk and the system's log, then start again",
    sqlite3.SQLITE_CORRUPT: "restore the file from a backup",
    sqlite3.SQLITE_NOTADB: "give the path of a Baton database or one where a new file can be made",
    sqlite3.SQLITE_READONLY: "give this user permission to write the file and its directory",
    sqlite3.SQLITE_CANTOPEN: "check that the directory exists and that this user may use it",
    sqlite3.SQLITE_PERM: "check the permissions of the file and its directory",
    sqlite3.SQLITE_BUSY: "stop the other program that holds the file",
    sqlite3.SQLITE_LOCKED: "stop the other program that holds the file",
    sqlite3.SQLITE_PROTOCOL: "put the file on a local disk",
    sqlite3.SQLITE_NOMEM: "give the process more memory",
}

_NAME = re.compile(r"^-- name: *(\w+) *$", re.MULTILINE)
_MIGRATION = re.compile(r"(\d{4})_\w+\.sql")


class StorageFailure(BatonError):
    """The file or its disk cannot be used; nothing of the transaction is in the file."""

    code = "storage_failure"


def load_queries(path: Path) -> Mapping[str, str]:
    """The queries of a `.sql` file by name; each begins with a line `-- name: some_name`."""
    _, *parts = _NAME.split(path.read_text(encoding="utf-8"))
    names, queries = parts[::2], parts[1::2]
    if len(set(names)) < len(names):
        raise InternalError(f"{path.name} has two queries of one name", hint="rename one")
    return {name: query.strip() for name, query in zip(names, queries, strict=True)}


class Worker(Protocol):
    """One connection, and what runs functions on it, one after another."""

    async def open(self) -> None:
        """Connect; raises what `sqlite3` raises."""

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Return `work(connection)`, which runs to its end even if the caller is cancelled."""

    async def close(self) -> None:
        """Close the connection, after what was asked for before."""


NewWorker = Callable[[Callable[[], sqlite3.Connection]], Worker]
"""Makes a worker of a function that connects."""


class ThreadWorker:
    """A worker with a thread of its own."""

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        self._connection = _Connection(connect, iter_chunk_size=64)

    async def open(self) -> None:
        """See the protocol."""
        try:
            await self._connection
        except sqlite3.Error:
            if self._connection.stopped is not None:
                await self._connection.stopped
            raise

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """See the protocol."""
        return await self._connection.run(work)

    async def close(self) -> None:
        """See the protocol."""
        await self._connection.close()


class _Connection(aiosqlite.Connection):
    """aiosqlite's connection, able to run a whole function on its thread.

    aiosqlite pays a round trip between threads for each statement; this way a transaction of hundreds pays
    one, and a task cancelled in the middle of it cannot leave it open.
    """

    stopped: asyncio.Future[Any] | None = None
    """Done when the thread is done with the event loop; aiosqlite does not await it when connecting fails."""

    def stop(self) -> asyncio.Future[Any] | None:
        """Let the thread end."""
        self.stopped = super().stop()
        return self.stopped

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """See `Worker.run`."""
        return cast("T", await self._execute(work, self._conn))  # type: ignore[no-untyped-call]


class ReadOnlyDatabase:
    """The file at `path`, of which this process writes nothing.

    `migrations` is a folder of `NNNN_name.sql`, numbered from 0001; the file must have had all of them.
    """

    def __init__(
        self,
        path: Path,
        migrations: Path,
        *,
        application_id: int = APPLICATION_ID,
        worker: NewWorker = ThreadWorker,
    ) -> None:
        self._path = path
        self._migrations = _scripts(migrations)
        self._application_id = application_id
        self._new_worker = worker
        self._worker: Worker | None = None

    async def open(self) -> None:
        """Open the file: `StorageFailure` if it cannot be used, `BatonError` if it is not as it must be."""
        worker = self._new_worker(self._connect)
        try:
            await worker.open()
        except sqlite3.Error as error:
            raise self._failure(error) from error
        self._worker = worker
        try:
            await self._run(self._prepare)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Close the file, after what was asked for before; does nothing if it is not open."""
        worker, self._worker = self._worker, None
        if worker is not None:
            await worker.close()

    async def read(self, work: Callable[[sqlite3.Connection, *Args], T], *args: *Args) -> T:
        """Return `work(connection, *args)`, which sees one state of the file and runs on another thread."""
        return await self._run(lambda db: _transaction(db, "BEGIN", work, *args))

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(
            f"{self._path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None, timeout=BUSY_TIMEOUT
        )

    def _prepare(self, db: sqlite3.Connection) -> None:
        db.execute("PRAGMA query_only = ON")
        version = self._version(db)
        if version < len(self._migrations):
            raise BatonError(
                f"{self._path} has schema {version}, this version of Baton reads {len(self._migrations)}",
                code="schema_old",
                hint="start the coordinator of this version once; it brings the file up to date",
            )

    def _version(self, db: sqlite3.Connection) -> int:
        """How many migrations the file has had, once it is known to be ours or empty."""
        version = _pragma(db, "user_version")
        empty = db.execute("SELECT count(*) FROM sqlite_schema").fetchone() == (0,)
        if not (empty and version == 0) and _pragma(db, "application_id") != self._application_id:
            raise BatonError(
                f"{self._path} is a database, but not one that Baton made for this",
                code="not_ours",
                hint="give another path",
            )
        if version > len(self._migrations):
            raise BatonError(
                f"{self._path} has schema {version}, this version of Baton knows {len(self._migrations)}",
                code="schema_newer",
                hint="use the version of Baton that wrote it, or a newer one",
            )
        return version

    async def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._worker is None:
            raise InternalError(f"{self._path} is not open", hint="open it first")
        try:
            return await self._worker.run(work)
        except sqlite3.DatabaseError as error:
            if _primary(error) not in TROUBLE:
                raise  # a mistake in our SQL or data, not the file's fault
            raise self._failure(error) from error

    def _failure(self, error: sqlite3.Error) -> StorageFailure:
        return StorageFailure(
            f"cannot use {self._path}: {error}",
            hint=TROUBLE.get(_primary(error), "check the file"),
            details={"sqlite": getattr(error, "sqlite_errorname", "")},
        )


class Database(ReadOnlyDatabase):
    """The file at `path`, made and brought up to date at `open`; one such object may exist at a time.

    Write-ahead log and `synchronous = FULL`: what `write` returned from is on the disk.
    """

    async def write(self, work: Callable[[sqlite3.Connection, *Args], T], *args: *Args) -> T:
        """Return `work(connection, *args)`, run in one transaction on another thread.

        Committed unless `work` raises; then rolled back and raised. `StorageFailure` when the disk gives up.
        A caller that is cancelled does not stop it.
        """
        return await self._run(lambda db: _transaction(db, "BEGIN IMMEDIATE", work, *args))

    def _connect(self) -> sqlite3.Connection:
        with contextlib.suppress(OSError):  # SQLite says better than we what is wrong with the place
            self._path.touch(mode=0o600)  # a new file is its owner's: it holds inputs and outputs
        return sqlite3.connect(self._path, isolation_level=None, timeout=BUSY_TIMEOUT)

    def _prepare(self, db: sqlite3.Connection) -> None:
        version = self._version(db)
        if db.execute("PRAGMA journal_mode = WAL").fetchone() != ("wal",):
            raise StorageFailure(
                f"cannot use {self._path}: no write-ahead log can be kept there",
                hint="put it on a local disk",
            )
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA foreign_keys = ON")
        for number, script in enumerate(self._migrations[version:], start=version + 1):
            try:
                db.executescript(
                    f"BEGIN IMMEDIATE;\n{script}\n;PRAGMA application_id = {self._application_id};"
                    f"PRAGMA user_version = {number}; COMMIT"
                )
            except BaseException:
                _roll_back(db)
                raise


def _transaction(
    db: sqlite3.Connection, begin: str, work: Callable[[sqlite3.Connection, *Args], T], *args: *Args
) -> T:
    db.execute(begin)
    try:
        result = work(db, *args)
        db.execute("COMMIT")
    except BaseException:
        _roll_back(db)
        raise
    return result


def _roll_back(db: sqlite3.Connection) -> None:
    with suppress(sqlite3.Error):  # what made it necessary is being raised and matters more
        db.rollback()


def _scripts(folder: Path) -> list[str]:
    files = sorted(folder.glob("*.sql"))
    for number, file in enumerate(files, start=1):
        match = _MIGRATION.fullmatch(file.name)
        if match is None or int(match[1]) != number:
            raise InternalError(
                f"migration {file.name} should be number {number:04}", hint="number without gaps"
            )
    return [file.read_text(encoding="utf-8") for file in files]


def _pragma(db: sqlite3.Connection, name: str) -> int:
    (value,) = db.execute(f"PRAGMA {name}").fetchone()
    return int(value)


def _primary(error: sqlite3.Error) -> int:
    """The primary result code: the low byte of the extended one. -1 where Python itself complains."""
    code: Any = getattr(error, "sqlite_errorcode", -1)
    return code & 0xFF if code is not None and code >= 0 else -1

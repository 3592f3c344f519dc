"""The opener of SQLite files: durability, migrations, refusals, transactions."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from runtime.sqlite import Database, ReadOnlyDatabase, StorageFailure, load_queries
from schemas.errors import BatonError, InternalError

FIRST = "CREATE TABLE t (n INTEGER NOT NULL CHECK (n < 1000)) STRICT;"
SECOND = "ALTER TABLE t ADD COLUMN name TEXT; -- a comment at the end, without a line end"


@pytest.fixture
def migrations(tmp_path: Path) -> Path:
    """A folder of one migration."""
    folder = tmp_path / "migrations"
    folder.mkdir()
    (folder / "0001_first.sql").write_text(FIRST)
    return folder


@pytest.fixture
async def db(tmp_path: Path, migrations: Path) -> AsyncIterator[Database]:
    """An open writer."""
    database = Database(tmp_path / "state.db", migrations)
    await database.open()
    yield database
    await database.close()


def add(db: sqlite3.Connection, number: int) -> int | None:
    """Add one row."""
    return db.execute("INSERT INTO t (n) VALUES (?)", (number,)).lastrowid


def numbers(db: sqlite3.Connection) -> list[int]:
    """All rows."""
    return [n for (n,) in db.execute("SELECT n FROM t ORDER BY n")]


async def test_the_writer_is_durable(db: Database) -> None:
    """Write-ahead log, `synchronous = FULL` (2), foreign keys on, our mark in the header."""
    pragmas = ("journal_mode", "synchronous", "foreign_keys", "application_id", "user_version")
    got = await db.read(lambda raw: [raw.execute(f"PRAGMA {name}").fetchone()[0] for name in pragmas])
    assert got == ["wal", 2, 1, 0x4241544E, 1]


async def test_a_write_is_one_transaction(db: Database) -> None:
    """What a function writes is committed with its result, or rolled back as a whole when it raises."""
    assert await db.write(add, 1) == 1

    def fail(raw: sqlite3.Connection) -> None:
        add(raw, 2)
        raise InternalError("no")

    with pytest.raises(InternalError):
        await db.write(fail)
    with pytest.raises(sqlite3.IntegrityError):
        await db.write(lambda raw: (add(raw, 3), add(raw, 1000)))
    assert await db.read(numbers) == [1]


async def test_a_cancelled_caller_leaves_no_transaction_open(db: Database) -> None:
    """Cancelled in the middle, the write still ends, and the next one begins its own transaction."""
    inside, go_on = threading.Event(), threading.Event()

    def slow(raw: sqlite3.Connection) -> None:
        add(raw, 1)
        inside.set()
        go_on.wait(10)

    writing = asyncio.create_task(db.write(slow))
    await asyncio.to_thread(inside.wait, 10)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    go_on.set()
    await db.write(add, 2)
    assert await db.read(numbers) == [1, 2]


async def test_migrations_run_once_and_in_order(tmp_path: Path, migrations: Path, db: Database) -> None:
    """An older file is brought up to date with its rows; one that is up to date is left alone."""
    await db.write(add, 1)
    await db.close()
    (migrations / "0002_second.sql").write_text(SECOND)
    for _ in range(2):
        newer = Database(tmp_path / "state.db", migrations)
        await newer.open()
        assert await newer.read(lambda raw: raw.execute("SELECT n, name FROM t").fetchall()) == [(1, None)]
        await newer.close()


async def test_a_failed_migration_leaves_the_file_as_it_was(
    tmp_path: Path, migrations: Path, db: Database
) -> None:
    """A migration happens whole or not at all."""
    await db.close()
    broken = migrations / "0002_broken.sql"
    broken.write_text("CREATE TABLE u (n INTEGER) STRICT; nonsense")
    with pytest.raises(sqlite3.OperationalError, match=r"nonsense"):
        await Database(tmp_path / "state.db", migrations).open()
    broken.unlink()
    await db.open()
    assert await db.read(lambda raw: raw.execute("SELECT name FROM sqlite_schema").fetchall()) == [("t",)]


async def test_a_newer_schema_is_refused(tmp_path: Path, migrations: Path, db: Database) -> None:
    """A file of a newer version is not touched, and the error says what to do."""
    await db.close()
    with sqlite3.connect(tmp_path / "state.db") as raw:
        raw.execute("PRAGMA user_version = 7")
    raw.close()
    for kind in (Database, ReadOnlyDatabase):
        with pytest.raises(BatonError, match=r"schema 7.*knows 1") as caught:
            await kind(tmp_path / "state.db", migrations).open()
        assert caught.value.code == "schema_newer"
        assert "newer" in caught.value.hint


async def test_what_is_not_ours_is_refused(tmp_path: Path, migrations: Path) -> None:
    """Another program's database, and a file that is none, are refused and left as they were."""
    other, text = tmp_path / "other.db", tmp_path / "text.db"
    with sqlite3.connect(other) as raw:
        raw.execute("CREATE TABLE theirs (n)")
    raw.close()
    text.write_text("this is no database, " * 100)
    before = other.read_bytes(), text.read_bytes()
    with pytest.raises(BatonError) as caught:
        await Database(other, migrations).open()
    assert caught.value.code == "not_ours"
    with pytest.raises(StorageFailure, match=r"not a database"):
        await Database(text, migrations).open()
    assert (other.read_bytes(), text.read_bytes()) == before


async def test_a_place_that_does_not_exist_is_a_storage_failure(tmp_path: Path, migrations: Path) -> None:
    """A missing directory, or a missing file for a reader, gives a typed error with a hint."""
    for database in (
        Database(tmp_path / "none" / "state.db", migrations),
        ReadOnlyDatabase(tmp_path / "none.db", migrations),
    ):
        with pytest.raises(StorageFailure, match=r"none") as caught:
            await database.open()
        assert "exists" in caught.value.hint


async def test_a_full_disk_is_a_storage_failure(db: Database) -> None:
    """When the file may not grow, the write fails typed, nothing of it stays, and reading goes on."""
    await db.write(add, 1)
    await db.read(lambda raw: raw.execute("PRAGMA max_page_count = 1").fetchone())
    with pytest.raises(StorageFailure, match=r"full") as caught:
        await db.write(lambda raw: raw.executemany("INSERT INTO t (n) VALUES (?)", [(2,)] * 5000))
    assert "free space" in caught.value.hint
    assert caught.value.details == {"sqlite": "SQLITE_FULL"}
    assert await db.read(numbers) == [1]


async def test_a_reader_sees_what_is_committed_and_writes_nothing(
    tmp_path: Path, migrations: Path, db: Database
) -> None:
    """Beside the writer a read-only connection sees each commit; a write through it is refused."""
    reader = ReadOnlyDatabase(tmp_path / "state.db", migrations)
    await reader.open()
    try:
        await db.write(add, 5)
        assert await reader.read(numbers) == [5]
        with pytest.raises(StorageFailure):
            await reader.read(add, 6)
    finally:
        await reader.close()


async def test_a_closed_database_says_so(db: Database) -> None:
    """Closing twice is fine; using it then is our own fault."""
    await db.close()
    await db.close()
    with pytest.raises(InternalError, match=r"not open"):
        await db.read(numbers)


def test_migrations_are_numbered_without_gaps(tmp_path: Path) -> None:
    """A gap or a stray name in the folder is our own fault and said at once."""
    (tmp_path / "0002_late.sql").write_text("")
    with pytest.raises(InternalError, match=r"0001"):
        Database(tmp_path / "x.db", tmp_path)


def test_queries_are_found_by_name(tmp_path: Path) -> None:
    """Each query begins with its `-- name:` line; comments stay in it; two of one name are refused."""
    file = tmp_path / "some.sql"
    file.write_text(
        "-- About all of them.\n\n-- name: one\nSELECT 1;\n\n-- name: two\n-- why\nSELECT\n  2;\n"
    )
    assert load_queries(file) == {"one": "SELECT 1;", "two": "-- why\nSELECT\n  2;"}
    file.write_text("-- name: one\nSELECT 1;\n-- name: one\nSELECT 2;")
    with pytest.raises(InternalError):
        load_queries(file)


async def test_a_new_file_is_its_owners(db: Database, tmp_path: Path) -> None:
    """Inputs and outputs are in there; nobody else may read them, nor the log beside it."""
    await db.write(add, 1)
    assert {file.name: file.stat().st_mode & 0o077 for file in tmp_path.glob("state.db*")} == {
        "state.db": 0,
        "state.db-shm": 0,
        "state.db-wal": 0,
    }

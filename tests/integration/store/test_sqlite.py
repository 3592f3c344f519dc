"""The SQLite store on real files: who may open it, what a crash leaves, what a full disk leaves."""

import asyncio
import os
import random
import re
import resource
import signal
import sqlite3
import sys
from pathlib import Path

import pytest

from orchestrator.core.evolution import fold
from orchestrator.store.port import Batch, EpochLost, OutboxMessage
from orchestrator.store.reader import SqliteReader
from orchestrator.store.sqlite import READ, SqliteStore
from orchestrator.store.sqlite_starting import STARTING
from runtime.sqlite import StorageFailure
from schemas.errors import BatonError, Conflict, InvalidInput
from tests.support.batch_writer import expected_runs
from tests.support.sagas import NOW, Saga

ROOT = Path(__file__).parents[3]


class NoLock:
    """A lock that a broken file system hands to everybody."""

    def acquire(self) -> None:
        """Always."""

    def release(self) -> None:
        """Nothing to do."""


async def opened(path: Path, shard: str = "0") -> SqliteStore:
    """A store on that file, open."""
    store = SqliteStore(path, shard)
    await store.open()
    return store


def started(name: str) -> Batch:
    """A batch that starts a run."""
    batch = Batch()
    Saga(name).start(batch)
    return batch


# who may open it


async def test_the_epoch_grows_with_every_start(tmp_path: Path) -> None:
    """Each opening takes the next epoch, whatever was written in between."""
    for epoch in (1, 2, 3):
        store = await opened(tmp_path / "baton.db")
        assert store.epoch == epoch
        await store.close()
        await store.close()


async def test_a_second_coordinator_is_refused(tmp_path: Path) -> None:
    """While one has the store open, another is told who has it; the first goes on unharmed."""
    path = tmp_path / "baton.db"
    store = await opened(path)
    with pytest.raises(Conflict, match=rf"\b{os.getpid()}\b"):
        await opened(path)
    await store.commit(started("r1"))
    await store.close()
    again = await opened(path)
    assert again.epoch == 2
    await again.close()


async def test_an_old_epoch_writes_nothing(tmp_path: Path) -> None:
    """Should the lock fail, the one whose epoch is over is stopped by it, and leaves no trace."""
    path = tmp_path / "baton.db"
    old = await opened(path)
    await old.commit(started("r1"))
    new = SqliteStore(path)
    new._lock = NoLock()  # type: ignore[assignment]
    assert await new.open() == 2
    for write in (old.commit(started("r2")), old.prune_inbox(NOW, 10)):
        with pytest.raises(EpochLost):
            await write
    assert await new.load_runs(["r1", "r2"]) == started("r1").changed
    await new.commit(started("r3"))
    await new.close()
    await old.close()


async def test_a_file_serves_one_shard(tmp_path: Path) -> None:
    """A coordinator of another shard is refused, and the store can be opened by the right one after."""
    path = tmp_path / "baton.db"
    await (await opened(path, "0")).close()
    with pytest.raises(InvalidInput, match="shard '0'"):
        await opened(path, "1")
    await (await opened(path, "0")).close()


async def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    """A file that a newer version wrote is neither read nor changed, and the message says what to do."""
    path = tmp_path / "baton.db"
    await (await opened(path)).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 999")
    db.close()
    for part in (SqliteStore(path), SqliteReader(path)):
        with pytest.raises(BatonError, match="999") as caught:
            await part.open()
        assert "version" in caught.value.hint


@pytest.mark.parametrize(
    "content", [b"not a database at all " * 100, b"SQLite format 3\x00" + b"\xff" * 5000]
)
async def test_what_is_not_a_database_is_refused(tmp_path: Path, content: bytes) -> None:
    """A file of something else is refused and stays as it is; afterwards the lock is free."""
    path = tmp_path / "baton.db"
    path.write_bytes(content)
    for part in (SqliteStore(path), SqliteStore(path), SqliteReader(path)):
        with pytest.raises(BatonError, match=str(path)):
            await part.open()
    assert path.read_bytes() == content


async def test_somebody_elses_database_is_refused(tmp_path: Path) -> None:
    """A database that Baton did not make is not taken over."""
    path = tmp_path / "theirs.db"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE accounts (id INTEGER)")
    db.close()
    with pytest.raises(BatonError, match=r"theirs\.db"):
        await opened(path)


async def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    """A path that cannot be made says so without a traceback."""
    for part in (SqliteStore(tmp_path / "no" / "baton.db"), SqliteReader(tmp_path / "no" / "baton.db")):
        with pytest.raises(BatonError, match=r"no/baton\.db"):
            await part.open()


# what stays


async def test_ids_go_on_after_a_restart(tmp_path: Path) -> None:
    """Ids of messages and facts grow across restarts; no fact comes to stand behind telemetry's cursor."""
    path = tmp_path / "baton.db"
    store = await opened(path)
    batch = started("r1")
    batch.outbox = [OutboxMessage(store.next_outbox_id(), "e", "k", b"", NOW) for _ in range(3)]
    batch.telemetry_cursor = 10
    await store.commit(batch)
    await store.close()
    store = await opened(path)
    assert store.next_outbox_id() == 4
    await store.commit(started("r2"))
    assert [fact.id for fact in await store.facts_after(10, 10)] == [11, 12]
    await store.close()


async def test_a_reader_never_makes_the_writer_wait(tmp_path: Path) -> None:
    """Commits go on under an open read, which goes on seeing what it saw first."""
    path = tmp_path / "baton.db"
    store = await opened(path)
    await store.commit(started("r0"))
    reader = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)
    reader.execute("BEGIN")
    everything = {"before": 100, "limit": 100, "since": None, "until": None, "version": None}
    assert len(reader.execute(READ["runs"], everything).fetchall()) == 1
    for number in range(1, 20):
        await asyncio.wait_for(store.commit(started(f"r{number}")), 4)
    assert len(reader.execute(READ["runs"], everything).fetchall()) == 1
    reader.execute("COMMIT")
    assert len(reader.execute(READ["runs"], everything).fetchall()) == 20
    reader.close()
    await store.close()


async def test_a_reader_needs_no_coordinator(tmp_path: Path) -> None:
    """What a stopped coordinator left can be listed; the coordinator can start again beside the reader."""
    path = tmp_path / "baton.db"
    store = await opened(path)
    await store.commit(started("r1"))
    await store.close()
    reader = SqliteReader(path)
    await reader.open()
    assert [run.id for run in (await reader.runs()).items] == ["r1"]
    store = await opened(path)
    await store.commit(started("r2"))
    assert [run.id for run in (await reader.runs()).items] == ["r2", "r1"]
    await reader.close()
    await reader.close()
    await store.close()


async def check(path: Path, told: int) -> int:
    """The store holds the first batches, whole, and no fewer than its writer was told of; return how many."""
    store = await opened(path)
    reader = SqliteReader(path)
    await reader.open()
    batches = await store.telemetry_cursor()
    assert batches in (told, told + 1)
    expected = expected_runs(batches)
    assert await store.load_runs(str(n) for n in range(1, batches + 5)) == {
        saga.id: saga.run for saga in expected
    }
    for saga in expected[-5:] + expected[:5]:
        page = await reader.history(saga.id, limit=1_000)
        assert [entry.seq for entry in page.items] == list(range(1, saga.run.seq + 1))
        assert fold(saga.run.head, [entry.fact for entry in page.items]) == saga.run
    assert len(await store.facts_after(0, 100_000)) == sum(saga.run.seq for saga in expected)
    assert [message.body for message in await store.unsent(0, 10)] == [b"%d" % batches]
    assert len(await store.seen_events(("source", str(n)) for n in range(batches + 5))) == batches
    await reader.close()
    await store.close()
    return batches


async def run_writer(path: Path, *arguments: str, until: int = 0) -> int:
    """Let the writer work until it dies, or kill it after `until` lines; return the last batch it told of."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.support.batch_writer",
        path,
        *arguments,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    lines = []
    try:
        while line := await asyncio.wait_for(process.stdout.readline(), 60):
            lines.append(int(line))
            if len(lines) == until:
                process.kill()
    except BaseException:
        process.kill()
        raise
    assert await process.wait() == -signal.SIGKILL
    return lines[-1] if lines else 0


async def test_sigkill_inside_a_transaction(tmp_path: Path) -> None:
    """Killed in the middle of any statement, again and again: whole batches, histories without gaps."""
    path = tmp_path / "baton.db"
    chance = random.Random(6)
    batches = 0
    for _ in range(12):
        told = await run_writer(path, str(chance.randrange(200, 20_000)))
        batches = await check(path, told or batches)
    assert batches > 10
    store = await opened(path)
    assert store.epoch == 25
    await store.close()


async def test_sigkill_between_and_inside_commits(tmp_path: Path) -> None:
    """Killed from outside at any moment, also while the commit is being written to the disk."""
    path = tmp_path / "baton.db"
    for lines in (1, 2, 7, 60, 300):
        await check(path, await run_writer(path, until=lines))


async def test_a_full_disk(tmp_path: Path) -> None:
    """A commit that does not fit says `StorageFailure` and leaves nothing; given room, the store goes on."""
    path = tmp_path / "baton.db"
    store = await opened(path)
    await store.commit(started("r1"))

    async def set_pages(pages: int) -> None:
        await store._db.read(lambda db: db.execute(f"PRAGMA max_page_count = {pages}").fetchall())

    await set_pages(1)  # SQLite takes it as the number of pages there are
    large = started("r2")
    large.outbox = [OutboxMessage(store.next_outbox_id(), "e", "k", bytes(100_000), NOW)]
    for _ in range(2):
        with pytest.raises(StorageFailure, match="full") as caught:
            await store.commit(large)
        assert "space" in caught.value.hint
        assert set(await store.load_runs(["r1", "r2"])) == {"r1"}
        assert await store.unsent(0, 10) == []
        assert len(await store.facts_after(0, 10)) == 2
    await set_pages(1_000_000)
    await store.commit(large)
    assert set(await store.load_runs(["r1", "r2"])) == {"r1", "r2"}
    await store.close()


async def test_a_disk_that_fails_while_the_log_is_written(tmp_path: Path) -> None:
    """When the write-ahead log cannot grow in mid-commit, what was committed is there, nothing by half."""
    path = tmp_path / "baton.db"
    store = await opened(path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    committed = 0
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))

    async def commit_on() -> None:
        nonlocal committed
        while committed < 1_000:
            await store.commit(started(f"r{committed}"))
            committed += 1

    try:
        with pytest.raises(StorageFailure):
            await commit_on()
        await store.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    store = await opened(path)
    found = await store.load_runs(f"r{number}" for number in range(committed + 1))
    assert found.keys() - {f"r{committed}"} == {f"r{number}" for number in range(committed)}
    assert len(await store.facts_after(0, 10_000)) == 2 * len(found)
    await store.close()


# how it is asked


def test_every_query_finds_its_rows_by_an_index() -> None:
    """However many rows there are, a query looks only at those it gives; the exceptions are named here."""
    whole = {"agents", "count_agents", "count_outbox", "count_runs", "current_definitions", "shards"}
    whole |= {"group_members", "live_versions", "signals"}  # asked once, at the start
    whole |= {"count_runs_of_status", "versions"}  # they count
    whole |= {"asking"}  # it goes through the live runs
    from_the_end = {"inbox", "runs"}  # they go along the table itself, and stop at the limit
    db = sqlite3.connect(":memory:")
    for script in sorted((ROOT / "orchestrator" / "store" / "migrations").glob("*.sql")):
        db.executescript(script.read_text())
    queries = {**READ, **STARTING}
    for name in queries.keys() - whole - from_the_end:
        numbers = [int(number) for number in re.findall(r"\?(\d)", queries[name])]
        named = dict.fromkeys(re.findall(r":(\w+)", queries[name]))
        nothing = named or [None] * (max(numbers) if numbers else queries[name].count("?"))
        plan = [row[-1] for row in db.execute(f"EXPLAIN QUERY PLAN {queries[name]}", nothing)]
        slow = [line for line in plan if line.startswith(("SCAN runs", "SCAN inbox", "USE TEMP"))]
        assert not slow, (name, plan)
    db.close()

"""A database that an earlier version wrote is brought up to date, and nothing in it is lost."""

import sqlite3
from pathlib import Path

from orchestrator.core.facts import RunPaused, TaskInDoubt
from orchestrator.store.port import Batch, InboxRecord, RunFilter
from orchestrator.store.reader import SqliteReader
from orchestrator.store.rows import fact_row, head_row, run_row
from orchestrator.store.sqlite import MIGRATIONS, SqliteStore
from runtime.sqlite import APPLICATION_ID
from tests.support.sagas import NOW, Saga

FIRST = [
    "num",
    "shard",
    "id",
    "workflow",
    "version",
    "key",
    "trace_id",
    "created_at",
    "status",
    "reason",
    "ended_at",
    "wake_at",
    "seq",
    "state",
]


def first_version(path: Path, sagas: list[Saga]) -> None:
    """A database as the first version left it, with these runs, an agent and an event."""
    db = sqlite3.connect(path)
    db.executescript((MIGRATIONS / "0001_initial.sql").read_text())
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute("PRAGMA user_version = 1")
    db.execute("INSERT INTO shards VALUES ('0', 7, 0)")
    fact = 0
    for num, saga in enumerate(sagas, start=1):
        run, head = saga.run, saga.run.head
        *_, state = run_row(num, run)
        names = (num, "0", head.id, head.workflow, head.version, head.key, head.trace.trace_id, NOW)
        row = (*names, run.status, run.reason, run.ended_at, run.wake_at, run.seq, state)
        db.execute(f"INSERT INTO runs ({', '.join(FIRST)}) VALUES ({', '.join('?' * len(row))})", row)
        db.execute("INSERT INTO run_heads VALUES (?, ?)", head_row(num, run))
        for seq, one in enumerate(saga.facts, start=1):
            fact += 1
            db.execute(
                "INSERT INTO history VALUES (?, ?, ?, ?, ?, ?, ?)", fact_row(fact, "0", head.id, seq, one)
            )
    db.execute(
        "INSERT INTO inbox VALUES (5, '0', 'event', 'shop', 'e1', 't', ?, 'started', '', '[\"moving\"]')",
        (NOW,),
    )
    presence = b'{"name":"web-1","instance_id":"i1","version":"0","at":"2026-01-01T00:00:00Z"}'
    db.execute("INSERT INTO agents VALUES ('web-1', '0', ?, ?)", (NOW, presence))
    db.commit()
    db.close()


async def test_a_database_of_the_first_version_goes_on(tmp_path: Path) -> None:
    """Runs, histories, inbox and agents are there; who waited for a person still does."""
    sagas = {name: Saga(name, key=name) for name in ("moving", "asking", "paused", "ended")}
    for saga in sagas.values():
        saga.start(Batch())
    sagas["asking"].add(Batch(), TaskInDoubt(NOW, "one", 0, "c", "silence"))
    sagas["paused"].add(Batch(), RunPaused(NOW, "eva"))
    sagas["ended"].end(Batch())
    path = tmp_path / "baton.db"
    first_version(path, list(sagas.values()))

    store, reader = SqliteStore(path), SqliteReader(path)
    assert await store.open() == 8
    await reader.open()
    assert await store.load_runs(sagas) == {name: saga.run for name, saga in sagas.items()}
    assert await store.stranded(10) == []
    assert await store.in_motion() == ["moving"]
    assert [run.id for run in (await reader.runs(RunFilter(key="asking"))).items] == ["asking"]
    assert await store.seen_events([("shop", "e1")]) == {
        ("shop", "e1"): InboxRecord("shop", "e1", "started", NOW, type="t", runs=["moving"])
    }
    [agent] = await store.agents()
    assert (agent.presence.instance_id, agent.first_seen_at) == ("i1", NOW)
    batch = Batch(inbox=[InboxRecord("shop", "e2", "delivered", NOW)])
    sagas["moving"].end(batch)
    await store.commit(batch)
    assert await store.load_runs(["moving"]) == {"moving": sagas["moving"].run}
    await reader.close()
    await store.close()

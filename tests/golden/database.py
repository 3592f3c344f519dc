"""A database with some of the recorded runs in the middle of their lives, written down as SQL text."""

import sqlite3
from pathlib import Path
from typing import Any, Final

from msgspec.structs import replace

from orchestrator.core.evolution import fold
from orchestrator.core.facts import Fact
from orchestrator.core.inputs import ChildEnded, ReleaseRun
from orchestrator.core.model import Run
from orchestrator.store import rows
from orchestrator.store.port import (
    AgentRecord,
    Batch,
    InboxRecord,
    KeptEvent,
    OutboxMessage,
    StoredDefinition,
    StoredSignal,
    WaitingTask,
)
from orchestrator.store.sqlite import SqliteStore
from schemas.codec import encode
from schemas.messages import ActionInfo, Presence
from schemas.times import to_datetime
from tests.golden.story import FILES, tell

__all__ = ["DUMP", "EVENT", "NOW", "PLACE", "RUNS", "contents", "dump", "load", "make"]

DUMP: Final = FILES.parent / "store.sql"
NOW: Final = 1_700_000_000_000_000
PLACE: Final = ("paid\nevent.data.order", "7")
EVENT: Final = {"id": "9", "source": "/shop", "type": "paid", "data": {"text": "žluťoučký \U0001f40e"}}
RUNS: Final = {
    "linear": 4, "undo_of_a_diamond": 7, "in_doubt": 3, "rollout": 4, "foreach": 2, "events": 1, "parent": 3,
    "child_released": 2, "queued": 1, "paused": 2, "past_the_pivot": 4, "compensated": 5, "approvals": 1,
}  # fmt: skip
"""Cases, and how many moves of each are in the database; the rest of such a run is yet to come."""
_SCHEMA: Final = "sqlite_master WHERE sql IS NOT NULL"
_FILE_OF: Final = {"compensated": "quiesced"}


def lives() -> dict[str, tuple[Run, list[Fact]]]:
    """Each run with its history so far, by the id that it has in the database."""
    found: dict[str, tuple[Run, list[Fact]]] = {}
    for name, count in RUNS.items():
        story = tell(FILES / f"{_FILE_OF.get(name, name)}.json")
        head = replace(story.stored().head, id=name, key=f"key of {name}")
        facts = [rows.fact_of(encode(fact)) for move in story.moves[:count] for fact in move.facts]
        found[name] = fold(head, facts), facts
    return found


def contents() -> Batch:
    """All that is in the database."""
    batch = Batch(telemetry_cursor=3, keep_at_most=10)
    for name, (run, facts) in lives().items():
        story = tell(FILES / f"{_FILE_OF.get(name, name)}.json")
        document = encode(story.document.document)
        batch.definitions.append(StoredDefinition("test", story.document.version, document, NOW))
        batch.current["test"] = story.document.version
        batch.started.append(run)
        batch.facts += [(name, seq, fact) for seq, fact in enumerate(facts, 1)]
    batch.inbox = [
        InboxRecord("/shop", "1", "started", NOW, type="paid", runs=["linear"]),
        InboxRecord("w1", "run/a/0/1/execute", "rejected", NOW, kind="result", reason="of no run"),
    ]
    batch.outbox = [OutboxMessage(1, "baton.commands", "agent.w1", b'{"id": 1}', NOW, {"traceparent": "t"})]
    presence = Presence("w1", "i-1", "0.1", to_datetime(NOW), ["p"], {"role": "web"}, [ActionInfo("do.it")])
    batch.presence = {"w1": AgentRecord(presence, NOW, NOW)}
    ended = ChildEnded("call", 0, "child", "done", output={"n": 2})
    batch.signals = [
        StoredSignal("child/3/0", "parent", ended, NOW),
        StoredSignal("above/9/0", "child_released", ReleaseRun(), NOW),
    ]
    batch.waits = {("events", "w", 0): WaitingTask("events", "w", 0, *PLACE, NOW)}
    batch.kept = [KeptEvent(*PLACE, EVENT, NOW + 60_000_000)]
    return batch


async def make(path: Path) -> None:
    """Write the database as this version does."""
    store = SqliteStore(path)
    await store.open()
    try:
        await store.commit(contents())
    finally:
        await store.close()


def dump(path: Path) -> str:
    """The file as SQL text that people can read and compare."""
    db = sqlite3.connect(path)
    try:
        lines = [f"PRAGMA {name} = {_pragma(db, name)};" for name in ("application_id", "user_version")]
        made = db.execute(
            "SELECT name, type, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid"
        ).fetchall()
        lines += [f"{sql};" for _, _, sql in made]
        for table in (name for name, kind, _ in made if kind == "table"):
            for row in db.execute(f'SELECT * FROM "{table}"'):
                lines.append(f"INSERT INTO {table} VALUES ({', '.join(map(_literal, row))});")
    finally:
        db.close()
    return "\n".join(lines) + "\n"


def load(path: Path) -> None:
    """Make a database file of the text in the repository."""
    db = sqlite3.connect(path)
    try:
        db.executescript(DUMP.read_text(encoding="utf-8"))
    finally:
        db.close()


def _pragma(db: sqlite3.Connection, name: str) -> int:
    return int(db.execute(f"PRAGMA {name}").fetchone()[0])


def _literal(value: Any) -> str:
    if isinstance(value, bytes):
        return f"CAST({_literal(value.decode())} AS BLOB)"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return "NULL" if value is None else str(value)

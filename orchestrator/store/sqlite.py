"""The store on SQLite: one file, one writer, one transaction for each batch."""

import sqlite3
from collections import Counter
from collections.abc import Iterable
from itertools import count
from pathlib import Path
from typing import Any, Final

from orchestrator.core.model import Run
from orchestrator.store import rows
from orchestrator.store.port import (
    AgentRecord,
    Batch,
    EpochLost,
    InboxRecord,
    Inconsistent,
    KeptEvent,
    OutboxMessage,
    Place,
    StoredDefinition,
    StoredFact,
    StoredSignal,
    WaitingTask,
)
from orchestrator.store.sqlite_starting import STARTING, SqliteStarting, starting_rows
from runtime.lock import StateLock
from runtime.sqlite import Database, load_queries
from schemas.errors import InvalidInput
from schemas.times import Micros

__all__ = ["MIGRATIONS", "READ", "SqliteStore"]

_HERE: Final = Path(__file__).parent
MIGRATIONS: Final = _HERE / "migrations"
READ: Final = load_queries(_HERE / "sql" / "read.sql")
_WRITE: Final = {**load_queries(_HERE / "sql" / "write.sql"), **STARTING}


class SqliteStore(SqliteStarting):
    """`orchestrator.store.port.Store` in the file at `path`, which serves one shard."""

    def __init__(self, path: Path, shard: str = "0") -> None:
        self._path = path
        self._shard = shard
        self._epoch = 0
        self._run_nums = self._fact_ids = self._outbox_ids = count(1)
        self._lock = StateLock(path)
        self._db = Database(path, MIGRATIONS)

    @property
    def epoch(self) -> int:
        """See the port."""
        return self._epoch

    async def open(self) -> int:
        """See the port."""
        self._lock.acquire()
        try:
            await self._db.open()
            await self._db.write(self._take_over)
        except BaseException:
            await self.close()
            raise
        return self._epoch

    async def close(self) -> None:
        """See the port."""
        try:
            await self._db.close()
        finally:
            self._lock.release()

    def _take_over(self, db: sqlite3.Connection) -> None:
        for (shard,) in db.execute(READ["shards"]):
            if shard != self._shard:
                raise InvalidInput(
                    f"{self._path} holds shard '{shard}', not '{self._shard}'",
                    code="wrong_shard",
                    hint="give each shard a file of its own",
                )
        db.execute(_WRITE["add_shard"], (self._shard,))
        db.execute(_WRITE["raise_epoch"], (self._shard,))
        (self._epoch,) = db.execute(READ["epoch"], (self._shard,)).fetchone()
        run, fact, message = db.execute(READ["highest_ids"]).fetchone()
        self._run_nums, self._fact_ids, self._outbox_ids = count(run + 1), count(fact + 1), count(message + 1)

    def next_outbox_id(self) -> int:
        """See the port."""
        return next(self._outbox_ids)

    # writing

    async def commit(self, batch: Batch) -> None:
        """See the port."""
        changes = self._as_rows(batch)  # before the transaction: it may fail
        await self._db.write(lambda db: self._write(db, changes))

    async def prune_inbox(self, before: Micros, limit: int) -> int:
        """See the port."""
        return await self._db.write(lambda db: self._prune(db, before, limit))

    async def prune_kept(self, before: Micros) -> int:
        """See the port."""
        return await self._db.write(self._prune_kept, before)

    def _write(self, db: sqlite3.Connection, changes: dict[str, list[rows.Row]]) -> None:
        self._check_epoch(db)
        try:
            for query, values in changes.items():
                if query == "change_run":
                    _change_runs(db, values)
                elif query == "remove_signal":
                    _remove_signals(db, values)
                elif values:
                    db.executemany(_WRITE[query], values)
        except sqlite3.IntegrityError as error:
            raise Inconsistent(f"what a batch says contradicts the store: {error}", hint=_FAULT) from error

    def _prune(self, db: sqlite3.Connection, before: Micros, limit: int) -> int:
        self._check_epoch(db)
        return db.execute(_WRITE["prune_inbox"], {"before": before, "limit": limit}).rowcount

    def _prune_kept(self, db: sqlite3.Connection, before: Micros) -> int:
        self._check_epoch(db)
        db.execute(_WRITE["prune_kept"], (before,))
        (left,) = db.execute(READ["count_kept"]).fetchone()
        return int(left)

    def _check_epoch(self, db: sqlite3.Connection) -> None:
        (epoch,) = db.execute(READ["epoch"], (self._shard,)).fetchone()
        if epoch != self._epoch:
            raise EpochLost(
                f"{self._path} is in epoch {epoch}, this coordinator holds {self._epoch}",
                hint="another coordinator has taken over; this one must stop",
            )

    def _as_rows(self, batch: Batch) -> dict[str, list[rows.Row]]:
        """The batch as values for each query, in the order in which they must be written.

        Changes come before new runs: a run that ends makes its key free for one that starts.
        """
        stored_seqs = _stored_seqs(batch)
        started = {run.head.id: batch.changed.get(run.head.id, run) for run in batch.started}
        changed = [run for run_id, run in batch.changed.items() if run_id not in started]
        numbered = [(next(self._run_nums), run) for run in started.values()]
        shard, cursor = self._shard, batch.telemetry_cursor
        return {
            "add_definition": [
                (one.workflow, one.version, one.document, one.at) for one in batch.definitions
            ],
            "set_current_definition": list(batch.current.items()),
            "add_inbox": [rows.inbox_row(shard, record) for record in batch.inbox],
            "change_run": [
                (*rows.run_changes(run), run.head.id, stored_seqs[run.head.id]) for run in changed
            ],
            "add_run": [rows.run_row(num, run) for num, run in numbered],
            "add_head": [rows.head_row(num, run) for num, run in numbered],
            "add_fact": [
                rows.fact_row(next(self._fact_ids), shard, run_id, seq, fact)
                for run_id, seq, fact in batch.facts
            ],
            "add_outbox": [rows.outbox_row(shard, message) for message in batch.outbox],
            "remove_outbox": [(outbox_id,) for outbox_id in batch.sent],
            "set_agent": [rows.agent_row(shard, record) for record in batch.presence.values()],
            "remove_signal": [(signal_id,) for signal_id in batch.signals_done],
            "add_signal": [rows.signal_row(shard, signal) for signal in batch.signals],
            "remove_wait": [key for key, waiting in batch.waits.items() if waiting is None],
            "set_wait": [rows.wait_row(shard, one) for one in batch.waits.values() if one is not None],
            "add_kept": [rows.kept_row(shard, kept) for kept in batch.kept],
            "bound_kept": [(batch.keep_at_most,)] if batch.kept else [],
            **starting_rows(batch.starting, batch.settled, shard),
            "set_telemetry_cursor": [] if cursor is None else [(cursor, shard)],
        }

    # reading

    async def load_runs(self, ids: Iterable[str]) -> dict[str, Run]:
        """See the port."""
        found = await self._each("run", [(run_id,) for run_id in ids])
        return {key[0]: rows.run_of(*row) for key, row in found}

    async def live_keys(self, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
        """See the port."""
        return {key: run_id for key, (run_id,) in await self._each("live_key", list(keys))}

    async def live_retries(self, ids: Iterable[str]) -> dict[str, str]:
        """See the port."""
        found = await self._each("live_retry", [(run_id,) for run_id in ids])
        return {str(old): str(run_id) for (old,), (run_id,) in found}

    async def seen_events(self, events: Iterable[tuple[str, str]]) -> dict[tuple[str, str], InboxRecord]:
        """See the port."""
        return {event: rows.inbox_of(row) for event, row in await self._each("seen_event", list(events))}

    async def unsent(self, after_id: int, limit: int) -> list[OutboxMessage]:
        """See the port."""
        return [rows.outbox_of(row) for row in await self._all("unsent", after_id, limit)]

    async def wakes(self, until: Micros, limit: int) -> list[tuple[str, Micros]]:
        """See the port."""
        return await self._all("wakes", until, limit)

    async def in_motion(self) -> list[str]:
        """See the port."""
        return [run_id for (run_id,) in await self._all("in_motion")]

    async def stranded(self, limit: int) -> list[str]:
        """See the port."""
        return [run_id for (run_id,) in await self._all("stranded", limit)]

    async def signals(self) -> list[StoredSignal]:
        """See the port."""
        return [rows.signal_of(row) for row in await self._all("signals")]

    async def waiting_at(self, places: Iterable[Place]) -> dict[Place, list[WaitingTask]]:
        """See the port."""
        wanted = list(places)
        found = await self._db.read(
            lambda db: [(place, db.execute(READ["waiting_at"], place).fetchall()) for place in wanted]
        )
        return {place: [WaitingTask(*row) for row in some] for place, some in found if some}

    async def kept_at(self, place: Place, since: Micros, after: int, limit: int) -> list[KeptEvent]:
        """See the port."""
        return [rows.kept_of(row) for row in await self._all("kept_at", *place, since, after, limit)]

    async def waits_to_look_up(self) -> list[WaitingTask]:
        """See the port."""
        return [WaitingTask(*row) for row in await self._all("waits_to_look_up")]

    async def definition(self, version: str) -> StoredDefinition | None:
        """See the port."""
        return next((StoredDefinition(*row) for row in await self._all("definition", version)), None)

    async def current_definitions(self) -> list[StoredDefinition]:
        """See the port."""
        return [StoredDefinition(*row) for row in await self._all("current_definitions")]

    async def live_versions(self) -> list[str]:
        """See the port."""
        return [version for (version,) in await self._all("live_versions")]

    async def agents(self) -> list[AgentRecord]:
        """See the port."""
        return [rows.agent_of(row) for row in await self._all("agents")]

    async def telemetry_cursor(self) -> int:
        """See the port."""
        return int((await self._all("telemetry_cursor", self._shard))[0][0])

    async def facts_after(self, fact_id: int, limit: int) -> list[StoredFact]:
        """See the port."""
        found = await self._all("facts_after", fact_id, limit)
        return [
            StoredFact(number, run_id, seq, rows.fact_of(payload)) for number, run_id, seq, payload in found
        ]

    async def _all(self, query: str, *values: Any) -> list[rows.Row]:
        """Every row of one query."""
        return await self._db.read(lambda db: db.execute(READ[query], values).fetchall())

    async def _each(self, query: str, keys: list[rows.Row]) -> list[tuple[rows.Row, rows.Row]]:
        """The row of each key that has one: many look-ups in one round trip."""
        return await self._db.read(
            lambda db: [
                (key, row) for key in keys if (row := db.execute(READ[query], key).fetchone()) is not None
            ]
        )


_FAULT: Final = "this is a fault of Baton's own; nothing was written"


def _change_runs(db: sqlite3.Connection, changes: list[rows.Row]) -> None:
    """Write runs over what their new facts stand on; most keep their status and so their index entries."""
    for change in changes:
        if not (
            db.execute(_WRITE["move_run"], change).rowcount
            or db.execute(_WRITE["change_run"], change).rowcount
        ):
            raise Inconsistent(f"run {change[-2]} is not what the batch takes it to be", hint=_FAULT)


def _remove_signals(db: sqlite3.Connection, ids: list[rows.Row]) -> None:
    """Remove what was delivered; what is not there was delivered before, and must not be once more."""
    if ids and db.executemany(_WRITE["remove_signal"], ids).rowcount != len(ids):
        raise Inconsistent("a signal would be delivered twice", hint=_FAULT)


def _stored_seqs(batch: Batch) -> dict[str, int]:
    """Each run's `seq` before the batch, so that its new facts lead without a gap to the `seq` after it."""
    runs = {**{run.head.id: run for run in batch.started}, **batch.changed}
    added = Counter(run_id for run_id, _, _ in batch.facts)
    if not added.keys() <= runs.keys():
        raise Inconsistent("a batch has facts of a run that it does not write", hint=_FAULT)
    stored = {run_id: run.seq - added[run_id] for run_id, run in runs.items()}
    expected = dict(stored)
    for run_id, seq, _ in batch.facts:
        expected[run_id] += 1
        if seq != expected[run_id]:
            raise Inconsistent(
                f"run {run_id} would have fact {seq} where {expected[run_id]} belongs", hint=_FAULT
            )
    if any(stored[run.head.id] for run in batch.started):
        raise Inconsistent("a run would start with part of its history missing", hint=_FAULT)
    return stored

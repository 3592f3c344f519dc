"""The part of the store on SQLite that is about when runs start (`orchestrator.store.starting`)."""

import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from msgspec import Struct, json

from orchestrator.core.model import ParentRef
from orchestrator.store.records import InboxRecord
from orchestrator.store.starting import (
    DebouncedEvent,
    GroupMember,
    PaceKey,
    StartingChanges,
    StoredSchedule,
)
from runtime.sqlite import Database, load_queries
from schemas.codec import decode, encode
from schemas.events import Event
from schemas.times import Micros

__all__ = ["STARTING", "SqliteStarting", "starting_rows"]

Row = tuple[Any, ...]

STARTING: Final[Mapping[str, str]] = load_queries(Path(__file__).parent / "sql" / "starting.sql")


class _Above(Struct):
    """What a run's head says of the runs above it."""

    parent: ParentRef | None = None


_above_of = json.Decoder(_Above).decode


class SqliteStarting:
    """`StartingStore`, for `SqliteStore` to inherit."""

    _db: Database

    async def group_members(self) -> list[GroupMember]:
        """See the port."""
        return [
            GroupMember(run_id, group, bool(queued), priority, version, _above(head))
            for run_id, group, queued, priority, version, head in await self._rows("group_members")
        ]

    async def schedules(self) -> list[StoredSchedule]:
        """See the port."""
        return [StoredSchedule(*row) for row in await self._rows("schedules")]

    async def debounced_events(self, keys: Iterable[PaceKey]) -> list[DebouncedEvent]:
        """See the port."""
        return [_debounced(row) for _, row in await self._row_of_each("debounced_event", list(keys))]

    async def due_debounced(self, now: Micros, limit: int) -> list[DebouncedEvent]:
        """See the port."""
        return [_debounced(row) for row in await self._rows("due_debounced", now, limit)]

    async def next_debounced(self) -> Micros | None:
        """See the port."""
        ((at,),) = await self._rows("next_debounced")
        return None if at is None else int(at)

    async def throttled_starts(
        self, keys: Iterable[tuple[PaceKey, Micros]], now: Micros
    ) -> dict[PaceKey, int]:
        """See the port."""
        asked: list[Row] = [(*key, length, now) for key, length in keys]
        found = await self._row_of_each("throttled_starts", asked)
        return {(workflow, number, key): count for (workflow, number, key, *_), (count,) in found}

    async def prune_starts(self, now: Micros, limit: int) -> int:
        """See the port."""
        return await self._db.write(self._prune_starts, now, limit)

    def _check_epoch(self, db: sqlite3.Connection) -> None:
        raise NotImplementedError  # the store's

    def _prune_starts(self, db: sqlite3.Connection, now: Micros, limit: int) -> int:
        self._check_epoch(db)
        return db.execute(STARTING["prune_starts"], (now, limit)).rowcount

    async def _rows(self, query: str, *values: Any) -> list[Row]:
        return await self._db.read(lambda db: db.execute(STARTING[query], values).fetchall())

    async def _row_of_each(self, query: str, keys: list[Row]) -> list[tuple[Row, Row]]:
        return await self._db.read(
            lambda db: [
                (key, row) for key in keys if (row := db.execute(STARTING[query], key).fetchone()) is not None
            ]
        )


def starting_rows(
    changes: StartingChanges, settled: Iterable[InboxRecord], shard: str
) -> dict[str, list[Row]]:
    """The changes, and what else became of events, as values for each query of `STARTING`.

    In the order in which they must be written.
    """
    schedules = [one for some in changes.schedules.values() for one in some]
    debounced = changes.debounced
    return {
        "remove_schedules": [(workflow,) for workflow in changes.schedules],
        "add_schedule": [
            (one.workflow, one.number, shard, one.cron, one.timezone, one.next_at) for one in schedules
        ],
        "remove_debounced_event": [key for key, one in debounced.items() if one is None],
        "set_debounced_event": [_debounced_row(shard, one) for one in debounced.values() if one is not None],
        "add_throttled_start": [
            (one.workflow, one.number, one.key, shard, one.expires_at) for one in changes.starts
        ],
        "settle_event": [
            (one.outcome, one.reason, encode(one.runs).decode(), one.more, one.source, one.id)
            for one in settled
        ],
    }


def _above(head: bytes | None) -> tuple[str, ...]:
    parent = None if head is None else _above_of(head).parent
    return () if parent is None else parent.holders


def _debounced_row(shard: str, one: DebouncedEvent) -> Row:
    when = (one.first_at, one.due_at, one.traceparent)
    return (*one.pace_key, shard, *when, encode(one.input), encode(one.event))


def _debounced(row: Row) -> DebouncedEvent:
    workflow, number, key, first_at, due_at, traceparent, value, event = row
    return DebouncedEvent(
        workflow, number, key, first_at, due_at, decode(value, Any), decode(event, Event), traceparent
    )

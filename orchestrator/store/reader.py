"""Reads the SQLite store beside its writer, for the API and the command line."""

import sqlite3
from collections.abc import Callable, Sequence
from heapq import merge
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeVar

from orchestrator.core.facts import TaskInDoubt
from orchestrator.core.model import Run, RunStatus
from orchestrator.store import rows
from orchestrator.store.port import (
    EVERY_RUN,
    AgentRecord,
    Counts,
    HistoryEntry,
    InboxRecord,
    Page,
    RunFilter,
    RunSummary,
    StoredDefinition,
    VersionSummary,
)
from orchestrator.store.sqlite import MIGRATIONS, READ
from runtime.sqlite import ReadOnlyDatabase
from schemas.errors import InvalidInput

__all__ = ["MAX_PAGE", "SqliteReader"]

MAX_PAGE: Final = 1_000
"""Most items of one page."""

_START: Final = 2**63 - 1

T = TypeVar("T")


class SqliteReader:
    """`orchestrator.store.port.Reader` of the file at `path`."""

    def __init__(self, path: Path) -> None:
        self._db = ReadOnlyDatabase(path, MIGRATIONS)

    async def open(self) -> None:
        """See the port."""
        await self._db.open()

    async def close(self) -> None:
        """See the port."""
        await self._db.close()

    async def runs(
        self, which: RunFilter = EVERY_RUN, *, cursor: str | None = None, limit: int = 100
    ) -> Page[RunSummary]:
        """See the port."""
        before, size = _position(cursor, _START), _size(limit)
        found = await self._db.read(lambda db: _list_runs(db, which, before, size + 1))
        return _page(found, size, _summary)

    async def count_runs(self, which: RunFilter = EVERY_RUN) -> list[tuple[str, RunStatus, int]]:
        """See the port."""
        return await self._db.read(lambda db: _count_selected(db, which))

    async def run(self, run_id: str) -> Run | None:
        """See the port."""
        return next((rows.run_of(*row) for row in await self._all("run", run_id)), None)

    async def doubts(self, run_id: str) -> dict[tuple[str, int], str]:
        """See the port."""
        found = [rows.fact_of(payload) for (payload,) in await self._all("doubts", run_id)]
        facts = [fact for fact in reversed(found) if isinstance(fact, TaskInDoubt)]
        return {(fact.step, fact.host_index): fact.why for fact in facts}

    async def asking(self, *, cursor: str | None = None, limit: int = 100) -> Page[Run]:
        """See the port."""
        before, size = _position(cursor, _START), _size(limit)
        found = await self._all("asking", before, size + 1)
        return _page(found, size, lambda row: rows.run_of(row[1], row[2]))

    async def history(
        self, run_id: str, *, cursor: str | None = None, limit: int = 100
    ) -> Page[HistoryEntry]:
        """See the port."""
        after, size = _position(cursor, 0), _size(limit)
        found = await self._all("history", run_id, after, size + 1)
        return _page(found, size, lambda row: HistoryEntry(row[0], rows.fact_of(row[1])))

    async def definitions(self) -> list[StoredDefinition]:
        """See the port."""
        return [StoredDefinition(*row) for row in await self._all("current_definitions")]

    async def definition(self, workflow: str, version: str | None = None) -> StoredDefinition | None:
        """See the port."""
        found = await (
            self._all("current_definition", workflow) if version is None else self._all("definition", version)
        )
        return next((StoredDefinition(*row) for row in found if row[0] == workflow), None)

    async def versions(self, workflow: str) -> list[VersionSummary]:
        """See the port."""
        found = await self._all("versions", workflow)
        return [VersionSummary(version, at, bool(current), live) for version, at, current, live in found]

    async def agents(self) -> list[AgentRecord]:
        """See the port."""
        return [rows.agent_of(row) for row in await self._all("agents")]

    async def inbox(
        self, outcome: str | None = None, *, cursor: str | None = None, limit: int = 100
    ) -> Page[InboxRecord]:
        """See the port."""
        before, size = _position(cursor, _START), _size(limit)
        found = await (
            self._all("inbox", before, size + 1)
            if outcome is None
            else self._all("inbox_of_outcome", outcome, before, size + 1)
        )
        return _page(found, size, lambda row: rows.inbox_of(row[1:]))

    async def counts(self) -> Counts:
        """See the port."""
        return await self._db.read(_count)

    async def _all(self, query: str, *values: Any) -> list[rows.Row]:
        return await self._db.read(lambda db: db.execute(READ[query], values).fetchall())


def _list_runs(db: sqlite3.Connection, which: RunFilter, before: int, limit: int) -> list[rows.Row]:
    """Rows of the `runs` queries, newest first.

    Several statuses are as many look-ups in the index, merged: each is quick however rare its status is.
    """
    statuses: Sequence[RunStatus] = tuple(dict.fromkeys(which.statuses))
    narrow = {**_narrowing(which), "before": before, "limit": limit}
    if which.parent or which.key:
        narrow["statuses"] = "".join(f" {status} " for status in statuses)
        query = "runs_of_parent" if which.parent else "runs_of_key"
        return db.execute(READ[query], narrow).fetchall()
    if not which.workflow and not statuses:
        return db.execute(READ["runs"], narrow).fetchall()
    query = "runs_of_workflow_status" if which.workflow else "runs_of_status"
    parts = (
        db.execute(READ[query], {**narrow, "status": status}).fetchall() for status in statuses or RunStatus
    )
    return list(islice(merge(*parts, key=lambda row: -row[0]), limit))


def _count_selected(db: sqlite3.Connection, which: RunFilter) -> list[tuple[str, RunStatus, int]]:
    narrow = _narrowing(which)
    return [
        (workflow, status, number)
        for status in dict.fromkeys(which.statuses or RunStatus)
        for workflow, number in db.execute(READ["count_runs_of_status"], {**narrow, "status": status})
    ]


def _narrowing(which: RunFilter) -> dict[str, Any]:
    """The values of a filter, by the names they have in the queries."""
    return {
        "workflow": which.workflow or None,
        "key": which.key or None,
        "version": which.version or None,
        "since": which.since,
        "until": which.until,
        "parent": which.parent or None,
    }


def _summary(row: rows.Row) -> RunSummary:
    _, run_id, workflow, version, key, status, *rest = row
    return RunSummary(run_id, workflow, version, key, RunStatus(status), *rest)


def _count(db: sqlite3.Connection) -> Counts:
    outbox, oldest_outbox_at = db.execute(READ["count_outbox"]).fetchone()
    return Counts(
        runs={RunStatus(status): number for status, number in db.execute(READ["count_runs"])},
        outbox=outbox,
        oldest_outbox_at=oldest_outbox_at,
        oldest_live_at=db.execute(READ["oldest_live"]).fetchone()[0],
        agents=db.execute(READ["count_agents"]).fetchone()[0],
    )


def _page(found: list[rows.Row], size: int, make: Callable[[rows.Row], T]) -> Page[T]:
    """A page of `size` from up to one row more; the first column of a row is its place in the list."""
    more = len(found) > size
    return Page([make(row) for row in found[:size]], str(found[size - 1][0]) if more else None)


def _position(cursor: str | None, default: int) -> int:
    """Where a page begins."""
    if cursor is None:
        return default
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) < len(str(_START))):
        raise InvalidInput(
            f"'{cursor[:40]}' is not a cursor", code="bad_cursor", hint="take `next` from the page before"
        )
    return int(cursor)


def _size(limit: int) -> int:
    if not 1 <= limit <= MAX_PAGE:
        raise InvalidInput(
            f"limit {limit} is not between 1 and {MAX_PAGE}", code="bad_limit", hint="ask page by page"
        )
    return limit

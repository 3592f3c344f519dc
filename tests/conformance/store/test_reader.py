"""What every reader must do beside a store, in the words of `orchestrator/store/port.py`."""

from collections import Counter
from itertools import count

import pytest

from orchestrator.core.facts import TaskInDoubt
from orchestrator.core.model import RunStatus
from orchestrator.store.port import (
    Batch,
    HistoryEntry,
    InboxRecord,
    OutboxMessage,
    Reader,
    RunFilter,
    RunSummary,
    Store,
    StoredDefinition,
    VersionSummary,
)
from schemas.errors import InvalidInput
from tests.support.sagas import NOW, Saga


async def add_runs(store: Store, first: int, number: int) -> list[str]:
    """Store that many runs; every third has ended, every seventh is of another workflow. Newest first."""
    batch = Batch()
    names = []
    for n in range(first, first + number):
        saga = Saga(
            f"r{n:06}", workflow="other" if n % 7 == 0 else "release", key=f"k{n % 50}" if n % 3 == 0 else ""
        )
        saga.start(batch)
        if n % 3 == 0:
            saga.end(batch)
        names.append(saga.id)
    await store.commit(batch)
    return names[::-1]


async def list_runs(reader: Reader, which: RunFilter, limit: int) -> list[str]:
    """All pages together."""
    found: list[str] = []
    cursor = None
    while True:
        page = await reader.runs(which, cursor=cursor, limit=limit)
        assert len(page.items) <= limit
        found += [run.id for run in page.items]
        cursor = page.next
        if cursor is None:
            return found


async def test_paging_through_10_000_runs_while_more_come(store: Store, reader: Reader) -> None:
    """Every run that was there at the first page is listed once, newest first; those added since are not."""
    expected: list[str] = []
    for first in range(0, 10_000, 1_000):
        expected = await add_runs(store, first, 1_000) + expected
    found: list[str] = []
    cursor = None
    for number in count(10_000):
        page = await reader.runs(cursor=cursor, limit=137)
        found += [run.id for run in page.items]
        cursor = page.next
        if cursor is None:
            break
        await add_runs(store, number, 1)
    assert found == expected


@pytest.mark.parametrize(
    "which",
    [
        RunFilter(),
        RunFilter(workflow="other"),
        RunFilter(statuses=[RunStatus.SUCCEEDED]),
        RunFilter(statuses=[RunStatus.RUNNING, RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.RUNNING]),
        RunFilter(workflow="release", statuses=[RunStatus.SUCCEEDED, RunStatus.CANCELLED]),
        RunFilter(key="k3"),
        RunFilter(key="k3", workflow="other"),
        RunFilter(key="k3", statuses=[RunStatus.SUCCEEDED]),
        RunFilter(key="k3", statuses=[RunStatus.RUNNING, RunStatus.FAILED]),
        RunFilter(key="nobody's"),
        RunFilter(workflow="nothing"),
        RunFilter(since=NOW),
        RunFilter(until=NOW),
        RunFilter(workflow="other", since=NOW + 1),
        RunFilter(key="k3", until=NOW + 1),
        RunFilter(statuses=[RunStatus.RUNNING], version="v1"),
        RunFilter(version="v2"),
    ],
)
@pytest.mark.parametrize("limit", [1, 7, 1_000])
async def test_filters(store: Store, reader: Reader, which: RunFilter, limit: int) -> None:
    """A filter leaves out exactly what does not match, whatever the size of a page."""
    await add_runs(store, 0, 200)
    everything = (await reader.runs(limit=1_000)).items
    assert len(everything) == 200
    wanted = [
        run.id
        for run in everything
        if (which.workflow is None or run.workflow == which.workflow)
        and (not which.statuses or run.status in which.statuses)
        and (which.key is None or run.key == which.key)
        and (which.version is None or run.version == which.version)
        and (which.since is None or run.created_at >= which.since)
        and (which.until is None or run.created_at < which.until)
    ]
    assert await list_runs(reader, which, limit) == wanted
    counted = Counter((run.workflow, run.status) for run in everything if run.id in set(wanted))
    assert {(workflow, status): n for workflow, status, n in await reader.count_runs(which)} == counted


async def test_versions(store: Store, reader: Reader) -> None:
    """All versions of one workflow, the latest first: which is current, and how many live runs each has."""
    batch = Batch(current={"release": "v1", "other": "x1"})
    batch.definitions = [
        StoredDefinition(workflow, version, b"{}", NOW + n)
        for n, (workflow, version) in enumerate([("release", "v1"), ("other", "x1"), ("release", "v2")])
    ]
    await store.commit(batch)
    await add_runs(store, 1, 5)
    assert await reader.versions("release") == [
        VersionSummary("v2", NOW + 2, current=False, live_runs=0),
        VersionSummary("v1", NOW, current=True, live_runs=4),
    ]
    assert await reader.versions("nothing") == []


async def test_a_summary_says_what_the_run_says(store: Store, reader: Reader) -> None:
    """The columns of a list are those of the stored run."""
    saga, batch = Saga("r1", key="k"), Batch()
    saga.start(batch)
    saga.add(batch, TaskInDoubt(NOW, "one", 0, "c", "silence"))
    await store.commit(batch)
    (summary,) = (await reader.runs()).items
    head = saga.run.head
    assert summary == RunSummary(
        *("r1", "release", "v1", "k", RunStatus.ATTENTION, "", head.trace.trace_id, NOW, None)
    )
    assert await reader.run("r1") == saga.run
    assert await reader.run("r2") is None


async def test_a_history_is_paged_oldest_first(store: Store, reader: Reader) -> None:
    """All facts of one run, each once, in order; of no run there are none."""
    saga, other, batch = Saga("r1"), Saga("r2"), Batch()
    for one in (saga, other):
        one.start(batch)
    for _ in range(5):
        saga.send(batch)
    saga.end(batch)
    await store.commit(batch)
    found: list[HistoryEntry] = []
    cursor = None
    while True:
        page = await reader.history("r1", cursor=cursor, limit=2)
        found += page.items
        cursor = page.next
        if cursor is None:
            break
    assert found == [HistoryEntry(seq, fact) for seq, fact in enumerate(saga.facts, start=1)]
    assert (await reader.history("r9")).items == []


async def test_the_inbox_is_listed_by_outcome(store: Store, reader: Reader) -> None:
    """Newest first, all of them or those of one outcome."""
    outcomes = ["started", "rejected", "no_trigger", "duplicate", "rejected"]
    records = [InboxRecord("s", str(n), outcome, NOW, reason="why") for n, outcome in enumerate(outcomes)]
    await store.commit(Batch(inbox=records))
    assert (await reader.inbox()).items == records[::-1]
    first = await reader.inbox("rejected", limit=1)
    assert first.items == [records[4]]
    rest = await reader.inbox("rejected", cursor=first.next, limit=1)
    assert (rest.items, rest.next) == ([records[1]], None)


async def test_counts(store: Store, reader: Reader) -> None:
    """Figures for metrics follow what is stored; nothing is not old."""
    counts = await reader.counts()
    assert (counts.runs, counts.outbox, counts.oldest_outbox_at, counts.oldest_live_at) == ({}, 0, None, None)
    await add_runs(store, 0, 9)
    await store.commit(
        Batch(outbox=[OutboxMessage(store.next_outbox_id(), "e", "k", b"", NOW + n) for n in (3, 4)])
    )
    counts = await reader.counts()
    assert counts.runs == {RunStatus.RUNNING: 6, RunStatus.SUCCEEDED: 3}
    assert (counts.outbox, counts.oldest_outbox_at, counts.oldest_live_at) == (2, NOW + 3, NOW)
    assert counts.agents == 0


@pytest.mark.parametrize("cursor", ["", "x", "-1", "1.5", "²", "9" * 40, "1 OR 1=1", "\x00"])
async def test_a_made_up_cursor_is_refused(store: Store, reader: Reader, cursor: str) -> None:
    """What no page gave is refused with a reason, never an internal error."""
    for ask in (reader.runs(cursor=cursor), reader.inbox(cursor=cursor), reader.history("r1", cursor=cursor)):
        with pytest.raises(InvalidInput, match="is not a cursor"):
            await ask


@pytest.mark.parametrize("limit", [-1, 0, 1_001])
async def test_a_page_has_a_limit(store: Store, reader: Reader, limit: int) -> None:
    """A page of nothing or of everything is refused."""
    for ask in (reader.runs(limit=limit), reader.inbox(limit=limit), reader.history("r1", limit=limit)):
        with pytest.raises(InvalidInput, match="limit"):
            await ask

"""A database that an earlier version wrote is opened, brought up to date, and holds what it held."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from orchestrator.core.compiler import compile_definition
from orchestrator.core.evolution import fold
from orchestrator.store.port import Store
from orchestrator.store.sqlite import SqliteStore
from schemas.codec import decode
from schemas.workflow import Workflow
from tests.golden.database import NOW, PLACE, RUNS, contents, dump, load, make


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """The old file, opened by this version."""
    load(tmp_path / "baton.db")
    found = SqliteStore(tmp_path / "baton.db")
    await found.open()
    yield found
    await found.close()


async def test_its_runs_are_what_they_were(store: Store) -> None:
    """Head and state of each, whatever it was waiting for."""
    assert await store.load_runs(RUNS) == {run.head.id: run for run in contents().started}


async def test_its_histories_fold_to_its_runs(store: Store) -> None:
    """In the order of commits, without a gap."""
    facts = await store.facts_after(0, 10_000)
    for run_id, run in (await store.load_runs(RUNS)).items():
        own = [one for one in facts if one.run_id == run_id]
        assert [one.seq for one in own] == list(range(1, run.seq + 1))
        assert fold(run.head, [one.fact for one in own]) == run


async def test_its_documents_compile_to_their_versions(store: Store) -> None:
    """So live runs find what they keep to."""
    for version in {run.version for run in contents().started}:
        stored = await store.definition(version)
        assert stored is not None
        assert compile_definition(decode(stored.document, Workflow)).version == version


async def test_what_was_under_way_between_runs_and_agents_is_still_there(store: Store) -> None:
    """Signals, waits, kept events, messages to send, agents, events taken in, and how far telemetry was."""
    then = contents()
    assert await store.signals() == then.signals
    assert await store.waiting_at([PLACE]) == {PLACE: list(then.waits.values())}
    assert [one.event for one in await store.kept_at(PLACE, NOW, 0, 10)] == [one.event for one in then.kept]
    assert await store.unsent(0, 10) == then.outbox
    assert await store.agents() == list(then.presence.values())
    assert (await store.seen_events([("/shop", "1")]))["/shop", "1"] == then.inbox[0]
    assert await store.telemetry_cursor() == then.telemetry_cursor
    assert {run_id for run_id, _ in await store.wakes(2**62, 100)} >= {"in_doubt", "rollout", "events"}


async def test_a_dump_is_the_database(tmp_path: Path) -> None:
    """What is written down and read again is the same: no row is lost in the text."""
    await make(tmp_path / "new.db")
    text = dump(tmp_path / "new.db")
    assert text.count("INSERT INTO runs ") == len(RUNS)
    assert text.count("INSERT INTO history ") == len(contents().facts)

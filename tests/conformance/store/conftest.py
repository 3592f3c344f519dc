"""The stores that the suite runs on. A new store is one more way to make one here."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from orchestrator.store.port import Reader, Store
from orchestrator.store.reader import SqliteReader
from orchestrator.store.sqlite import SqliteStore


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """An empty store, open."""
    store = SqliteStore(tmp_path / "baton.db")
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def reader(store: Store, tmp_path: Path) -> AsyncIterator[Reader]:
    """Reads what `store` has committed."""
    reader = SqliteReader(tmp_path / "baton.db")
    await reader.open()
    yield reader
    await reader.close()

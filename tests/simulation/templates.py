"""Databases that were migrated before: to migrate one anew in each seed would take a fifth of the time."""

import asyncio
import tempfile
from functools import cache
from pathlib import Path

import agents.journal
import runtime.sqlite
from agents.journal import APPLICATION_ID
from orchestrator.store.sqlite import MIGRATIONS
from runtime.sqlite import Database

__all__ = ["empty_database", "empty_journal"]


@cache
def empty_database() -> bytes:
    """A coordinator's database that has had every migration, and nothing more.

    Made at the first call, which no event loop may surround.
    """
    return _migrated(MIGRATIONS, runtime.sqlite.APPLICATION_ID)


@cache
def empty_journal() -> bytes:
    """The same with an agent's journal."""
    return _migrated(Path(agents.journal.__file__).parent / "migrations", APPLICATION_ID)


def _migrated(migrations: Path, application_id: int) -> bytes:
    with tempfile.TemporaryDirectory(prefix="baton-sim-") as directory:
        path = Path(directory) / "template.db"
        asyncio.run(_open_and_close(Database(path, migrations, application_id=application_id)))
        return path.read_bytes()


async def _open_and_close(database: Database) -> None:
    await database.open()
    await database.close()

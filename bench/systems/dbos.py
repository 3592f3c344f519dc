"""DBOS: workflows of three steps, in one process with its system database on SQLite. It needs no broker."""

import sqlite3
from contextlib import closing

from dbos import DBOS

from bench.driver import STEPS, serve
from bench.place import Place
from bench.processes import Server

__all__ = ["SETTINGS", "queues", "servers"]

SETTINGS = "one process, its default threads, SQLite system database"


def servers(_: Place) -> list[Server]:
    """None: DBOS is a library, the driver's process is the system."""
    return []


def queues(_: Place) -> list[str]:
    """None."""
    return []


def _nothing() -> None:
    """Do nothing."""


def _saga() -> None:
    """Three steps, one after another."""
    for _ in STEPS:
        nothing()


nothing = DBOS.step()(_nothing)
saga = DBOS.workflow()(_saga)


class DbosDriver:
    """Starts workflows where they run."""

    def __init__(self, place: Place) -> None:
        self._database = place.directory / "dbos.db"
        self._started = 0

    async def open(self) -> None:
        """Make the database."""
        url = f"sqlite:///{self._database}"
        DBOS(config={"name": "bench", "system_database_url": url, "log_level": "WARNING"})
        DBOS.launch()

    async def load(self, count: int) -> None:
        """Start all workflows, then wait for each."""
        self._started += count
        for handle in [DBOS.start_workflow(saga) for _ in range(count)]:
            handle.get_result()

    async def lone(self) -> None:
        """Call one workflow, which returns when it has ended."""
        self._started += 1
        saga()

    async def count(self) -> tuple[int, int]:
        """Workflows that succeeded, and steps recorded."""
        with closing(sqlite3.connect(self._database)) as db:
            (sagas,) = db.execute("SELECT count(*) FROM workflow_status WHERE status = 'SUCCESS'").fetchone()
            (steps,) = db.execute("SELECT count(*) FROM operation_outputs").fetchone()
        return sagas, steps

    async def close(self) -> None:
        """Stop its threads."""
        DBOS.destroy()


if __name__ == "__main__":
    serve(DbosDriver)

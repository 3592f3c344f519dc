"""Celery: a `chain` of three tasks, with one worker and the database result backend on SQLite.

Held to what Baton gives, as far as Celery goes: a quorum queue, persistent and confirmed messages, and tasks
acknowledged after they ran. Everything else is Celery's default, unless it makes Celery faster here.
"""

import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

from celery import Celery, chain

from bench.driver import STEPS, serve, until
from bench.place import Place
from bench.processes import Server

__all__ = ["SETTINGS", "queues", "servers"]

SETTINGS = (
    "prefork with 2 processes, prefetch 32 each, late acks, quorum queue, confirms, SQLite result backend"
)
PROCESSES = 2  # one for each core
PREFETCH = 32
POLL = 0.002  # seconds between two looks for a lone saga's result; Celery's default is 0.5
READY = 60.0  # seconds


def servers(_: Place) -> list[Server]:
    """The worker."""
    return [Server("worker", [sys.executable, "-m", "bench.systems.celery", "worker"], {})]


def queues(place: Place) -> list[str]:
    """The queues that are left on the broker."""
    return [_queue(place)]


def _queue(place: Place) -> str:
    return f"{place.namespace}.celery"


def _database(place: Place) -> Path:
    return place.directory / "results.db"


def make_app() -> Celery:
    """The application, for the worker and the driver alike."""
    place = Place.here()
    app = Celery("bench", broker=place.amqp_url, backend=f"db+sqlite:///{_database(place)}")
    app.conf.update(
        broker_connection_retry_on_startup=True,
        broker_transport_options={"confirm_publish": True},
        task_acks_late=True,
        task_default_queue=_queue(place),
        task_default_queue_type="quorum",
        worker_prefetch_multiplier=PREFETCH,
    )
    app.task(name="bench.nothing")(_nothing)
    return app


def _nothing() -> None:
    """Do nothing."""


def work() -> None:
    """Be the worker."""
    pool = ["--pool", "prefork", "--concurrency", str(PROCESSES)]
    make_app().worker_main(["worker", *pool, "--without-gossip", "--without-mingle", "--loglevel", "WARNING"])


class CeleryDriver:
    """The client that starts chains."""

    def __init__(self, place: Place) -> None:
        self._database = _database(place)
        self._app = make_app()
        self._started = 0

    async def open(self) -> None:
        """The first chain tells that the worker works."""
        await self.lone()

    def _start(self) -> Any:
        nothing = self._app.tasks["bench.nothing"]
        self._started += 1
        return chain(*(nothing.si() for _ in STEPS)).apply_async()

    async def load(self, count: int) -> None:
        """Start all chains, then wait for the last task's result to be stored."""
        for _ in range(count):
            self._start()
        await until(self._all_ended, within=600)

    async def lone(self) -> None:
        """A chain whose end is waited for as a client waits for it."""
        self._start().get(timeout=READY, interval=POLL)

    async def _all_ended(self) -> bool:
        return self._done() >= self._started * len(STEPS)

    def _done(self) -> int:
        with closing(sqlite3.connect(self._database)) as db:
            (number,) = db.execute("SELECT count(*) FROM celery_taskmeta WHERE status = 'SUCCESS'").fetchone()
            return int(number)

    async def count(self) -> tuple[int, int]:
        """Every chain has the three results of its tasks."""
        await until(self._all_ended, within=READY)
        return self._done() // len(STEPS), self._done()

    async def close(self) -> None:
        """Close the client's connections."""
        self._app.close()


if __name__ == "__main__":
    if sys.argv[1:] == ["worker"]:
        work()
    else:
        serve(CeleryDriver)

"""Bugs planted in versions, retries, probes and repetitions, each with the invariant that must see it."""

import sqlite3
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

from msgspec.structs import replace

from agents.probes import Prober
from agents.sdk import Probed
from orchestrator.core import moves, sending
from orchestrator.core.changes import StepChanges
from orchestrator.core.definition import Definition
from orchestrator.core.facts import RunMoved
from orchestrator.definitions import Definitions
from orchestrator.loop import handlers
from orchestrator.starting.retries import Tasks
from orchestrator.store.sqlite import SqliteStore
from tests.simulation.planted import seen_by


@seen_by("a_version_changes_only_by_a_move")
def move_without_a_look() -> Iterator[None]:
    """A run is moved to a version in which something that it has begun is another."""
    with patch.object(moves, "step_changes", lambda old, new: StepChanges((), (), {})):
        yield


@seen_by("what_is_sent_is_of_the_pinned_version")
def follow_the_newest_version() -> Iterator[None]:
    """Runs take the newest version of their workflow, whatever they are pinned to."""
    of = Definitions.of

    def newest(self: Definitions, version: str) -> Definition:
        definition = of(self, version)
        return self.current.get(definition.name, definition)

    with patch.object(Definitions, "of", newest):
        yield


@seen_by("a_run_has_the_steps_of_its_version")
def move_to_the_old_steps() -> Iterator[None]:
    """A run that is moved keeps the steps that it had."""

    def half(*, steps: list[str], **fields: Any) -> Any:
        return RunMoved(steps=steps[:-1], **fields)

    with patch.object(moves, "RunMoved", half):
        yield


@seen_by("pinned_definitions_stay")
def forget_old_versions() -> Iterator[None]:
    """The database keeps the current version of each workflow only."""
    write = SqliteStore._write

    def forgetful(self: SqliteStore, db: sqlite3.Connection, changes: Any) -> None:
        write(self, db, changes)
        db.execute("DELETE FROM definitions WHERE version NOT IN (SELECT version FROM current_definitions)")

    with patch.object(SqliteStore, "_write", forgetful):
        yield


@seen_by("a_retry_keeps_what_was_done")
def keep_what_failed() -> Iterator[None]:
    """A retry keeps every other step of the run before, done or not."""

    def all_but(run: Any, old: Definition, new: Definition, step: str) -> dict[str, Tasks]:
        return {name: tasks for name, tasks in run.steps.items() if name != step}

    with patch.object(handlers, "kept_steps", all_but):
        yield


@seen_by("what_is_said_never_to_have_started_did_not")
def deny_without_a_look() -> Iterator[None]:
    """An agent takes what was lost for never done, and asks no probe."""

    async def denied(self: Prober, lost: Any) -> Probed:
        return Probed.never()

    with patch.object(Prober, "_said", denied):
        yield


@seen_by("idempotent_effects_as_if_once")
def number_the_arguments() -> Iterator[None]:
    """Each attempt asks for something else, so that no action can know that it did that before."""
    command = sending._command

    def numbered(*args: Any) -> Any:
        made = command(*args)
        return replace(made, args={**made.args, "attempt": made.attempt})

    with patch.object(sending, "_command", numbered):
        yield

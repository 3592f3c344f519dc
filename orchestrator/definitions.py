"""Compiled workflow documents: the current one of each workflow, and those that live runs are pinned to."""

import logging
from collections.abc import Iterable
from dataclasses import replace

from orchestrator.awaits import Awaits
from orchestrator.core.compiler import compile_definition
from orchestrator.core.definition import Definition
from orchestrator.store.port import Batch, Store, StoredDefinition
from schemas.codec import decode, encode
from schemas.errors import BatonError, InternalError
from schemas.times import Micros
from schemas.workflow import Workflow

__all__ = ["Definitions", "put_definition", "read_definition", "stored_definition"]

log = logging.getLogger(__name__)


class Definitions:
    """Compiles each version once and keeps it: there are few, and runs come back to them for long."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.current: dict[str, Definition] = {}
        self.by_version: dict[str, Definition] = {}
        self.awaits = Awaits()

    async def load(self) -> None:
        """Read what new runs take."""
        for stored in await self._store.current_definitions():
            if (definition := _compile(stored)) is not None:
                self.make_current(definition)

    async def ensure(self, versions: Iterable[str]) -> None:
        """Have these versions at hand, but for those that cannot be read any more."""
        for version in set(versions) - self.by_version.keys():
            stored = await self._store.definition(version)
            if stored is None:
                log.error("the database lacks definition %s; restore it from a backup", version)
            elif (definition := _compile(stored)) is not None:
                self.keep(definition)

    def of(self, version: str) -> Definition:
        """The definition that a run is pinned to; `InternalError` if it cannot be read."""
        definition = self.by_version.get(version)
        if definition is None:
            raise InternalError(f"definition {version} cannot be read", hint="the log says why")
        return definition

    def make_current(self, definition: Definition) -> None:
        """Let new runs of this workflow take this definition."""
        self.current[definition.name] = definition
        self.keep(definition)

    def keep(self, definition: Definition) -> None:
        """Have a version at hand, for runs that are pinned to it."""
        self.by_version[definition.version] = definition
        self.awaits.add(definition)


def put_definition(batch: Batch, definition: Definition, at: Micros) -> None:
    """Store a definition and make it current, when the batch is committed."""
    batch.definitions.append(stored_definition(definition, at))
    batch.current[definition.name] = definition.version


def stored_definition(definition: Definition, at: Micros) -> StoredDefinition:
    """A definition as the store keeps it."""
    return StoredDefinition(definition.name, definition.version, encode(definition.document), at)


def read_definition(stored: StoredDefinition) -> Definition:
    """A stored definition, ready to run; `InvalidDefinition` if this version of Baton refuses it.

    Its version is the one that it was stored with, by which runs know it, whatever its hash would be today.
    """
    return replace(compile_definition(decode(stored.document, Workflow)), version=stored.version)


def _compile(stored: StoredDefinition) -> Definition | None:
    """The definition; None if this version of Baton refuses it, which must not stop all other workflows."""
    try:
        return read_definition(stored)
    except BatonError as error:
        log.error(  # noqa: TRY400 - a traceback would say nothing more
            "workflow %s, version %s, cannot be read: %s; apply it again, corrected",
            stored.workflow,
            stored.version,
            error.message,
        )
        return None

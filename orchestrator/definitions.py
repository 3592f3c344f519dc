"""Compiled workflow documents: the current one of each workflow, and those that live runs are pinned to."""

from collections.abc import Iterable

from orchestrator.core.compiler import compile_definition
from orchestrator.core.definition import Definition
from orchestrator.store.port import Batch, Store
from orchestrator.store.port import Definition as StoredDefinition
from schemas.codec import decode, encode
from schemas.errors import InternalError
from schemas.times import Micros
from schemas.workflow import Workflow

__all__ = ["Definitions", "put_definition"]


class Definitions:
    """Compiles each version once and keeps it: there are few, and runs come back to them for long."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.current: dict[str, Definition] = {}
        self.by_version: dict[str, Definition] = {}

    async def load(self) -> None:
        """Read what new runs take."""
        for stored in await self._store.current_definitions():
            self.make_current(_compile(stored))

    async def ensure(self, versions: Iterable[str]) -> None:
        """Have these versions at hand; a run is never without its definition."""
        for version in set(versions) - self.by_version.keys():
            stored = await self._store.definition(version)
            if stored is None:
                raise InternalError(
                    f"the database lacks definition {version}", hint="restore it from a backup"
                )
            self.by_version[version] = _compile(stored)

    def make_current(self, definition: Definition) -> None:
        """Let new runs of this workflow take this definition."""
        self.current[definition.name] = definition
        self.by_version[definition.version] = definition


def put_definition(batch: Batch, definition: Definition, at: Micros) -> None:
    """Store a definition and make it current, when the batch is committed."""
    document = encode(definition.document)
    batch.definitions.append(StoredDefinition(definition.name, definition.version, document, at))
    batch.current[definition.name] = definition.version


def _compile(stored: StoredDefinition) -> Definition:
    return compile_definition(decode(stored.document, Workflow))

"""Versions of workflows: by the beginning of their hash, compiled, and compared."""

from functools import lru_cache
from typing import Final

from orchestrator.core.definition import Definition
from orchestrator.definitions import read_definition
from orchestrator.store.port import Reader, StoredDefinition
from schemas.errors import InvalidInput, NotFound

__all__ = ["CURRENT", "compiled", "hash_of", "no_workflow", "version_of"]

CURRENT: Final = "current"
"""What stands for the version that new runs take."""
_WHOLE: Final = 64


async def version_of(reader: Reader, workflow: str, which: str = CURRENT) -> StoredDefinition:
    """A version of a workflow: the `current` one, or by its hash or the beginning of it.

    Raises `NotFound`, and `InvalidInput` when several begin so.
    """
    if which == CURRENT:
        found = await reader.definition(workflow)
        if found is None:
            raise no_workflow(workflow)
        return found
    versions = await reader.versions(workflow)
    if not versions:
        raise no_workflow(workflow)
    fitting = [one.version for one in versions if one.version.startswith(which.lower())] if which else []
    if len(fitting) > 1:
        raise InvalidInput(
            f"{len(fitting)} versions of '{workflow}' begin with {which}", hint="give more of the hash"
        )
    stored = await reader.definition(workflow, fitting[0]) if fitting else None
    if stored is None:
        raise NotFound(
            f"workflow '{workflow}' has no version {which}",
            hint=f"baton workflows versions {workflow} lists them",
        )
    return stored


async def hash_of(reader: Reader, workflow: str | None, which: str | None) -> str | None:
    """The whole hash that a filter means; raises as `version_of`. Without a workflow it must be whole."""
    if which is None or len(which) == _WHOLE:
        return which
    if workflow is None:
        hint = "say which workflow too, or give the whole hash"
        raise InvalidInput(f"version {which} is but the beginning of a hash", hint=hint)
    return (await version_of(reader, workflow, which)).version


@lru_cache(maxsize=8)
def compiled(stored: StoredDefinition) -> Definition:
    """A stored document, ready to run. Takes a while: not for the event loop."""
    return read_definition(stored)


def no_workflow(name: str) -> NotFound:
    """A name of no workflow."""
    return NotFound(
        f"there is no workflow '{name}'", hint="baton workflows list (GET /api/workflows) shows them"
    )

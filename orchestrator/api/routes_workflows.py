"""`/api/workflows`: documents, applied and shown."""

import asyncio

from litestar import get, post, put
from litestar.params import FromPath, FromQuery, RawBody
from msgspec import Struct

from orchestrator.api.bodies import accepts
from orchestrator.api.parts import Parts, TheParts
from orchestrator.api.versions import CURRENT, no_workflow, version_of
from orchestrator.api.views import (
    ItemList,
    VersionView,
    WorkflowItem,
    WorkflowView,
    item_list,
    version_view,
    workflow_item,
    workflow_view,
)
from orchestrator.core.definition import Definition
from orchestrator.document import read_workflow
from orchestrator.loop.intake import ApplyDefinition
from orchestrator.store.port import Page
from schemas.errors import InvalidInput

__all__ = ["HANDLERS"]

_DOCUMENT = accepts(
    {"application/yaml": {"type": "string"}, "application/json": {"type": "object"}},
    "A workflow document, as YAML or JSON text; schemas/json/workflow.schema.json describes it.",
)


class Applied(Struct, frozen=True):
    """The workflow and the version that new runs take. `changed` is false when they took it before."""

    workflow: str
    version: str
    changed: bool


@get("/api/workflows", operation_id="listWorkflows", summary="Workflows and their current versions, by name")
async def list_workflows(parts: TheParts) -> ItemList[WorkflowItem]:
    """By name; all on one page."""
    definitions = await parts.reader.definitions()
    return item_list(Page(definitions), [workflow_item(definition) for definition in definitions])


@get("/api/workflows/{name:str}", operation_id="showWorkflow", summary="A workflow with its document")
async def show_workflow(
    parts: TheParts, name: FromPath[str], version: FromQuery[str | None] = None
) -> WorkflowView:
    """The current version, or the one whose content hash begins with `version`."""
    return workflow_view(await version_of(parts.reader, name, CURRENT if version is None else version))


@get("/api/workflows/{name:str}/versions", operation_id="listVersions", summary="A workflow's versions")
async def list_versions(parts: TheParts, name: FromPath[str]) -> ItemList[VersionView]:
    """The latest first; all on one page."""
    versions = await parts.reader.versions(name)
    if not versions:
        raise no_workflow(name)
    return item_list(Page(versions), [version_view(version) for version in versions])


@post(
    "/api/workflows",
    operation_id="applyWorkflow",
    summary="Check a document and let new runs take it; 422 with everything that is wrong with it",
    status_code=200,
    operation_class=_DOCUMENT,
)
async def apply_workflow(
    parts: TheParts,
    body: RawBody,
    file: FromQuery[str] = "document",
    dry_run: FromQuery[bool] = False,  # noqa: FBT002
) -> Applied:
    """`file` is what diagnostics call the document; with `dry_run` nothing is stored."""
    return await _apply(parts, await _read(body, file), dry_run=dry_run)


@put(
    "/api/workflows/{name:str}",
    operation_id="putWorkflow",
    summary="As POST /api/workflows, for the workflow of this name only",
    operation_class=_DOCUMENT,
)
async def put_workflow(
    parts: TheParts,
    name: FromPath[str],
    body: RawBody,
    file: FromQuery[str] = "document",
    dry_run: FromQuery[bool] = False,  # noqa: FBT002
) -> Applied:
    """400 when the document is of another workflow."""
    definition = await _read(body, file)
    if definition.name != name:
        raise InvalidInput(
            f"the document is of the workflow '{definition.name}', not '{name}'",
            hint="PUT it under its own name",
        )
    return await _apply(parts, definition, dry_run=dry_run)


async def _read(body: bytes, file: str) -> Definition:
    """The document, checked off the event loop: a large one takes a while."""
    return await asyncio.to_thread(read_workflow, body, file)


async def _apply(parts: Parts, definition: Definition, *, dry_run: bool) -> Applied:
    before = await parts.reader.definition(definition.name)
    changed = before is None or before.version != definition.version
    if changed and not dry_run:
        await parts.ask(ApplyDefinition(definition))
    return Applied(definition.name, definition.version, changed)


HANDLERS = (list_workflows, show_workflow, list_versions, apply_workflow, put_workflow)

"""Puts the handlers together into one ASGI application."""

from importlib.metadata import PackageNotFoundError, version
from typing import Any, cast

from litestar import Litestar, Request
from litestar.di import Provide
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme
from litestar.types import ASGIApp

from orchestrator.api import (
    routes_approvals,
    routes_bulk,
    routes_dead,
    routes_events,
    routes_runs,
    routes_steer,
    routes_system,
    routes_workflows,
)
from orchestrator.api.errors import error_response
from orchestrator.api.guard import Guard
from orchestrator.api.parts import Parts
from schemas.codec import decode_json

__all__ = ["create_api"]


class StrictRequest(Request[Any, Any, Any]):
    """A request whose JSON is read with the limits that hold for every message."""

    async def json(self) -> Any:
        """The body as JSON; raises `Malformed`."""
        return decode_json(await self.body())


def create_api(parts: Parts) -> ASGIApp:
    """The whole API, guarded, as an ASGI application."""
    app = Litestar(
        route_handlers=[
            *routes_events.HANDLERS,
            *routes_workflows.HANDLERS,
            *routes_runs.HANDLERS,
            *routes_steer.HANDLERS,
            *routes_bulk.HANDLERS,
            *routes_approvals.HANDLERS,
            *routes_dead.HANDLERS,
            *routes_system.HANDLERS,
        ],
        dependencies={"parts": Provide(lambda: parts, sync_to_thread=False)},
        exception_handlers={Exception: error_response},
        request_class=StrictRequest,
        request_max_body_size=None,  # the guard holds the limit
        openapi_config=_openapi(guarded=bool(parts.settings.token)),
        logging_config=None,
        debug=False,
    )
    return Guard(cast("ASGIApp", app), parts.settings.token)


def _openapi(*, guarded: bool) -> OpenAPIConfig:
    """OpenAPI as plain JSON: a page that draws it would load scripts from elsewhere."""
    scheme = SecurityScheme(type="http", scheme="bearer", description="the coordinator's BATON_TOKEN")
    return OpenAPIConfig(
        title="Baton",
        version=_version(),
        path="/schema",
        summary="Starts, shows and steers workflow runs.",
        render_plugins=[JsonRenderPlugin(path=["/", "/openapi.json"])],
        components=Components(security_schemes={"token": scheme}) if guarded else Components(),
        security=[{"token": []}] if guarded else None,
    )


def _version() -> str:
    try:
        return version("baton-orchestrator")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "0"

"""Says in the OpenAPI document what a handler that reads the raw body takes."""

from dataclasses import dataclass
from typing import Any, cast

from litestar.openapi.spec import OpenAPIMediaType, Operation, RequestBody, Schema

__all__ = ["accepts"]


def accepts(content: dict[str, dict[str, Any]], description: str) -> type[Operation]:
    """An operation with this request body: media types with their JSON Schemas."""
    media = {name: OpenAPIMediaType(schema=cast("Schema", schema)) for name, schema in content.items()}

    @dataclass
    class WithBody(Operation):
        def __post_init__(self) -> None:
            self.request_body = RequestBody(content=media, description=description, required=True)

    return WithBody

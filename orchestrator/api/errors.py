"""Every error as `{"error": {code, message, hint, details}}`; no traceback ever leaves the process."""

import logging
from typing import Any, Final

from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException

from schemas.errors import BatonError, Conflict, InvalidInput, NotFound, PeerError, Unreachable

__all__ = ["STATUS_OF_CODE", "error_response", "status_of"]

log = logging.getLogger("baton.api")

STATUS_OF_CODE: Final = {
    "too_large": 413,
    "invalid_workflow": 422,
    "not_a_workflow": 422,
    "stopping": 503,
    "internal_error": 500,
}
"""Codes whose HTTP status says more than that of their kind of error."""

_STATUS_OF_KIND: Final[tuple[tuple[type[BatonError], int], ...]] = (
    (NotFound, 404),
    (Conflict, 409),
    (InvalidInput, 400),
    (Unreachable, 503),
    (PeerError, 502),
)

_CODES: Final = {
    400: "invalid",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    413: "too_large",
    415: "unsupported_media_type",
}


def status_of(error: BatonError) -> int:
    """The HTTP status of one of our errors."""
    if error.code in STATUS_OF_CODE:
        return STATUS_OF_CODE[error.code]
    return next((status for kind, status in _STATUS_OF_KIND if isinstance(error, kind)), 500)


def error_response(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """The answer to whatever was raised while a request was handled."""
    if isinstance(error, BatonError):
        status = status_of(error)
        if status == 500:  # noqa: PLR2004  the status says it
            log.error("%s %s: %s", request.method, request.url.path, error.message)
        return _respond(status, error.as_json())
    if isinstance(error, HTTPException):
        return _http(request, error)
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return _respond(
        500,
        {
            "code": "internal",
            "message": "Baton failed to handle this request",
            "hint": "the coordinator's log has the details",
            "details": None,
        },
    )


def _http(request: Request[Any, Any, Any], error: HTTPException) -> Response[Any]:
    """The framework's own refusals, in our words."""
    status = error.status_code
    message, hint, details = error.detail, "", None
    if isinstance(error, ValidationException):
        details = error.extra or None
        wrong = [f"{item.get('key', '')}: {item.get('message', '')}" for item in _items(details)]
        message = "; ".join(wrong) or error.detail
        hint = "GET /schema describes every request"
    elif status == 404:  # noqa: PLR2004
        message, hint = f"there is nothing at {request.url.path}", "GET /schema lists what there is"
    elif status == 405:  # noqa: PLR2004
        message = f"{request.method} is not for {request.url.path}"
        hint = "GET /schema lists what there is"
    body = {"code": _CODES.get(status, "error"), "message": message, "hint": hint, "details": details}
    return _respond(status, body, dict(error.headers or {}))


def _items(details: Any) -> list[dict[str, Any]]:
    return [item for item in details if isinstance(item, dict)] if isinstance(details, list) else []


def _respond(status: int, error: dict[str, Any], headers: dict[str, str] | None = None) -> Response[Any]:
    return Response({"error": error}, status_code=status, headers=headers, media_type="application/json")

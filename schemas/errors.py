"""The one exception root. Blame is in the type; every error says what to do next."""

from typing import Any

__all__ = ["BatonError", "Conflict", "InternalError", "InvalidInput", "NotFound", "PeerError", "Unreachable"]


class BatonError(Exception):
    """Root of every error that Baton raises on purpose.

    `code` is a stable machine-readable word (`snake_case`), `message` says what was wrong, `hint` what to
    do next, and `details` holds JSON data. The API answers with exactly these four (`docs/api.md`).
    """

    code = "error"

    def __init__(self, message: str, *, code: str | None = None, hint: str = "", details: Any = None) -> None:
        super().__init__(message)
        self.code = code or type(self).code
        self.message = message
        self.hint = hint
        self.details = details

    def as_json(self) -> dict[str, Any]:
        """The shape of an error in the API: `{code, message, hint, details}`."""
        return {"code": self.code, "message": self.message, "hint": self.hint, "details": self.details}


class InvalidInput(BatonError):
    """The user or the sender gave something that cannot be accepted."""

    code = "invalid"


class NotFound(BatonError):
    """What was asked for does not exist."""

    code = "not_found"


class Conflict(BatonError):
    """What was asked for does not go together with how things stand."""

    code = "conflict"


class PeerError(BatonError):
    """Something on the other side of a connection broke its contract."""

    code = "peer_error"


class Unreachable(BatonError):
    """A part that is needed cannot be reached."""

    code = "unreachable"


class InternalError(BatonError):
    """A fault of Baton's own."""

    code = "internal"

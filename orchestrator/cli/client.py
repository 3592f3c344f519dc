"""The API as the command line sees it: one call, one answer, every failure a `BatonError`."""

import json
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

from schemas.errors import BatonError, Conflict, InvalidInput, NotFound, PeerError, Unreachable

__all__ = ["ApiClient", "segment"]

CALL_SECONDS: Final = 35.0
"""How long one call may take: a little longer than the API waits for the coordinator's loop."""

_KINDS: Final[dict[int, type[BatonError]]] = {
    404: NotFound,
    409: Conflict,
    502: PeerError,
    503: Unreachable,
}


def segment(name: str) -> str:
    """`name` as one segment of a path."""
    return quote(name, safe="")


class ApiClient:
    """Talks to the API at `url`, by the standard library: it starts fast, and obeys no proxy settings."""

    def __init__(self, url: str, token: str = "") -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InvalidInput(f"'{url}' is no URL of an API", code="bad_url", hint="http://127.0.0.1:8040")
        self._url = url.rstrip("/")
        self._secure = parts.scheme == "https"
        self._host, self._port, self._base = parts.hostname, parts.port, parts.path.rstrip("/")
        self._token = token

    def get(self, path: str, **query: Any) -> Any:
        """The answer to GET; a query parameter that is None is left out, a list is repeated."""
        return self.call("GET", path, query=query)

    def post(self, path: str, value: Any = None, **query: Any) -> Any:
        """The answer to POST with a JSON body."""
        body = None if value is None else json.dumps(value).encode()
        return self.call("POST", path, body=body, query=query)

    def call(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        content_type: str = "application/json",
        query: dict[str, Any] | None = None,
    ) -> Any:
        """One request; raises what the API says is wrong, `Unreachable` when nobody answers."""
        given = {name: value for name, value in (query or {}).items() if value is not None}
        target = f"{self._base}{path}" + (f"?{urlencode(given, doseq=True)}" if given else "")
        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = content_type
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        status, answer, _ = self._exchange(method, target, body, headers)
        return self._read(status, answer)

    def date(self) -> str:
        """The clock of the machine that answers, as HTTP's `Date` header; empty when it does not say."""
        return self._exchange("GET", f"{self._base}/health/live", None, {})[2]

    def _exchange(
        self, method: str, target: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[int, bytes, str]:
        """Status, body and date of one answer."""
        import http.client

        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=CALL_SECONDS)
        try:
            connection.request(method, target, body=body, headers=headers)
            response = connection.getresponse()
            return response.status, response.read(), response.getheader("Date", "")
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(
                f"cannot reach Baton at {self._url}: {str(error) or type(error).__name__}",
                hint="is the coordinator running (baton up)? --url or BATON_URL says where it is",
            ) from None
        finally:
            connection.close()

    def _read(self, status: int, answer: bytes) -> Any:
        """The answer's JSON; an error becomes an exception."""
        try:
            value = json.loads(answer)
        except ValueError:
            value = None
        if status < 400 and value is not None:  # noqa: PLR2004  where HTTP's errors begin
            return value
        if isinstance(value, dict) and isinstance(value.get("error"), dict):
            error = value["error"]
            raise _KINDS.get(status, InvalidInput)(
                str(error.get("message", "")),
                code=str(error.get("code", "error")),
                hint=str(error.get("hint", "")),
                details=error.get("details"),
            )
        raise PeerError(
            f"what answers at {self._url} is not Baton (HTTP {status})",
            hint="--url or BATON_URL says where it is",
        )

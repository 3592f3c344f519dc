"""The options that every command has which talks to the API."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NoReturn

from cyclopts import Parameter

from orchestrator.cli.client import ApiClient
from schemas.errors import InvalidInput

__all__ = ["Json", "Remote", "UsageError", "data_argument", "person", "remote_of"]

Json = Annotated[bool, Parameter(name="--json", negative="", help="print JSON")]


class UsageError(InvalidInput):
    """The command line itself makes no sense (exit code 2)."""

    code = "usage"


@Parameter(name="*")
@dataclass(frozen=True)
class Remote:
    """Where the API is, and how to show its answers."""

    url: Annotated[str | None, Parameter(help="the API (BATON_URL; default http://127.0.0.1:8040)")] = None
    token: Annotated[str | None, Parameter(help="its token (BATON_TOKEN)")] = None
    json: Annotated[bool, Parameter(negative="", help="print what the API gives")] = False

    def client(self) -> ApiClient:
        """A client for the API that these options and the settings name."""
        from orchestrator.settings import load_settings

        settings = load_settings({"url": self.url, "token": self.token})
        return ApiClient(settings.url, settings.token)


def remote_of(given: Remote | None) -> Remote:
    """The options as given, or all defaults."""
    return given or Remote()


def data_argument(text: str | None, option: str) -> Any:
    """JSON from the command line, from a file as `@file`, or from stdin as `@-`; None when absent."""
    if text is None:
        return None
    if text.startswith("@"):
        text = _read(text[1:], option)
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"{option} is not JSON: {error}", hint=f'{option} \'{{"name": "value"}}\', or {option} @file.json'
        ) from None


def person() -> str:
    """Who is at the keyboard, for the history."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name
        return "cli"


def _read(name: str, option: str) -> str:
    try:
        return sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{option}: cannot read {name}: {error}") from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")

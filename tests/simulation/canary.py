"""Secrets that nothing may ever show, and how they are found again however they were written."""

from base64 import b64encode
from collections.abc import Iterable

from agents.processes import SECRET_PREFIX
from agents.secrets import Secrets

__all__ = ["PASSWORD", "TOKEN", "agent_secrets", "shows"]

PASSWORD = "canary-password-7e1b"
"""Stands for what the coordinator is given: it is in the broker's address."""

TOKEN = 'canary-token 93"d2/\u00e4'
"""The secret `token` of every agent, with characters that JSON, URLs and Python write in other ways."""

_SIGNS = (PASSWORD.encode(), b"canary-token", b64encode(TOKEN.encode())[:12])
"""The value's beginning looks the same in all of them, but for base64."""


def agent_secrets() -> Secrets:
    """Where an agent's process finds its secrets."""
    return Secrets(environ={f"{SECRET_PREFIX}TOKEN": TOKEN})


def shows(data: bytes | str | Iterable[str]) -> bool:
    """Whether a secret, or a part of one, is in it."""
    if isinstance(data, str):
        data = data.encode()
    if isinstance(data, bytes):
        return any(sign in data for sign in _SIGNS)
    return any(shows(text) for text in data)

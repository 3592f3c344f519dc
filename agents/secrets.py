"""The secrets that an agent knows by name: files of a directory, else variables of its environment.

They are read anew for every command, so that a rotated secret needs no restart, and kept in memory only.
"""

import errno
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from agents.processes import SECRET_PREFIX
from agents.redaction import PLAIN, Redactor
from schemas.errors import InvalidInput
from schemas.messages import Command
from schemas.names import check_name
from schemas.secrets import fill

__all__ = ["NoSecret", "Secrets"]

MAX_SECRET_BYTES: Final = 64 * 1024
_FOLDED: Final = str.maketrans("-.", "__")


class NoSecret(InvalidInput):
    """A secret that this agent does not have, or cannot use. Says which, never what it is."""

    code = "no_secret"


class Secrets:
    """Where an agent finds secrets: in `directory`, one file each, and in `environ`."""

    def __init__(self, directory: Path | None = None, environ: Mapping[str, str] = os.environ) -> None:
        self._directory = directory
        self._environ = environ
        self._used: dict[str, Redactor] = {}

    def resolve(self, command: Command) -> tuple[dict[str, Any], Redactor]:
        """The command's arguments with its secrets in them, and what keeps their values from getting out.

        Raises `NoSecret`, and `InvalidInput` for a reference that leads nowhere.
        """
        if not command.secrets:
            return command.args, PLAIN
        values: dict[str, str] = {}

        def value_of(name: str) -> str:
            if name not in values:
                value = values[name] = self._value(name)
                self._used[name] = Redactor([value])
            return values[name]

        args = fill(command.args, command.secrets, value_of)
        return args, Redactor(values.values())

    def hide(self, text: str) -> str:
        """`text` without any value that was used, for the agent's own log."""
        for redactor in tuple(self._used.values()):
            text = redactor.text(text)
        return text

    def _value(self, name: str) -> str:
        check_name(name, "name of a secret")  # it becomes the name of a file
        raw = self._in_directory(name)
        if raw is None:
            variable = SECRET_PREFIX + name.upper().translate(_FOLDED)
            value = self._environ.get(variable)
            if value is None:
                raise _no(name, "this agent does not have it", f"give it a file '{name}', or {variable}")
            raw = value.encode("utf-8", "surrogateescape")
        if len(raw) > MAX_SECRET_BYTES:
            raise _no(name, f"it is larger than {MAX_SECRET_BYTES} bytes", "let the action read it itself")
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            raise _no(name, "it is not UTF-8 text", "store it as text, for example in base64") from None
        text = text.removesuffix("\n").removesuffix("\r")
        if not text:
            raise _no(name, "it is empty", "put the value into it")
        return text

    def _in_directory(self, name: str) -> bytes | None:
        """What the secret's file holds, at most a byte more than is allowed; None where there is none."""
        if self._directory is None:
            return None
        try:
            return _plain_file(self._directory / name)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _no(name, f"its file: {error.strerror}", "let the agent's user read it") from None


def _plain_file(path: Path) -> bytes:
    """What a file holds, at most a byte more than is allowed. Never waits for the other end of a pipe."""
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise OSError(errno.EINVAL, "it is not a plain file")
        with os.fdopen(file, "rb", closefd=False) as stream:
            return stream.read(MAX_SECRET_BYTES + 1)
    finally:
        os.close(file)


def _no(name: str, why: str, hint: str) -> NoSecret:
    return NoSecret(f"secret '{name}': {why}", hint=hint)

"""One process for one state: a lock on a file beside it."""

import fcntl
import os
from pathlib import Path

from schemas.errors import Conflict, Unreachable

__all__ = ["StateLock"]


class StateLock:
    """A lock on `<path>.lock`, held from `acquire` to `release` or to the process's end, however that comes.

    The file holds the owner's process id and is never removed: removing it would let two owners in.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(path.name + ".lock")
        self._state = path
        self._file: int | None = None

    def acquire(self) -> None:
        """Take the lock, or raise `Conflict` naming the process that has it."""
        try:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise Unreachable(
                f"cannot use {self._path}: {error.strerror}",
                code="storage_failure",
                hint="check that the directory exists and that this user may write there",
            ) from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(file, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(file)
            raise Conflict(
                f"{self._state} is in use by process {owner}",
                code="state_locked",
                hint=f"stop process {owner}, or give this one another path",
                details={"pid": owner},
            ) from None
        os.ftruncate(file, 0)
        os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        self._file = file

    def release(self) -> None:
        """Let go of the lock; does nothing if it is not held."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)

"""`file.write` and `file.remove`."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from msgspec import Struct

from agents.arguments import absolute, octal
from agents.context import Context
from agents.sdk import ActionError, Agent

__all__ = ["Removed", "Written", "agent", "part_of", "replacing", "sync_directory"]

agent = Agent()

_MIN_DEPTH: Final = 3
"""A recursive removal needs a path of at least two names below `/`: `/srv` as a whole is surely a mistake."""


class Written(Struct, frozen=True):
    """The file as it now is; `bytes` is its size."""

    path: str
    bytes: int
    sha256: str


class Removed(Struct, frozen=True):
    """`removed` is false if there was nothing."""

    path: str
    removed: bool


@agent.action("file.write", idempotent=True)
def write(ctx: Context, path: str, content: str, mode: str = "0644") -> Written:
    """Write a text file whole: to a temporary file beside it, then renamed over it.

    Whoever reads `path` sees the old content or the new one, never half. Missing directories are made. `mode`
    is octal text. A symbolic link at `path` is replaced, not followed.

    Idempotent: yes. Undo: `file.remove` if the file is new, else `file.write` with what it held before.
    """
    ctx.check()
    target, bits, data = absolute(path, "path"), octal(mode), content.encode()
    with _told(path), replacing(ctx, target, bits) as stream:
        stream.write(data)
    return Written(path, len(data), hashlib.sha256(data).hexdigest())


@agent.action("file.remove", idempotent=True)
def remove(ctx: Context, path: str, *, recursive: bool = False) -> Removed:
    """Remove a file; one that is not there is no error. A symbolic link itself is removed, not what it names.

    A directory is refused with `is_directory` unless `recursive` is true, and then not right below `/`.

    Idempotent: yes. Undo: none; what was removed is gone.
    """
    ctx.check()
    target = absolute(path, "path")
    with _told(path):
        if target.is_dir() and not target.is_symlink():
            _remove_tree(target, allowed=recursive)
            return Removed(path, removed=True)
        try:
            target.unlink()
        except (FileNotFoundError, NotADirectoryError):
            return Removed(path, removed=False)
        sync_directory(target.parent)
    return Removed(path, removed=True)


def _remove_tree(target: Path, *, allowed: bool) -> None:
    if not allowed:
        raise ActionError(
            "is_directory", f"{target} is a directory; say recursive: true to remove it", retryable=False
        )
    if len(target.resolve().parts) < _MIN_DEPTH:
        raise ActionError("refused", f"{target} as a whole is not removed", retryable=False)
    shutil.rmtree(target)
    sync_directory(target.parent)


@contextmanager
def replacing(ctx: Context, target: Path, mode: int) -> Iterator[BinaryIO]:
    """A new file that becomes `target` when the block ends well, and leaves nothing when it does not.

    On disk before it has its name: the file is synced, renamed, and the directory synced.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = part_of(ctx, target)
    part.unlink(missing_ok=True)  # what an agent that was killed here left behind
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "wb") as stream:  # noqa: PTH123 - a descriptor, not a path
            yield stream
            stream.flush()
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    sync_directory(target.parent)


def part_of(ctx: Context, target: Path) -> Path:
    """A name beside `target` to work under, the same for every attempt of a task: repeating cleans up."""
    task = f"{ctx.run_id}/{ctx.step}/{ctx.host_index}"
    return target.with_name(f".{target.name[:200]}.{hashlib.sha256(task.encode()).hexdigest()[:12]}.part")


def sync_directory(directory: Path) -> None:
    """Make renames and removals in `directory` durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _told(path: str) -> Iterator[None]:
    """An operating system's error as one that names the path."""
    try:
        yield
    except OSError as error:
        raise ActionError("file_error", f"{path}: {error.strerror or error}") from None

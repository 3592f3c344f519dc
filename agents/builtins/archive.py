"""`archive.unpack`: tar, tar.gz and zip, from people one need not trust."""

import hashlib
import io
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from gzip import BadGzipFile, GzipFile
from pathlib import Path, PurePosixPath
from typing import IO, Any, BinaryIO, Final, NamedTuple

import msgspec
from msgspec import Struct

from agents.arguments import absolute
from agents.builtins.files import part_of, sync_directory
from agents.context import Context
from agents.limits import MAX_ARCHIVE_HEADER_BYTES, MAX_UNPACKED_BYTES, MAX_UNPACKED_ENTRIES
from agents.sdk import ActionError, Agent

__all__ = ["Unpacked", "agent"]

agent = Agent()

MARKER: Final = ".baton-unpacked"
"""File in an unpacked directory that says from what, so that a repetition knows its own work."""

_CHUNK: Final = 256 * 1024
_BROKEN: Final = (
    tarfile.TarError,
    zipfile.BadZipFile,
    BadGzipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
)


class Unpacked(Struct, frozen=True):
    """The directory, and how many files are in it."""

    path: str
    files: int


class _Marker(Struct, frozen=True):
    sha256: str
    files: int


class _Entry(NamedTuple):
    """One file or directory of an archive; `content` is None for a directory."""

    name: str
    mode: int
    content: IO[bytes] | None


@agent.action("archive.unpack", idempotent=True)
def unpack(ctx: Context, archive: str, to: str) -> Unpacked:
    """Unpack a tar, tar.gz or zip file into the new directory `to`, whole or not at all.

    It is unpacked beside `to` and renamed. If `to` was unpacked from the same archive before, nothing is
    done; any other `to` that is not an empty directory is refused with `exists`. Refused with
    `unsafe_archive`: names that are absolute, climb out or come twice, links, devices, set-user-id and
    set-group-id files, more than 100,000 entries, more than 8 GiB.

    Idempotent: yes. Undo: `file.remove` of `path` with `recursive: true`.
    """
    source, target = absolute(archive, "archive"), absolute(to, "to")
    try:
        digest = _digest(source, ctx)
        done = _done_before(target, digest)
        if done is not None:
            return Unpacked(to, done.files)
        return Unpacked(to, _unpack_beside(ctx, source, target, digest))
    except OSError as error:
        raise ActionError("file_error", f"{error.filename or archive}: {error.strerror or error}") from None


def _done_before(target: Path, digest: str) -> _Marker | None:
    """The marker of the same work done before; None if `target` is free; anything else is refused."""
    if not os.path.lexists(target) or (
        target.is_dir() and not target.is_symlink() and not any(target.iterdir())
    ):
        return None
    try:
        marker = msgspec.json.decode((target / MARKER).read_bytes(), type=_Marker)
    except (OSError, msgspec.DecodeError):
        marker = None
    if marker is None or marker.sha256 != digest:
        raise ActionError("exists", f"{target} exists and holds something else", retryable=False)
    return marker


def _unpack_beside(ctx: Context, source: Path, target: Path, digest: str) -> int:
    """Unpack into a directory beside `target`, then give it its name; leave nothing on failure."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = part_of(ctx, target)
    shutil.rmtree(part, ignore_errors=True)  # what an agent that was killed here left behind
    part.mkdir(mode=0o755)
    try:
        with source.open("rb") as stream:
            files = _extract(ctx, _entries(stream), part)
        (part / MARKER).write_bytes(msgspec.json.encode(_Marker(digest, files)))
        os.sync()  # the marker must not be on disk without what it vouches for
        part.rename(target)
    except _BROKEN as error:
        raise ActionError("bad_archive", f"{source}: {error}", retryable=False) from None
    finally:
        shutil.rmtree(part, ignore_errors=True)  # nothing is left there once it was renamed
    sync_directory(target.parent)
    return files


def _extract(ctx: Context, entries: Iterator[_Entry], root: Path) -> int:
    """Write every entry below `root`, which is ours alone; return the number of files."""
    files = left = 0
    left = MAX_UNPACKED_BYTES
    for count, entry in enumerate(entries):
        ctx.check()
        if count >= MAX_UNPACKED_ENTRIES:
            raise _unsafe(f"more than {MAX_UNPACKED_ENTRIES} entries")
        path = root / _checked_name(entry.name)
        if entry.content is None:
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        left -= _write(ctx, entry, path, left)
        files += 1
    return files


def _write(ctx: Context, entry: _Entry, path: Path, limit: int) -> int:
    """Write one file of at most `limit` bytes; return its size, whatever the archive claimed it to be."""
    assert entry.content is not None  # noqa: S101 - directories were told apart before
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except (FileExistsError, IsADirectoryError):
        raise _unsafe(f"'{entry.name}' comes twice") from None
    size = 0
    with open(descriptor, "wb") as stream:  # noqa: PTH123 - a descriptor, not a path
        while chunk := entry.content.read(_CHUNK):
            ctx.check()
            size += len(chunk)
            if size > limit:
                raise _unsafe(f"more than {MAX_UNPACKED_BYTES} bytes unpacked")
            stream.write(chunk)
        os.fchmod(descriptor, (entry.mode & 0o755) | 0o600)
    return size


def _checked_name(name: str) -> PurePosixPath:
    """The entry's path below the target, or `unsafe_archive`."""
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or "\0" in name or "\\" in name:
        raise _unsafe(f"the path '{name}' leads out of the archive")
    if path.parts and path.parts[0] == MARKER:
        raise _unsafe(f"'{MARKER}' is a name of Baton's own")
    return path


def _unsafe(why: str) -> ActionError:
    return ActionError("unsafe_archive", why, retryable=False)


def _entries(stream: BinaryIO) -> Iterator[_Entry]:
    """The entries of whatever kind of archive it is; its content tells, not its name."""
    magic = stream.read(4)
    stream.seek(0)
    if magic.startswith(b"PK"):
        yield from _zip_entries(stream)
    elif magic.startswith(b"\x1f\x8b"):
        with GzipFile(fileobj=stream) as unzipped:
            yield from _tar_entries(unzipped)
    else:
        yield from _tar_entries(stream)


def _tar_entries(stream: Any) -> Iterator[_Entry]:
    with tarfile.open(fileobj=_Bounded(stream), mode="r:") as tar:
        for member in tar:
            if not (member.isreg() or member.isdir()):
                raise _unsafe(f"'{member.name}' is a link or a device")
            if member.mode & (stat.S_ISUID | stat.S_ISGID):
                raise _unsafe(f"'{member.name}' would run as another user")
            yield _Entry(member.name, member.mode, tar.extractfile(member) if member.isreg() else None)
            tar.members = []  # type: ignore[attr-defined]  # it would keep every header it ever read


def _zip_entries(stream: BinaryIO) -> Iterator[_Entry]:
    with zipfile.ZipFile(stream) as archive:
        for info in archive.infolist():
            mode = info.external_attr >> 16
            if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _unsafe(f"'{info.filename}' is a link or a device")
            if mode & (stat.S_ISUID | stat.S_ISGID):
                raise _unsafe(f"'{info.filename}' would run as another user")
            if info.flag_bits & 1:
                raise ActionError("bad_archive", f"'{info.filename}' is encrypted", retryable=False)
            if info.is_dir():
                yield _Entry(info.filename, mode, None)
                continue
            with archive.open(info) as content:
                yield _Entry(info.filename, mode or 0o644, content)


class _Bounded(io.RawIOBase):
    """A stream that refuses to be read past the unpacked limit, or in pieces that only an attack has."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._limit = MAX_UNPACKED_BYTES + MAX_UNPACKED_ENTRIES * 4 * tarfile.BLOCKSIZE

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= max(MAX_ARCHIVE_HEADER_BYTES, _CHUNK):
            raise _unsafe(f"a header of {size} bytes")
        self._check(self._stream.tell() + size)
        data: bytes = self._stream.read(size)
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_SET:
            self._check(offset)
        position: int = self._stream.seek(offset, whence)
        return position

    def tell(self) -> int:
        position: int = self._stream.tell()
        return position

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def _check(self, position: int) -> None:
        if position > self._limit:
            raise _unsafe(f"more than {MAX_UNPACKED_BYTES} bytes unpacked")


def _digest(path: Path, ctx: Context) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            ctx.check()
            digest.update(chunk)
    return digest.hexdigest()

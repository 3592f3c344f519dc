"""`archive.unpack`, on good archives and on those of attackers."""

import io
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from agents import ActionError, Context
from agents.builtins import archive
from agents.context import Stopped
from tests.support.agents import context, names

Make = Callable[[Path, dict[str, bytes]], Path]


@pytest.fixture
def ctx(tmp_path: Path) -> Context:
    """A context outside any agent."""
    return context(tmp_path)


def make_tar(path: Path, files: dict[str, bytes], mode: str = "w") -> Path:
    """A tar with these files; a name that ends in `/` is a directory."""
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o755
            if name.endswith("/"):
                info.type = tarfile.DIRTYPE
            tar.addfile(info, io.BytesIO(data))
    return path


def make_gz(path: Path, files: dict[str, bytes]) -> Path:
    """The same, compressed."""
    return make_tar(path, files, "w:gz")


def make_zip(path: Path, files: dict[str, bytes]) -> Path:
    """A zip with these files."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in files.items():
            packed.writestr(name, data)
    return path


def special(path: Path, **fields: object) -> Path:
    """A tar with one member that has these fields."""
    with tarfile.open(path, "w") as tar:
        info = tarfile.TarInfo("odd")
        for name, value in fields.items():
            setattr(info, name, value)
        tar.addfile(info)
    return path


def tree(root: Path) -> dict[str, bytes]:
    """The files below `root`, without the marker."""
    found = {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}
    del found[archive.MARKER]
    return found


def refused(ctx: Context, packed: Path, to: Path) -> ActionError:
    """The error with which unpacking is refused for good, having left nothing."""
    before = names(to.parent)
    with pytest.raises(ActionError) as caught:
        archive.unpack(ctx, str(packed), str(to))
    assert names(to.parent) == before
    assert not caught.value.retryable
    return caught.value


FILES = {"app/": b"", "app/run": b"#!/bin/sh\n", "app/data/x": b"x" * 300_000, "README": b""}


@pytest.mark.parametrize("make", [make_tar, make_gz, make_zip])
def test_an_archive_is_unpacked(ctx: Context, tmp_path: Path, make: Make) -> None:
    """All kinds, whatever their name; the number of files is told."""
    packed = make(tmp_path / "release", FILES)
    to = tmp_path / "deep" / "v1"
    assert archive.unpack(ctx, str(packed), str(to)) == archive.Unpacked(str(to), 3)
    assert tree(to) == {name: data for name, data in FILES.items() if not name.endswith("/")}
    assert names(to.parent) == ["v1"]


def test_a_program_stays_executable(ctx: Context, tmp_path: Path) -> None:
    """Permissions are kept as far as they are harmless."""
    archive.unpack(ctx, str(make_tar(tmp_path / "t", FILES)), str(tmp_path / "v1"))
    assert (tmp_path / "v1" / "app" / "run").stat().st_mode & 0o7777 == 0o755


def test_unpacking_again_does_nothing(ctx: Context, tmp_path: Path) -> None:
    """The same archive at the same place gives the same answer and touches nothing."""
    packed, to = make_gz(tmp_path / "t", FILES), tmp_path / "v1"
    first = archive.unpack(ctx, str(packed), str(to))
    (to / "README").write_text("edited since")
    assert archive.unpack(ctx, str(packed), str(to)) == first
    assert (to / "README").read_text() == "edited since"


def test_an_empty_directory_is_filled(ctx: Context, tmp_path: Path) -> None:
    """It may have been made for the purpose."""
    (tmp_path / "v1").mkdir()
    archive.unpack(ctx, str(make_tar(tmp_path / "t", FILES)), str(tmp_path / "v1"))
    assert (tmp_path / "v1" / "README").exists()


def test_what_is_there_is_not_overwritten(ctx: Context, tmp_path: Path) -> None:
    """A directory with something else in it, one from another archive, a file, a link: refused."""
    packed = make_tar(tmp_path / "t", FILES)
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "precious").write_text("x")
    (tmp_path / "f").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path)
    archive.unpack(ctx, str(make_tar(tmp_path / "t2", {"a": b"a"})), str(tmp_path / "other"))
    for name in ("d", "f", "link", "other"):
        assert refused(ctx, packed, tmp_path / name).code == "exists"


@pytest.mark.parametrize("make", [make_tar, make_gz, make_zip])
@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/tmp/evil", "a\\..\\evil", archive.MARKER])
def test_no_path_leads_out(ctx: Context, tmp_path: Path, make: Make, name: str) -> None:
    """Absolute, climbing, or in another system's spelling."""
    error = refused(ctx, make(tmp_path / "t", {"good": b"x", name: b"evil"}), tmp_path / "v1")
    assert error.code == "unsafe_archive"
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize(
    "fields",
    [
        {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"},
        {"type": tarfile.LNKTYPE, "linkname": "good"},
        {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 3},
        {"type": tarfile.BLKTYPE},
        {"type": tarfile.FIFOTYPE},
        {"mode": 0o4755},
        {"mode": 0o2755},
    ],
)
def test_links_devices_and_borrowed_rights_are_refused(
    ctx: Context, tmp_path: Path, fields: dict[str, object]
) -> None:
    """Whatever is not simply a file or a directory."""
    assert refused(ctx, special(tmp_path / "t", **fields), tmp_path / "v1").code == "unsafe_archive"


@pytest.mark.parametrize("mode", [stat.S_IFLNK | 0o777, stat.S_IFCHR | 0o600, stat.S_IFREG | 0o4755])
def test_a_zip_has_its_own_way_of_saying_so(ctx: Context, tmp_path: Path, mode: int) -> None:
    """Links, devices and set-user-id in a zip's Unix attributes."""
    path = tmp_path / "z"
    with zipfile.ZipFile(path, "w") as packed:
        info = zipfile.ZipInfo("odd")
        info.create_system, info.external_attr = 3, mode << 16
        packed.writestr(info, "/etc/passwd")
    assert refused(ctx, path, tmp_path / "v1").code == "unsafe_archive"


def test_a_file_that_comes_twice_is_refused(ctx: Context, tmp_path: Path) -> None:
    """The second could replace what the first was checked for."""
    with tarfile.open(tmp_path / "t", "w") as tar:
        for _ in range(2):
            tar.addfile(tarfile.TarInfo("a"))
    assert refused(ctx, tmp_path / "t", tmp_path / "v1").code == "unsafe_archive"


@pytest.mark.parametrize("make", [make_gz, make_zip])
def test_a_bomb_is_stopped(ctx: Context, tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written counts, not what a header claims."""
    monkeypatch.setattr(archive, "MAX_UNPACKED_BYTES", 100_000)
    packed = make(tmp_path / "bomb", {"a": bytes(60_000), "b": bytes(60_000)})
    assert packed.stat().st_size < 2_000
    assert refused(ctx, packed, tmp_path / "v1").code == "unsafe_archive"


@pytest.mark.parametrize("make", [make_tar, make_zip])
def test_the_number_of_entries_is_bounded(
    ctx: Context, tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A million empty files are an attack too; directories count."""
    monkeypatch.setattr(archive, "MAX_UNPACKED_ENTRIES", 3)
    packed = make(tmp_path / "t", {f"{n}/": b"" for n in range(4)})
    assert refused(ctx, packed, tmp_path / "v1").code == "unsafe_archive"


def test_a_header_is_bounded(ctx: Context, tmp_path: Path) -> None:
    """A name of many megabytes would be read into memory at once."""
    packed = make_gz(tmp_path / "t", {"x" * 3_000_000: b""})
    assert packed.stat().st_size < 20_000
    assert refused(ctx, packed, tmp_path / "v1").code == "unsafe_archive"


@pytest.mark.parametrize("make", [make_tar, make_gz, make_zip])
def test_a_damaged_archive_is_refused(ctx: Context, tmp_path: Path, make: Make) -> None:
    """Cut short or not an archive at all."""
    whole = make(tmp_path / "t", {"a": os.urandom(200_000)})
    whole.write_bytes(whole.read_bytes()[:100_000])
    assert refused(ctx, whole, tmp_path / "v1").code == "bad_archive"
    whole.write_bytes(b"not an archive, but long enough to be looked at" * 100)
    assert refused(ctx, whole, tmp_path / "v1").code == "bad_archive"


def test_a_missing_archive_is_an_error_that_names_it(ctx: Context, tmp_path: Path) -> None:
    """It may yet come: retryable."""
    with pytest.raises(ActionError) as caught:
        archive.unpack(ctx, str(tmp_path / "none"), str(tmp_path / "v1"))
    assert (caught.value.code, caught.value.retryable) == ("file_error", True)
    assert str(tmp_path / "none") in caught.value.message


def test_a_stopped_unpacking_leaves_nothing(
    ctx: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looks for its stop between files and between pieces of them."""
    real = archive._checked_name

    def stop_in_the_middle(name: str) -> object:
        if name == "b":
            ctx.stop()
        return real(name)

    monkeypatch.setattr(archive, "_checked_name", stop_in_the_middle)
    packed = make_tar(tmp_path / "t", {"a": b"a", "b": b"b", "c": b"c"})
    with pytest.raises(Stopped):
        archive.unpack(ctx, str(packed), str(tmp_path / "v1"))
    assert names(tmp_path) == ["t"]

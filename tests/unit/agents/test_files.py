"""`file.write` and `file.remove`."""

import hashlib
from pathlib import Path

import pytest

from agents import ActionError, Context
from agents.builtins import files
from agents.builtins.files import replacing
from agents.context import Stopped
from tests.support.agents import context, names


@pytest.fixture
def ctx(tmp_path: Path) -> Context:
    """A context outside any agent."""
    return context(tmp_path)


def test_a_file_is_written_whole(ctx: Context, tmp_path: Path) -> None:
    """Content, mode, size and digest are right; directories are made; nothing else is left."""
    path = tmp_path / "new" / "dir" / "f"
    written = files.write(ctx, str(path), "grüße\n", "0640")
    data = "grüße\n".encode()
    assert path.read_bytes() == data
    assert path.stat().st_mode & 0o7777 == 0o640
    assert (written.path, written.bytes, written.sha256) == (
        str(path),
        len(data),
        hashlib.sha256(data).hexdigest(),
    )
    assert names(path.parent) == ["f"]


def test_writing_again_gives_the_same(ctx: Context, tmp_path: Path) -> None:
    """It is idempotent: the same answer, the same file."""
    path = str(tmp_path / "f")
    assert files.write(ctx, path, "a") == files.write(ctx, path, "a")


def test_a_link_is_replaced_not_followed(ctx: Context, tmp_path: Path) -> None:
    """What a symbolic link names stays as it is."""
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "link").symlink_to(tmp_path / "precious")
    files.write(ctx, str(tmp_path / "link"), "x")
    assert (tmp_path / "precious").read_text() == "precious"
    assert not (tmp_path / "link").is_symlink()


@pytest.mark.parametrize("path", ["relative", "", "/with\0nul"])
def test_paths_must_be_absolute(ctx: Context, path: str) -> None:
    """A relative path would mean something else wherever the agent is started."""
    for action, more in ((files.write, {"content": "x"}), (files.remove, {})):
        with pytest.raises(ActionError) as caught:
            action(ctx, path, **more)
        assert (caught.value.code, caught.value.retryable) == ("bad_arguments", False)
        assert caught.value.details == {"field": "path"}


@pytest.mark.parametrize("mode", ["rw", "4755", "-1", "644.0", "0o1000"])
def test_modes_are_plain_permissions(ctx: Context, tmp_path: Path, mode: str) -> None:
    """Neither words nor set-user-id."""
    with pytest.raises(ActionError) as caught:
        files.write(ctx, str(tmp_path / "f"), "x", mode)
    assert caught.value.details == {"field": "mode"}
    assert not (tmp_path / "f").exists()


def test_a_failed_write_leaves_nothing(ctx: Context, tmp_path: Path) -> None:
    """Neither a half file nor a temporary one, and the old one is as it was."""
    path = tmp_path / "f"
    path.write_text("old")

    def half() -> None:
        with replacing(ctx, path, 0o644) as stream:
            stream.write(b"new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half()
    assert names(tmp_path) == ["f"]
    assert path.read_text() == "old"


def test_what_a_killed_agent_left_is_cleaned_up(ctx: Context, tmp_path: Path) -> None:
    """The temporary file of an attempt that was killed goes with the next attempt of the same task."""
    path = tmp_path / "f"
    files.part_of(ctx, path).write_text("half")
    files.write(ctx, str(path), "whole")
    assert names(tmp_path) == ["f"]


def test_trouble_is_an_error_that_names_the_path(ctx: Context, tmp_path: Path) -> None:
    """A directory in the way, for one."""
    (tmp_path / "d" / "x").mkdir(parents=True)
    with pytest.raises(ActionError) as caught:
        files.write(ctx, str(tmp_path / "d"), "x")
    assert caught.value.code == "file_error"
    assert str(tmp_path / "d") in caught.value.message
    assert names(tmp_path) == ["d"]


def test_removing_is_done_once_and_may_be_repeated(ctx: Context, tmp_path: Path) -> None:
    """A missing file is no error, nor is a missing directory, nor a file where a directory is expected."""
    path = tmp_path / "f"
    path.write_text("x")
    assert files.remove(ctx, str(path)).removed
    assert not files.remove(ctx, str(path)).removed
    assert not files.remove(ctx, str(tmp_path / "no" / "such")).removed
    path.write_text("x")
    assert not files.remove(ctx, str(path / "below")).removed


def test_a_link_is_removed_not_what_it_names(ctx: Context, tmp_path: Path) -> None:
    """Also when it names a directory, and also with `recursive`."""
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "precious").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "d")
    assert files.remove(ctx, str(tmp_path / "link"), recursive=True).removed
    assert (tmp_path / "d" / "precious").exists()


def test_a_directory_needs_to_be_asked_for(ctx: Context, tmp_path: Path) -> None:
    """Refused for good, unless `recursive`; links inside are not followed."""
    (tmp_path / "precious").write_text("x")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "link").symlink_to(tmp_path)
    with pytest.raises(ActionError) as caught:
        files.remove(ctx, str(tmp_path / "d"))
    assert (caught.value.code, caught.value.retryable) == ("is_directory", False)
    assert files.remove(ctx, str(tmp_path / "d"), recursive=True).removed
    assert names(tmp_path) == ["precious"]


@pytest.mark.parametrize("path", ["/", "/srv", "/usr/..", "/etc/"])
def test_the_system_is_not_removed(ctx: Context, path: str) -> None:
    """A directory right below the root is surely a mistake."""
    with pytest.raises(ActionError) as caught:
        files._remove_tree(Path(path), allowed=True)
    assert caught.value.code == "refused"


def test_a_stopped_action_does_nothing(ctx: Context, tmp_path: Path) -> None:
    """One that was cancelled before its thread began leaves everything as it was."""
    ctx.stop()
    with pytest.raises(Stopped):
        files.write(ctx, str(tmp_path / "f"), "x")
    assert not names(tmp_path)

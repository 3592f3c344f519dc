"""One process for one state."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.lock import StateLock
from schemas.errors import BatonError, Conflict

HOLDER = """
import sys, pathlib
from runtime.lock import StateLock
lock = StateLock(pathlib.Path(sys.argv[1]))
lock.acquire()
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_process_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    """The refusal names the owner's process id; a killed owner leaves nothing to clean up."""
    lock = StateLock(tmp_path / "state.db")
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "state.db")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "held\n"
        with pytest.raises(Conflict, match=str(owner.pid)) as caught:
            lock.acquire()
        assert str(owner.pid) in caught.value.hint
        owner.kill()
    lock.acquire()
    assert (tmp_path / "state.db.lock").read_text() == f"{os.getpid()}\n"
    lock.release()


def test_a_released_lock_can_be_taken_again(tmp_path: Path) -> None:
    """Within a process too there is one owner at a time; releasing twice does no harm."""
    one, two = StateLock(tmp_path / "s"), StateLock(tmp_path / "s")
    one.acquire()
    with pytest.raises(Conflict):
        two.acquire()
    one.release()
    one.release()
    two.acquire()
    two.release()


def test_a_place_that_does_not_exist_is_said(tmp_path: Path) -> None:
    """A missing directory is an error of ours, not a traceback."""
    with pytest.raises(BatonError, match=r"No such file"):
        StateLock(tmp_path / "none" / "s").acquire()

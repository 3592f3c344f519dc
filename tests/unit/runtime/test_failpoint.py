"""Failpoints kill where they are told to, and nowhere else."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from runtime import failpoint

ROOT = Path(failpoint.__file__).parents[1]
NAME = "coordinator.before_commit"
PASS = f"""
from runtime.failpoint import failpoint
for number in range(1, 4):
    print(number, flush=True)
    failpoint({NAME!r})
"""


def run(armed: str) -> subprocess.CompletedProcess[str]:
    """A process that passes the failpoint three times."""
    return subprocess.run(
        [sys.executable, "-c", PASS],
        env={**os.environ, "BATON_FAILPOINT": armed},
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )


@pytest.mark.parametrize(
    ("armed", "passings"),
    [(NAME, 1), (f"{NAME}:1", 1), (f"{NAME}:3", 3), (f"coordinator.at_timer, {NAME}:2", 2)],
)
def test_it_kills_at_the_passing_asked_for(armed: str, passings: int) -> None:
    """SIGKILL at the n-th passing, the first if no number is given."""
    done = run(armed)
    assert done.returncode == -signal.SIGKILL
    assert done.stdout.split() == [str(n) for n in range(1, passings + 1)]


@pytest.mark.parametrize("armed", ["", f"{NAME}:4", "coordinator.at_timer"])
def test_it_does_nothing_otherwise(armed: str) -> None:
    """Unset, not yet reached or meant for another place: the process ends by itself."""
    assert run(armed).returncode == 0


@pytest.mark.parametrize("armed", ["coordinator.befor_commit", f"{NAME}:0", f"{NAME}:x"])
def test_a_typo_is_said_at_the_start(armed: str) -> None:
    """A name that does not exist, or a number that is none, ends the process with a line and no traceback."""
    done = run(armed)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("BATON_FAILPOINT: ")
    assert "Traceback" not in done.stderr


def test_the_registry_names_what_is_in_the_code() -> None:
    """Every failpoint in the code is in `NAMES`, and every name there is in the code."""
    call = re.compile(r'\bfailpoint\(\s*"([^"]+)"')
    used = {
        name
        for package in ("agents", "orchestrator", "runtime")
        for file in (ROOT / package).rglob("*.py")
        for name in call.findall(file.read_text(encoding="utf-8"))
    }
    assert used == failpoint.NAMES

"""The benchmark measures, checks what was done, and leaves nothing behind."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.processes import cpu_seconds, family, rss_bytes

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(180)
def test_a_short_run_gives_a_line_for_each_system(tmp_path: Path) -> None:
    """A second of the floor and of Baton: every figure is there, and every saga was done."""
    lines = tmp_path / "lines.json"
    command = [sys.executable, "-m", "bench", "--only", "baton,floor", "--json", str(lines)]
    done = subprocess.run(
        [*command, "--seconds", "0.5", "--rounds", "1", "--lone", "3"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in lines.read_text().splitlines()]
    assert [line["system"] for line in found] == ["floor", "baton"]
    for line in found:
        assert line["sagas_per_s"] > 0
        assert 0 < line["p50_ms"] <= line["p99_ms"]
        assert line["cpu_us_per_step"] > 0
        assert line["rss_mb"] > 0
        assert line["sagas"] >= 50
    assert "sagas/s" in done.stdout  # the table


def test_a_system_that_is_not_known_is_refused() -> None:
    """A typing mistake does not cost five minutes."""
    command = [sys.executable, "-m", "bench", "--only", "batton"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "batton" in done.stderr


def test_processes_are_weighed_with_their_children() -> None:
    """A child's time and memory count, and what has gone counts as nothing."""
    child = subprocess.Popen(
        [sys.executable, "-c", "sum(range(10**7)); print('ready', flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert child.stdout is not None
        child.stdout.readline()
        assert child.pid in family([os.getpid()])
        assert cpu_seconds([child.pid]) > 0
        assert rss_bytes([child.pid]) > 1_000_000
    finally:
        child.communicate(b"\n")
    assert cpu_seconds([child.pid]) == 0

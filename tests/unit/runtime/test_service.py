"""How a process runs its event loop."""

import asyncio
import sys

import pytest

from runtime.service import run


async def loop_and_answer() -> tuple[str, int]:
    """What a process does."""
    return type(asyncio.get_running_loop()).__module__, 42


def test_a_process_runs_on_uvloop() -> None:
    """`run` gives back what the coroutine returns, and runs it on uvloop."""
    module, answer = run(loop_and_answer())
    assert module.startswith("uvloop")
    assert answer == 42


def test_a_process_runs_without_uvloop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where uvloop is not installed, asyncio's own loop does."""
    monkeypatch.setitem(sys.modules, "uvloop", None)
    module, answer = run(loop_and_answer())
    assert module.startswith("asyncio")
    assert answer == 42

"""Ctrl-C that is not lost: a library may swallow the `KeyboardInterrupt` that is raised in its midst."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["check_interrupt", "interruptible"]

_pressed = threading.Event()


@contextmanager
def interruptible() -> Iterator[None]:
    """Remember that Ctrl-C was pressed, beside raising it as always."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may say what a signal does, and only it is interrupted
        return
    _pressed.clear()
    before = signal.signal(signal.SIGINT, _on_interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def check_interrupt() -> None:
    """Raise `KeyboardInterrupt` if Ctrl-C was pressed; for loops that go on for long."""
    if _pressed.is_set():
        raise KeyboardInterrupt


def _on_interrupt(*_: Any) -> None:
    _pressed.set()
    raise KeyboardInterrupt

"""Ctrl-C ends a command also when somebody swallowed the exception."""

import contextlib
import signal

import pytest

from orchestrator.cli.interrupts import check_interrupt, interruptible


def test_a_swallowed_interrupt_is_raised_again() -> None:
    """At the next look; and what a signal did before is as it was."""
    before = signal.getsignal(signal.SIGINT)
    with interruptible():
        check_interrupt()
        with contextlib.suppress(KeyboardInterrupt):  # as a library does that cleans up with a bare except
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            check_interrupt()
    assert signal.getsignal(signal.SIGINT) is before


def test_an_interrupt_of_before_does_not_count() -> None:
    """Each command begins anew."""
    with interruptible(), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    with interruptible():
        check_interrupt()

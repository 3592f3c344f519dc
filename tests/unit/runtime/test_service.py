"""How a process runs its parts and ends."""

import asyncio
import os
import signal

import pytest

from runtime.service import run, supervise


class Part:
    """A part that runs until it is cancelled, and says so."""

    def __init__(self) -> None:
        self.state = "new"

    async def run(self) -> None:
        """Run."""
        self.state = "running"
        try:
            await asyncio.Event().wait()
        finally:
            self.state = "ended"


async def nothing() -> None:
    """A part that ends at once."""


async def failing() -> None:
    """A part that fails at once."""
    raise ValueError("its fault")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_every_part(number: signal.Signals) -> None:
    """On SIGTERM or SIGINT the parts are cancelled and awaited, and `supervise` returns."""
    part = Part()

    async def ask() -> None:
        os.kill(os.getpid(), number)
        await asyncio.Event().wait()

    run(supervise(part.run(), ask()))
    assert part.state == "ended"


async def test_a_failure_ends_the_others_and_is_raised() -> None:
    """The part that fails takes the others with it."""
    part = Part()
    with pytest.raises(ValueError, match="its fault"):
        await supervise(part.run(), failing())
    assert part.state == "ended"


async def test_a_part_that_ends_ends_the_others() -> None:
    """When one part is done, so is the process."""
    part = Part()
    await supervise(part.run(), nothing())
    assert part.state == "ended"


def test_the_result_is_returned() -> None:
    """`run` gives back what the coroutine returns."""

    async def answer() -> int:
        return 42

    assert run(answer()) == 42

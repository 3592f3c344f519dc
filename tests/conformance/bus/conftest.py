"""The suite runs on each bus there is."""

from collections.abc import AsyncIterator

import pytest

from tests.support.bus import AmqpHarness, Harness, MemoryHarness, delete
from tests.support.proxy import Proxy


@pytest.fixture(params=["memory", "amqp"])
def url(request: pytest.FixtureRequest) -> str | None:
    """The real broker's, which may first have to be started; None for the one in memory."""
    return None if request.param == "memory" else request.getfixturevalue("amqp_url")


@pytest.fixture
async def harness(url: str | None) -> AsyncIterator[Harness]:
    """A broker of each kind."""
    if url is None:
        memory = MemoryHarness()
        yield memory
        await memory.stop()
        return
    async with Proxy(url) as proxy:
        amqp = AmqpHarness(proxy)
        yield amqp
        await amqp.stop()
        await delete(url, amqp.declared)

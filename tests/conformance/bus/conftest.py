"""The suite runs on each bus there is."""

from collections.abc import AsyncIterator

import pytest

from tests.support.bus import AmqpHarness, Harness, MemoryHarness, delete
from tests.support.proxy import Proxy


@pytest.fixture(params=["memory", "amqp"])
async def harness(request: pytest.FixtureRequest) -> AsyncIterator[Harness]:
    """A broker of each kind."""
    if request.param == "memory":
        memory = MemoryHarness()
        yield memory
        await memory.stop()
        return
    url: str = request.getfixturevalue("amqp_url")
    async with Proxy(url) as proxy:
        amqp = AmqpHarness(proxy)
        yield amqp
        await amqp.stop()
        await delete(url, amqp.declared)

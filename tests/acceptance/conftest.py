"""What tests with real processes share."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.processes import Stage


@pytest.fixture
async def stage(amqp_url: str, namespace: str, tmp_path: Path) -> AsyncIterator[Stage]:
    """A stage of the test's own: what it starts is killed in the end, and its logs are shown on failure."""
    async with Stage(amqp_url, namespace, tmp_path) as running:
        yield running

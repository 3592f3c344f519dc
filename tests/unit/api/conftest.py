"""An API without sockets."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.office import Office, office


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Office]:
    """A coordinator in this process, with the workflow `hello`."""
    async with office(tmp_path) as running:
        await running.apply()
        yield running

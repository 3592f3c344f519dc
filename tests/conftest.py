"""What every test may ask for: a broker, a namespace of its own, its folder's marker."""

import os
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import hypothesis
import pytest
import pytest_asyncio

from orchestrator.local.broker import PrivateBroker

TESTS = Path(__file__).parent
KINDS = {"unit", "property", "golden", "conformance", "simulation", "integration", "acceptance"}

hypothesis.settings.register_profile(
    "baton",
    deadline=None,  # a slow machine is no failure; pytest's timeout bounds the whole test
    derandomize="CI" in os.environ,  # in CI the same examples every time
    print_blob=True,
)
hypothesis.settings.load_profile("baton")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with its folder's name, so that `-m "not acceptance"` needs no word in the test."""
    for item in items:
        if not item.path.is_relative_to(TESTS):
            continue
        kind = item.path.relative_to(TESTS).parts[0]
        if kind not in KINDS:
            raise pytest.UsageError(
                f"{item.path}: tests stand in one of tests/{{{','.join(sorted(KINDS))}}}/"
            )
        item.add_marker(kind)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def broker() -> AsyncIterator[PrivateBroker]:
    """The session's private node, for tests that restart or kill it; they leave it running."""
    async with PrivateBroker() as node:
        yield node


@pytest.fixture(scope="session")
def amqp_url(request: pytest.FixtureRequest) -> str:
    """The broker to test on: `BATON_AMQP_URL` if it is set, else the session's private node."""
    given = os.environ.get("BATON_AMQP_URL")
    if given:
        return given
    node: PrivateBroker = request.getfixturevalue("broker")
    return node.url


@pytest.fixture
def namespace() -> str:
    """A prefix for exchanges and queues that no other test uses."""
    return f"test-{secrets.token_hex(5)}"

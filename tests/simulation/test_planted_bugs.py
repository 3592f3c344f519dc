"""The simulation is worth its name only if it finds bugs: each planted one must be caught."""

import pytest

from tests.simulation import planted_rules, planted_versions  # noqa: F401 - they plant theirs
from tests.simulation.planted import BUGS, SEEN_BY
from tests.simulation.simulation import simulate

ENOUGH = 2_000
"""Seeds within which a bug must be caught."""


@pytest.mark.timeout(600)  # most are caught within seconds
@pytest.mark.parametrize("name", sorted(BUGS))
def test_a_planted_bug_is_caught(name: str) -> None:
    """With the bug some seed breaks an invariant, and without it that seed breaks none."""
    with BUGS[name]():
        caught = next((seed for seed in range(1, ENOUGH + 1) if simulate(seed).violations), None)
    assert caught is not None, f"{ENOUGH} seeds did not notice: {name}"
    assert not simulate(caught).violations, f"seed {caught} fails also without the bug"


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", sorted(SEEN_BY))
def test_a_planted_bug_is_seen_by_its_invariant(name: str) -> None:
    """With the bug some seed breaks the invariant that is about it, and without it that seed breaks none."""
    bug, invariant = SEEN_BY[name]
    with bug():
        caught = next(
            (seed for seed in range(1, ENOUGH + 1) if invariant in dict(simulate(seed).violations)), None
        )
    assert caught is not None, f"{ENOUGH} seeds: {invariant} did not notice: {name}"
    assert not simulate(caught).violations, f"seed {caught} fails also without the bug"

"""The whole system in simulated time: nothing that goes wrong may break a rule."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.simulation.batch import readable, replay, run_seeds
from tests.simulation.faults import FAULTS
from tests.simulation.simulation import Outcome, simulate

HERE = Path(__file__).parent
SEEDS = 300


def said(outcome: Outcome) -> str:
    """What a failing seed has to say."""
    return readable(outcome, lines=60)


@pytest.mark.timeout(600)
def test_no_seed_breaks_an_invariant() -> None:
    """Whatever goes wrong, every invariant holds; and enough goes wrong, and right, to mean something."""
    ends, faults = Counter[str](), Counter[str]()
    for outcome in run_seeds(range(1, SEEDS + 1), jobs=1):
        assert not outcome.violations, said(outcome)
        ends.update(outcome.ends)
        faults.update(outcome.faults)
    assert sum(ends.values()) > SEEDS
    well = ends["succeeded"] + ends["compensated"] + ends["cancelled"]
    assert well > 0.6 * sum(ends.values()), ends
    assert min(ends["succeeded"], ends["compensated"], ends["cancelled"], ends["failed"]) > SEEDS // 20
    wanted = (*FAULTS, "crash", "malformed_message", "stranger", "secret_let_out", "span")
    assert not [name for name in wanted if faults[name] < SEEDS // 50], faults


def regressions() -> list[int]:
    """The seeds in `regressions.txt`."""
    lines = (HERE / "regressions.txt").read_text().splitlines()
    return [int(line.split()[0]) for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize("seed", regressions())
def test_what_once_failed_holds(seed: int) -> None:
    """A seed that once broke an invariant breaks none."""
    outcome = simulate(seed)
    assert not outcome.violations, said(outcome)


@pytest.mark.parametrize("seed", [3, 77, 1005])
def test_a_seed_gives_the_same_trace_in_every_process(seed: int) -> None:
    """What happens follows from the seed alone: not from hash seeds, addresses, or what ran before."""
    here = simulate(seed).trace_hash
    code = f"from tests.simulation.simulation import simulate; print(simulate({seed}).trace_hash)"
    for hash_seed in ("1", "2"):
        there = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            cwd=HERE.parents[1],
            capture_output=True,
            text=True,
            check=True,
        )
        assert there.stdout.strip() == here
    assert simulate(seed + 1).trace_hash != here


def test_a_failing_seed_says_how_to_see_it_again() -> None:
    """What is printed of a failure names the invariant and the command that replays the seed."""
    outcome = simulate(1, keep_trace=True)
    outcome.violations.append(("ends_are_final", "run-1 ended twice"))
    text = readable(outcome, lines=5)
    assert "ends are final: run-1 ended twice" in text
    assert replay(1) in text
    assert len(text.splitlines()) == 5 + 3

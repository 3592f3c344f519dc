"""The whole system in simulated time: nothing that goes wrong may break a rule."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.batch import readable, replay, run_seeds, to_keep
from tests.simulation.progress import Total
from tests.simulation.simulation import Outcome, simulate

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SEEDS = 300


def said(outcome: Outcome) -> str:
    """What a failing seed has to say."""
    return readable(outcome, lines=60)


@pytest.mark.timeout(600)
def test_no_seed_breaks_an_invariant() -> None:
    """Whatever goes wrong, every invariant holds; and enough goes wrong, and right, to mean something."""
    total = Total()
    for outcome in run_seeds(range(1, SEEDS + 1), jobs=1):
        assert not outcome.violations, said(outcome)
        total.add(outcome)
    assert total.shortcomings() == []


def regressions() -> list[tuple[int, str]]:
    """What `regressions.txt` says: seeds, and the test that holds what each once showed."""
    lines = (HERE / "regressions.txt").read_text().splitlines()
    found = [line.partition("<-") for line in lines if line and not line.startswith("#")]
    return [(int(said.split()[0]), test.strip()) for said, _, test in found]


@pytest.mark.parametrize(("seed", "test"), regressions())
def test_what_once_failed_holds(seed: int, test: str) -> None:
    """A seed that once broke an invariant breaks none, and the test that holds its cause is there."""
    path, _, name = test.partition("::")
    assert f"def {name}(" in (ROOT / path).read_text(), f"seed {seed} names a test that is not there: {test}"
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
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        assert there.stdout.strip() == here
    assert simulate(seed + 1).trace_hash != here


def test_a_failing_seed_says_how_to_see_it_again() -> None:
    """What is printed of a failure names the invariant, how to replay the seed, and how to keep it."""
    outcome = simulate(1, keep_trace=True)
    outcome.violations.append(("ends_are_final", "run-1 ended twice"))
    text = readable(outcome, lines=5)
    assert "ends are final: run-1 ended twice" in text
    assert replay(1) in text
    assert to_keep(1) in text
    assert len(text.splitlines()) == 5 + 3 + len(to_keep(1).splitlines())

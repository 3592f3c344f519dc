"""A simulation must get somewhere: what does not is refused, whether or not an invariant was broken."""

from collections.abc import Iterator

import pytest

from tests.simulation import __main__ as command
from tests.simulation.faults import FAULTS
from tests.simulation.progress import COMMON, ENOUGH_SEEDS, HARMS, MOVES, Total
from tests.simulation.simulation import Outcome

GOOD = {"succeeded": 2, "compensated": 1, "cancelled": 1, "failed": 1}


def outcome(seed: int, ends: dict[str, int], **other: dict[str, int]) -> Outcome:
    """What one seed could come to."""
    return Outcome(
        seed=seed,
        violations=[],
        ends=ends,
        faults=other.get("faults", dict.fromkeys((*FAULTS, *HARMS), 1)),
        moves=other.get("moves", dict.fromkeys(MOVES, 1)),
        reached=other.get("reached", dict.fromkeys(COMMON, 1)),
        steps=9,
        virtual=60.0,
        seconds=0.1,
        trace_hash="",
    )


def total(seeds: int, ends: dict[str, int], **other: dict[str, int]) -> Total:
    """So many seeds that came to the same."""
    found = Total()
    for seed in range(1, seeds + 1):
        found.add(outcome(seed, ends, **other))
    return found


def test_what_went_well_and_wrong_enough_counts() -> None:
    """Seeds in which runs end in every way, and all faults happen, are good."""
    assert total(ENOUGH_SEEDS, GOOD).shortcomings() == []


def test_when_everything_fails_it_does_not_count() -> None:
    """Seeds in which every run ends `failed` show nothing, although no invariant is broken."""
    (well, *rare) = total(ENOUGH_SEEDS, {"failed": 5}).shortcomings() or [""]
    assert well == f"only 0 of {5 * ENOUGH_SEEDS} runs ended succeeded, compensated or cancelled"
    assert [line.split(": ")[1].split(",")[0] for line in rare] == ["succeeded", "compensated", "cancelled"]


def test_no_runs_are_too_few() -> None:
    """Seeds in which hardly a run ends show nothing."""
    found = total(ENOUGH_SEEDS, {}).shortcomings() or [""]
    assert found[0] == f"only 0 runs ended, in {ENOUGH_SEEDS} seeds"


@pytest.mark.parametrize(
    ("kind", "names", "missing"),
    [
        ("faults", (*FAULTS, *HARMS), "takeover"),
        ("moves", MOVES, "RetryRun"),
        ("reached", COMMON, "PivotPassed"),
    ],
)
def test_what_never_happens_is_named(kind: str, names: tuple[str, ...], missing: str) -> None:
    """A fault, a move of the operator or a thing that happens to runs may not be missing."""
    counts = {name: int(name != missing) for name in names}
    (found,) = total(ENOUGH_SEEDS, GOOD, **{kind: counts}).shortcomings() or [""]
    assert f"{missing}, 0 times" in found


def test_few_seeds_are_not_judged() -> None:
    """Of a handful of seeds nobody can say whether they show enough, and it is said that nobody did."""
    assert total(ENOUGH_SEEDS - 1, {"failed": 5}).shortcomings() is None


@pytest.mark.parametrize(
    ("seeds", "ends", "code", "says"),
    [
        (ENOUGH_SEEDS, GOOD, 0, "enough went right, and enough went wrong"),
        (ENOUGH_SEEDS, {"failed": 5}, 1, "TOO LITTLE happened"),
        (3, {"failed": 5}, 0, f"is judged from {ENOUGH_SEEDS} seeds on"),
    ],
)
def test_the_command_says_so(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    seeds: int,
    ends: dict[str, int],
    code: int,
    says: str,
) -> None:
    """`./run simulate` ends with 1 when too little happened, and its summary says what was judged."""

    def made_up(wanted: range, jobs: int) -> Iterator[Outcome]:
        yield from (outcome(seed, ends) for seed in wanted)

    monkeypatch.setattr(command, "run_seeds", made_up)
    assert command.main(["--seeds", str(seeds)]) == code
    assert says in capsys.readouterr().out

"""What many seeds came to, and whether it is enough: a simulation in which all fails does not count."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from tests.simulation.faults import FAULTS
from tests.simulation.simulation import Outcome

__all__ = ["ENOUGH_SEEDS", "Total"]

ENOUGH_SEEDS = 100
"""Of fewer seeds it is not judged whether they got anywhere."""

GOOD_ENDS = ("succeeded", "compensated", "cancelled")
"""What becomes of runs for which the rules do something; `failed` ones had nothing to undo."""

COMMON = (
    *("StepExpanded", "EventEmitted", "TaskInDoubt", "QuerySent", "TaskParked", "TaskResolved", "CancelSent"),
    "RunYielded",
    *("PivotPassed", "RunPaused", "TaskSkipped", "event started", "event duplicate", "event debounced"),
)
"""What runs, events and probes must come to, at least once."""

MANY_SEEDS = 300
SELDOM = (
    *("RunMoved", "StepsKept", "StepsReset", "RunQueued", "RunHeld", "event delivered", "event throttled"),
    *("probe done", "probe never", "run by an emitted event"),
)
"""The same, in so many seeds."""

MOVES = ("CancelRun", "PauseRun", "ResumeRun", "ApproveTask", "ResolveTask", "RetryRun")


HARMS = ("crash", "malformed_message", "stranger", "secret_let_out", "span")
"""What goes wrong, or is watched, beside the faults; counted with them."""


class Total:
    """The sums over the outcomes of many seeds."""

    def __init__(self) -> None:
        self.seeds = self.steps = 0
        self.virtual = 0.0
        self.failed: list[int] = []
        """Seeds that broke an invariant."""
        self.ends = Counter[str]()
        self.faults = Counter[str]()
        self.moves = Counter[str]()
        self.reached = Counter[str]()

    def add(self, outcome: Outcome) -> None:
        """Take in one seed."""
        self.seeds += 1
        self.steps += outcome.steps
        self.virtual += outcome.virtual
        self.failed += [outcome.seed] if outcome.violations else []
        self.ends.update(outcome.ends)
        self.faults.update(outcome.faults)
        self.moves.update(outcome.moves)
        self.reached.update(outcome.reached)

    def shortcomings(self) -> list[str] | None:
        """Why these seeds show too little, one line each; None: there are too few of them to say."""
        if self.seeds < ENOUGH_SEEDS:
            return None
        runs, few = self.ends.total(), self.seeds // 20
        found = [] if runs > self.seeds else [f"only {runs} runs ended, in {self.seeds} seeds"]
        well = sum(self.ends[end] for end in GOOD_ENDS)
        if well <= runs / 2:
            found.append(f"only {well} of {runs} runs ended {', '.join(GOOD_ENDS[:-1])} or {GOOD_ENDS[-1]}")
        common = COMMON + SELDOM if self.seeds >= MANY_SEEDS else COMMON
        found += _rare("runs ended", self.ends, (*GOOD_ENDS, "failed"), few)
        found += _rare("faults", self.faults, (*FAULTS, *HARMS), self.seeds // 50)
        found += _rare("moves of the operator", self.moves, MOVES, 1)
        found += _rare("what runs came to", self.reached, common, 1)
        return found

    def summary(self, seconds: float) -> dict[str, Any]:
        """The sums, and what they are worth, as plain data."""
        return {
            "seeds": self.seeds,
            "failed": self.failed,
            "shortcomings": self.shortcomings(),
            "runs": self.ends.total(),
            "ends": _sorted(self.ends),
            "faults": _sorted(self.faults),
            "operator_moves": _sorted(self.moves),
            "reached": _sorted(self.reached),
            "steps": self.steps,
            "virtual_seconds": round(self.virtual),
            "seconds": round(seconds, 1),
        }


def _rare(what: str, count: Counter[str], names: Iterable[str], least: int) -> list[str]:
    """What of `names` was counted less often than it must be."""
    return [f"{what}: {name}, {count[name]} times" for name in names if count[name] < least]


def _sorted(count: Counter[str]) -> dict[str, int]:
    return {name: count[name] for name in sorted(count)}

"""The operator: cancels runs now and then, and decides what only a person can decide.

An honest person: looks at the hosts (the ledger) before saying whether something was done, and waits while it
still goes on or a host is away.
"""

from typing import TYPE_CHECKING

from orchestrator.core.inputs import CancelRun, Input, ResolveTask
from orchestrator.core.model import Run, Task
from orchestrator.intake import InputForRun
from schemas.errors import BatonError

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

__all__ = ["Person"]

PATIENCE = 20.0
"""Seconds that something must have been in question before the person decides."""

ENOUGH = 3
"""How often a person has a failed undo tried again."""


class Person:
    """Moves of the operator. `idle` once nothing waits for one."""

    def __init__(self, sim: "Simulation") -> None:
        self._sim = sim
        self._since: dict[tuple[str, str, int], float] = {}
        self._retried: dict[tuple[str, str, int], int] = {}
        self.moves = 0
        self.refused = 0

    async def look(self) -> None:
        """Decide about everything that is ripe."""
        sim = self._sim
        ripe: list[tuple[Run, str, int, Task]] = []
        for run in sim.observer.live():
            for step, index, task in sim.observer.tasks(run):
                key = (run.head.id, step.id, index)
                if not task.needs_person:
                    self._since.pop(key, None)
                elif sim.loop.time() - self._since.setdefault(key, sim.loop.time()) >= PATIENCE:
                    ripe.append((run, step.id, index, task))
        for run, step_id, index, task in ripe:
            decision = self._decide(run, step_id, index, task)
            if decision:
                why = "looked at the host"
                move = ResolveTask(step_id, decision, who="person", why=why, host_index=index)
                await self._move(run.head.id, move)

    def _decide(self, run: Run, step: str, index: int, task: Task) -> str:
        """`retry`, `skip`, `done`, or "" for not yet."""
        sim = self._sim
        if task.command_id and (
            sim.ledger.active(task.command_id)
            or not all(node.alive and not node.life.frozen for node in sim.agents)  # type: ignore[union-attr]
        ):
            return ""
        there = sim.ledger.is_there((run.head.id, step, index))
        if not task.undoing:
            if there:
                return "done"
            return "skip" if run.going_back or sim.rng.random() < 0.5 else "retry"
        if not there:
            return "done"
        key = (run.head.id, step, index)
        self._retried[key] = self._retried.get(key, 0) + 1
        return "retry" if self._retried[key] <= ENOUGH else "skip"

    async def cancel(self, run: Run) -> None:
        """Cancel a run."""
        await self._move(run.head.id, CancelRun("person", "changed their mind"))

    async def _move(self, run_id: str, given: Input) -> None:
        self._sim.note("person", f"{run_id}: {given}")
        try:
            await self._sim.coordinator.submit(InputForRun(run_id, given))
            self.moves += 1
        except BatonError as error:
            self.refused += 1
            self._sim.note("person", f"{run_id}: refused: {error.code}")

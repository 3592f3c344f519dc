"""One move in the making."""

from orchestrator.core.definition import Definition, StepDef
from orchestrator.core.evolution import evolve
from orchestrator.core.facts import Fact
from orchestrator.core.inputs import Dispatch, Env, Move
from orchestrator.core.model import Run, Task

__all__ = ["Turn"]


class Turn:
    """One move being made: facts recorded so far and the state they lead to."""

    def __init__(self, definition: Definition, run: Run, env: Env) -> None:
        self.definition = definition
        self.env = env
        self.run = run
        self.facts: list[Fact] = []
        self.commands: list[Dispatch] = []

    def record(self, fact: Fact) -> None:
        """Let a fact be true."""
        self.facts.append(fact)
        self.run = evolve(self.run, fact)

    def move(self) -> Move:
        """What came of it."""
        return Move(run=self.run, facts=self.facts, commands=self.commands)

    def tasks(self) -> list[tuple[StepDef, int, Task]]:
        """Every task with its step, in document order."""
        steps = self.definition.steps
        return [
            (steps[name], index, task)
            for name, tasks in self.run.steps.items()
            for index, task in enumerate(tasks)
        ]

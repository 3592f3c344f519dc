"""Where invariants are kept until they are asked; see `tests.simulation.invariants`."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from orchestrator.core.facts import Fact
from orchestrator.core.model import Run, StepStatus, Task
from orchestrator.store.port import Batch
from runtime.bus.port import Message
from tests.simulation.ledger import Performance
from tests.simulation.wire import Copy

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

__all__ = [
    "AT_ACKNOWLEDGE",
    "AT_BATCH",
    "AT_END",
    "AT_FACT",
    "AT_PUBLISH",
    "AT_ROUTE",
    "AT_START",
    "at_acknowledge",
    "at_batch",
    "at_end",
    "at_fact",
    "at_publish",
    "at_route",
    "at_start",
    "is_past_pivot",
    "taken_twice_in_a_pool",
    "to_undo",
]

F = TypeVar("F", bound=Callable[..., str | None])

AT_BATCH: list[Callable[["Simulation", int, Batch], str | None]] = []
AT_FACT: list[Callable[["Simulation", Run, Fact, Run], str | None]] = []
AT_PUBLISH: list[Callable[["Simulation", Message], str | None]] = []
AT_ROUTE: list[Callable[["Simulation", Message], str | None]] = []
AT_ACKNOWLEDGE: list[Callable[["Simulation", str, Copy], str | None]] = []
AT_START: list[Callable[["Simulation", Performance], str | None]] = []
AT_END: list[Callable[["Simulation"], str | None]] = []


def _into(table: list[Any]) -> Callable[[F], F]:
    def add(function: F) -> F:
        table.append(function)
        return function

    return add


at_batch, at_fact, at_publish = _into(AT_BATCH), _into(AT_FACT), _into(AT_PUBLISH)
at_start, at_end = _into(AT_START), _into(AT_END)
at_route, at_acknowledge = _into(AT_ROUTE), _into(AT_ACKNOWLEDGE)


def to_undo(sim: "Simulation", run: Run, name: str, task: Task) -> bool:
    """Whether a task has an effect that is still to be undone."""
    undoable = name in sim.observer.written(run).undoable
    return undoable and task.effect and not task.given_up and task.status is not StepStatus.COMPENSATED


def taken_twice_in_a_pool(sim: "Simulation", command_id: str) -> bool:
    """Whether two agents of a pool were given one idempotent command (rule 4).

    Of two that ran it only the last one's effect is undone; and what one refuses the other may still do.
    """
    agents = {who.partition("#")[0] for who in sim.wire.takers(command_id)}
    return len(agents) > 1 and sim.observer.commands[command_id].idempotent


def is_past_pivot(sim: "Simulation", run: Run) -> bool:
    """Whether the pivot was done: by its tasks, not by what the run says of itself."""
    tasks = run.steps.get(sim.observer.written(run).pivot, ())
    done = all(task.is_done for task in tasks)
    return done and any(task.status is StepStatus.SUCCEEDED for task in tasks)

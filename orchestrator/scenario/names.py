"""What runs and commands are called in a scenario."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

from orchestrator.core.model import RunHead
from orchestrator.scenario.naming import CommandName
from schemas.messages import Command, CommandKind

__all__ = ["RunNames", "name_of"]

_VERBS: Final = {CommandKind.QUERY: "query", CommandKind.CANCEL: "cancel"}


class RunNames:
    """A run is called by its workflow (`order`, the second `order~2`), a child by its step (`order/pay`)."""

    def __init__(self, fans_out: Callable[[RunHead, str], bool]) -> None:
        self._fans_out = fans_out
        self._heads: dict[str, RunHead] = {}
        self._names: dict[str, str] = {}
        self._ids: dict[str, str] = {}
        self._count: Counter[str] = Counter()
        """How many runs would have the same name; `~` is in no other name."""

    def add(self, head: RunHead) -> None:
        """A run has started."""
        base = self._base(head)
        self._count[base] += 1
        name = base if self._count[base] == 1 else f"{base}~{self._count[base]}"
        self._heads[head.id] = head
        self._names[head.id] = name
        self._ids[name] = head.id

    def _base(self, head: RunHead) -> str:
        if head.parent is None:
            return head.workflow
        above, step = self._heads[head.parent.run_id], head.parent.step
        index = f"[{head.parent.host_index}]" if self._fans_out(above, step) else ""
        return f"{self.of(above.id)}/{step}{index}"

    def of(self, run_id: str) -> str:
        """A run's name; of an unknown run its id."""
        return self._names.get(run_id, run_id)

    def all_of(self, run_id: str) -> tuple[str, ...]:
        """Every name that a scenario may use for the run: its own first; of a child also its workflow's."""
        head = self._heads.get(run_id)
        above = () if head is None or head.parent is None else (head.workflow,)
        return (self.of(run_id), *above)

    def id_of(self, name: str | None) -> str | None:
        """The run of this name; None stands for the first run."""
        if name is None:
            return next(iter(self._names), None)
        return self._ids.get(name)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Every name with its run's id, in the order of their starts."""
        return iter(self._ids.items())


def name_of(command: Command) -> CommandName:
    """The full name of a command, but for its agent and run."""
    about = str(command.args.get("command_id", "")) if command.kind in _VERBS else command.id
    return CommandName(
        verb=_VERBS.get(command.kind, "do"),
        undo=about.endswith(f"/{CommandKind.COMPENSATE}"),
        step=command.step,
        index=command.host_index,
        attempt=command.attempt,
    )

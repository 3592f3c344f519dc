"""What the store would hold, as dicts: rows go in with a batch and come out when an item is decided."""

from orchestrator.core.facts import Fact
from orchestrator.core.model import Run
from orchestrator.handlers import run_ids
from orchestrator.intake import Content, EventReceived
from orchestrator.store.port import Batch, InboxRecord
from orchestrator.work import Loaded

__all__ = ["Memory"]


class Memory:
    """The rows of one scenario. Only `load` and `commit` know what a batch consists of."""

    def __init__(self) -> None:
        self.runs: dict[str, Run] = {}
        self.facts: dict[str, list[Fact]] = {}
        self._keys: dict[tuple[str, str], str] = {}
        self._events: dict[tuple[str, str], InboxRecord] = {}
        self._outbox_id = 0

    def next_outbox_id(self) -> int:
        """As the store's."""
        self._outbox_id += 1
        return self._outbox_id

    def load(self, content: Content) -> Loaded:
        """What deciding `content` may look at."""
        return Loaded(
            runs={run_id: self.runs[run_id] for run_id in run_ids(content) if run_id in self.runs},
            keys=dict(self._keys),
            events=dict(self._events),
        )

    def seen(self, content: EventReceived) -> bool:
        """Whether the event was taken in before (rule 1)."""
        return (content.event.source, content.event.id) in self._events

    def commit(self, batch: Batch) -> None:
        """Write a batch."""
        for run in (*batch.started, *batch.changed.values()):
            self.runs[run.head.id] = run
            named = run.head.workflow, run.head.key
            if run.head.key and run.ended is None:
                self._keys[named] = run.head.id
            elif self._keys.get(named) == run.head.id:
                del self._keys[named]
        for run_id, _, fact in batch.facts:
            self.facts.setdefault(run_id, []).append(fact)
        for record in batch.inbox:
            if record.kind == "event":
                self._events[record.source, record.id] = record

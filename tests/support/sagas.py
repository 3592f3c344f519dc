"""Small runs and their facts, for tests of what keeps them."""

from msgspec.structs import replace

from orchestrator.core.evolution import evolve, fold
from orchestrator.core.facts import AttemptSent, AttemptSucceeded, Fact, RunEnded, RunStarted
from orchestrator.core.model import ParentRef, Run, RunHead, RunStatus, TraceContext
from orchestrator.store.port import Batch

__all__ = ["NOW", "Saga", "head"]

NOW = 1_700_000_000_000_000


def head(run_id: str, workflow: str = "release", key: str = "", parent: ParentRef | None = None) -> RunHead:
    """What is fixed of a run; an empty key is no key."""
    return RunHead(
        id=run_id,
        workflow=workflow,
        version="v1",
        key=key,
        created_at=NOW,
        trace=TraceContext(trace_id="0af7651916cd43dd8448eb211c80319c", span_id="b7ad6b7169203331"),
        input={"version": "1.2.3"},
        event={"type": "com.example.release", "data": {"text": "žluťoučký \x00 \U0001f40e"}},
        parent=parent,
    )


class Saga:
    """A run of one step that a test moves on by hand; each move is put into the batch that is given.

    `run` is its newest state and `facts` its whole history.
    """

    def __init__(
        self,
        run_id: str,
        workflow: str = "release",
        key: str = "",
        parent: ParentRef | None = None,
        retry_of: str = "",
    ) -> None:
        self.run = Run(head=replace(head(run_id, workflow, key, parent), retry_of=retry_of), steps={})
        self.facts: list[Fact] = []

    @property
    def id(self) -> str:
        """The run's id."""
        return self.run.head.id

    def start(self, batch: Batch, due: int | None = NOW + 60) -> None:
        """The run begins, and its command goes out."""
        self._take(batch, [RunStarted(at=NOW, steps=["one"])])
        batch.started.append(self.run)
        if due is not None:
            self.send(batch, due)

    def send(self, batch: Batch, due: int = NOW + 60) -> None:
        """Another attempt goes out; the run wakes at `due`."""
        attempt = self.run.steps["one"][0].attempt + 1
        sent = AttemptSent(
            at=NOW,
            step="one",
            host_index=0,
            undo=False,
            attempt=attempt,
            command_id=f"{self.id}/one/0/{attempt}/execute",
            action="do.it",
            target="agent.web-1",
            due=due,
        )
        self._take(batch, [sent])

    def end(self, batch: Batch, status: RunStatus = RunStatus.SUCCEEDED) -> None:
        """The step succeeds and the run ends."""
        command_id = self.run.steps["one"][0].command_id
        done = AttemptSucceeded(
            at=NOW + 1, step="one", host_index=0, command_id=command_id, agent="web-1", output={"n": [1, 2.5]}
        )
        self._take(batch, [done, RunEnded(at=NOW + 1, status=status, output="done")])

    def add(self, batch: Batch, fact: Fact) -> None:
        """Any other fact."""
        self._take(batch, [fact])

    def _take(self, batch: Batch, facts: list[Fact]) -> None:
        for fact in facts:
            self.run = evolve(self.run, fact)
            self.facts.append(fact)
            batch.facts.append((self.id, self.run.seq, fact))
        batch.changed[self.id] = self.run
        assert fold(self.run.head, self.facts) == self.run

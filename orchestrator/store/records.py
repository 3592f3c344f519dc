"""What a store keeps, and what one turn of the coordinator's loop wants written."""

from dataclasses import dataclass, field
from typing import Any, Final

from msgspec import Struct

from orchestrator.core.facts import Fact
from orchestrator.core.inputs import SignalInput
from orchestrator.core.model import Run
from orchestrator.store.starting import StartingChanges
from schemas.messages import Presence
from schemas.times import Micros

__all__ = [
    "INBOX_OUTCOMES",
    "AgentRecord",
    "Batch",
    "InboxRecord",
    "KeptEvent",
    "OutboxMessage",
    "Place",
    "StoredDefinition",
    "StoredFact",
    "StoredSignal",
    "TaskKey",
    "VersionSummary",
    "WaitingTask",
]

INBOX_OUTCOMES: Final = (
    "started",
    "delivered",
    "duplicate",
    "throttled",
    "debounced",
    "no_trigger",
    "rejected",
)
"""What can become of an event. `delivered`: a run waited for it; `duplicate`: its key is a live run's."""

Place = tuple[str, str]
"""(topic, value): where an event is filed that tasks wait for."""

TaskKey = tuple[str, str, int]
"""(run id, step, host_index)."""


class StoredDefinition(Struct, frozen=True):
    """A workflow document. `version` is the hash of its content, `at` when it was first applied."""

    workflow: str
    version: str
    document: bytes
    at: Micros


class VersionSummary(Struct, frozen=True):
    """A version of a workflow: when it was first applied, and how many live runs keep to it.

    `current`: new runs take it.
    """

    version: str
    at: Micros
    current: bool
    live_runs: int


class InboxRecord(Struct, frozen=True, omit_defaults=True):
    """What became of an event, or of a result that was refused. `outcome` is one of `INBOX_OUTCOMES`.

    An event (`kind` is `event`) is known by `(source, id)` for as long as its row is kept; of refused results
    (`kind` is `result`, `source` the agent, `id` the command) there may be several alike. `more`: how many
    runs there are besides those that `runs` names.
    """

    source: str
    id: str
    outcome: str
    at: Micros
    kind: str = "event"
    type: str = ""
    reason: str = ""
    runs: list[str] = []
    more: int = 0


class OutboxMessage(Struct, frozen=True):
    """A committed message not yet known to be with the broker; fields as in `runtime.bus.port.Message`.

    `id` comes from `Store.next_outbox_id` and grows. `at`: when it was decided. `expires_at`: when sending it
    is no longer of use.
    """

    id: int
    exchange: str
    routing_key: str
    body: bytes
    at: Micros
    headers: dict[str, Any] = {}
    content_type: str = "application/json"
    expires_at: Micros | None = None
    mandatory: bool = False


class AgentRecord(Struct, frozen=True):
    """The last announcement of an agent, and when it came in by the coordinator's clock.

    `first_seen_at`: when its present instance was first heard of. The store keeps it: the first one stays.
    """

    presence: Presence
    seen_at: Micros
    first_seen_at: Micros = 0


class StoredSignal(Struct, frozen=True):
    """What one run's move has to tell another run. `id` is a function of that move."""

    id: str
    to: str
    given: SignalInput
    at: Micros


class WaitingTask(Struct, frozen=True):
    """A task that waits for an event at (`topic`, `value`), `since` when."""

    run_id: str
    step: str
    host_index: int
    topic: str
    value: str
    since: Micros

    @property
    def key(self) -> TaskKey:
        """Which task it is."""
        return self.run_id, self.step, self.host_index

    @property
    def place(self) -> Place:
        """Where it looks for its event."""
        return self.topic, self.value


class KeptEvent(Struct, frozen=True):
    """An event that some task may yet come to wait for at (`topic`, `value`), `event` as expressions see it.

    `num` grows in the order in which events came; the store gives it.
    """

    topic: str
    value: str
    event: dict[str, Any]
    expires_at: Micros
    num: int = 0


@dataclass(slots=True)
class Batch:
    """What one turn of the loop wants written; the loop fills it and does not touch it while it is committed.

    A run of `started` may also stand in `changed`, which then holds its newer state. Every fact that brought
    a run from its stored `seq` to the `seq` written here is in `facts`, as (run id, seq, fact).
    """

    definitions: list[StoredDefinition] = field(default_factory=list)
    """Documents to store; one that is stored already stays as it is."""
    current: dict[str, str] = field(default_factory=dict)
    """Workflow -> version that new runs take from now on."""
    inbox: list[InboxRecord] = field(default_factory=list)
    settled: list[InboxRecord] = field(default_factory=list)
    """Events that the inbox has, of which more became since."""
    started: list[Run] = field(default_factory=list)
    changed: dict[str, Run] = field(default_factory=dict)
    facts: list[tuple[str, int, Fact]] = field(default_factory=list)
    outbox: list[OutboxMessage] = field(default_factory=list)
    sent: list[int] = field(default_factory=list)
    """Ids of outbox messages that the broker has, or that are of no use any more."""
    presence: dict[str, AgentRecord] = field(default_factory=dict)
    signals: list[StoredSignal] = field(default_factory=list)
    signals_done: list[str] = field(default_factory=list)
    """Ids of stored signals that were delivered."""
    waits: dict[TaskKey, WaitingTask | None] = field(default_factory=dict)
    """What tasks wait for from now on; None: for nothing any more. Keeps the table equal to `Run.waits`."""
    kept: list[KeptEvent] = field(default_factory=list)
    keep_at_most: int = 0
    """How many events may be kept; with more the oldest go. Counts only if `kept` holds something."""
    starting: StartingChanges = field(default_factory=StartingChanges)
    telemetry_cursor: int | None = None
    """Id of the last fact that telemetry has dealt with."""

    def __bool__(self) -> bool:
        """Whether there is anything to write."""
        return bool(
            self.definitions
            or self.current
            or self.inbox
            or self.settled
            or self.started
            or self.changed
            or self.facts
            or self.outbox
            or self.sent
            or self.presence
            or self.signals
            or self.signals_done
            or self.waits
            or self.kept
            or self.starting
            or self.telemetry_cursor is not None
        )


class StoredFact(Struct, frozen=True):
    """One row of the history of all runs. `id` grows in the order of commits."""

    id: int
    run_id: str
    seq: int
    fact: Fact

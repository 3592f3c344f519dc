"""The store, as the coordinator and its readers see it.

Contract:

- A `Store` is the only writer of its shard. `open` takes the lock and raises the epoch; whatever is written
  later is written only while that epoch is still the newest.
- `commit` writes a whole batch or nothing of it, and returns once it would survive a power cut. Cancelling
  the caller does not stop a commit half-way.
- The store decides nothing. It refuses (`Inconsistent`) what contradicts itself: two live runs with one key,
  an event taken in twice, a hole in a history, a change of a run that has ended.
- Everything is enough to go on from: another coordinator that opens the same store needs nothing else.
- A `Reader` sees only what is committed, and never makes the writer wait.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Protocol, TypeVar

from msgspec import Struct

from orchestrator.core.facts import Fact
from orchestrator.core.model import Run, RunStatus
from schemas.errors import Conflict, InternalError
from schemas.messages import Presence
from schemas.times import Micros

__all__ = [
    "EVERY_RUN",
    "INBOX_OUTCOMES",
    "AgentRecord",
    "Batch",
    "Counts",
    "EpochLost",
    "HistoryEntry",
    "InboxRecord",
    "Inconsistent",
    "OutboxMessage",
    "Page",
    "Reader",
    "RunFilter",
    "RunSummary",
    "Store",
    "StoredDefinition",
    "StoredFact",
    "VersionSummary",
]

T = TypeVar("T")

INBOX_OUTCOMES: Final = ("started", "duplicate", "no_trigger", "rejected")
"""What can become of an event. `duplicate`: its key belongs to a live run."""


class EpochLost(Conflict):
    """Another coordinator has opened the store since: stop, and write nothing more."""

    code = "epoch_lost"


class Inconsistent(InternalError):
    """A batch contradicts what is stored; nothing of it was written."""

    code = "inconsistent"


class StoredDefinition(Struct, frozen=True):
    """A workflow document. `version` is the hash of its content, `at` when it was first applied."""

    workflow: str
    version: str
    document: bytes
    at: Micros


class VersionSummary(Struct, frozen=True):
    """A version of a workflow: when it was first applied, and how many live runs started with it.

    `current`: new runs take it.
    """

    version: str
    at: Micros
    current: bool
    live_runs: int


class InboxRecord(Struct, frozen=True, omit_defaults=True):
    """What became of an event, or of a result that was refused. `outcome` is one of `INBOX_OUTCOMES`.

    An event (`kind` is `event`) is known by `(source, id)` for as long as its row is kept; of refused results
    (`kind` is `result`, `source` the agent, `id` the command) there may be several alike.
    """

    source: str
    id: str
    outcome: str
    at: Micros
    kind: str = "event"
    type: str = ""
    reason: str = ""
    runs: list[str] = []


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
    """The last announcement of an agent, and when it came in by the coordinator's clock."""

    presence: Presence
    seen_at: Micros


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
    started: list[Run] = field(default_factory=list)
    changed: dict[str, Run] = field(default_factory=dict)
    facts: list[tuple[str, int, Fact]] = field(default_factory=list)
    outbox: list[OutboxMessage] = field(default_factory=list)
    sent: list[int] = field(default_factory=list)
    """Ids of outbox messages that the broker has, or that are of no use any more."""
    presence: dict[str, AgentRecord] = field(default_factory=dict)
    telemetry_cursor: int | None = None
    """Id of the last fact that telemetry has dealt with."""

    def __bool__(self) -> bool:
        """Whether there is anything to write."""
        return bool(
            self.definitions
            or self.current
            or self.inbox
            or self.started
            or self.changed
            or self.facts
            or self.outbox
            or self.sent
            or self.presence
            or self.telemetry_cursor is not None
        )


class StoredFact(Struct, frozen=True):
    """One row of the history of all runs. `id` grows in the order of commits."""

    id: int
    run_id: str
    seq: int
    fact: Fact


class Store(Protocol):
    """The one writer of one shard; see the module's contract."""

    @property
    def epoch(self) -> int:
        """The epoch that `open` took."""

    async def open(self) -> int:
        """Take the lock, bring the schema up to date, raise the epoch by one and return it.

        Raises `Conflict` when another coordinator has the store open (its pid is in the message) and
        `StorageFailure` when the file cannot be used: not a database, of a newer Baton, disk full.
        """

    async def close(self) -> None:
        """Let go of the file and the lock. Closing twice is closing once."""

    def next_outbox_id(self) -> int:
        """An id for an outbox message: larger than any before it, in this process and in the store."""

    async def commit(self, batch: Batch) -> None:
        """Write the whole batch in one transaction, durably.

        Raises `EpochLost`, `Inconsistent` or `StorageFailure`; then nothing was written and the only way on
        is to stop. (Should the disk fail in the very COMMIT, the next `open` finds all of it or nothing.)
        """

    async def load_runs(self, ids: Iterable[str]) -> dict[str, Run]:
        """Runs by id; ids of no run are left out."""

    async def live_keys(self, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
        """Of these (workflow, key), those that belong to a live run, with that run's id (rule 1).

        The empty key is no key: it belongs to nobody.
        """

    async def seen_events(self, events: Iterable[tuple[str, str]]) -> dict[tuple[str, str], InboxRecord]:
        """Of these events by (source, id), those taken in before, with what became of them (rule 1)."""

    async def unsent(self, after_id: int, limit: int) -> list[OutboxMessage]:
        """Outbox messages with larger ids than `after_id`, in order, at most `limit`."""

    async def wakes(self, until: Micros, limit: int) -> list[tuple[str, Micros]]:
        """Runs that must be looked at by `until`, soonest first, as (run id, when), at most `limit`."""

    async def stranded(self, limit: int) -> list[str]:
        """Runs in motion with nothing due, at most `limit`: there must be none (rule 12)."""

    async def definition(self, version: str) -> StoredDefinition | None:
        """The document with this content hash."""

    async def current_definitions(self) -> list[StoredDefinition]:
        """The document that new runs take, for each workflow, by name."""

    async def agents(self) -> list[AgentRecord]:
        """Every agent that ever announced itself, by name."""

    async def telemetry_cursor(self) -> int:
        """Id of the last fact that telemetry has dealt with; 0 at first."""

    async def facts_after(self, fact_id: int, limit: int) -> list[StoredFact]:
        """The history of all runs after this fact, in order, at most `limit`."""

    async def prune_inbox(self, before: Micros, limit: int) -> int:
        """Forget what came in before `before`, looking at the `limit` oldest only; return how many."""


class RunFilter(Struct, frozen=True):
    """Which runs to list; what is None or empty does not narrow.

    `version` is the whole hash that the run started with, `since <= its start < until`.
    """

    workflow: str | None = None
    statuses: Sequence[RunStatus] = ()
    key: str | None = None
    version: str | None = None
    since: Micros | None = None
    until: Micros | None = None


EVERY_RUN: Final = RunFilter()


class RunSummary(Struct, frozen=True):
    """A run in a list: no payload."""

    id: str
    workflow: str
    version: str
    key: str
    status: RunStatus
    reason: str
    trace_id: str
    created_at: Micros
    ended_at: Micros | None


class HistoryEntry(Struct, frozen=True):
    """A fact of one run; `seq` counts from 1 without gaps."""

    seq: int
    fact: Fact


class Page(Struct, Generic[T], frozen=True):
    """Part of a list. `next` is the opaque cursor of the part after it, None at the end."""

    items: list[T]
    next: str | None = None


class Counts(Struct, frozen=True):
    """Figures for metrics; times are None when there is nothing to be old."""

    runs: Mapping[RunStatus, int]
    outbox: int
    oldest_outbox_at: Micros | None
    oldest_live_at: Micros | None
    agents: int


class Reader(Protocol):
    """Reads beside the writer. Lists are newest first unless they say otherwise; `limit` is 1 to 1,000.

    Rows added while somebody pages through a list never repeat or hide another. A `limit` out of range and
    what is not a cursor raise `InvalidInput`.
    """

    async def open(self) -> None:
        """Open the store for reading only; raises `StorageFailure`."""

    async def close(self) -> None:
        """Let go of the file. Closing twice is closing once."""

    async def runs(
        self, which: RunFilter = EVERY_RUN, *, cursor: str | None = None, limit: int = 100
    ) -> Page[RunSummary]:
        """Runs without their payloads."""

    async def count_runs(self, which: RunFilter = EVERY_RUN) -> list[tuple[str, RunStatus, int]]:
        """How many runs there are of each workflow and status, as (workflow, status, number)."""

    async def run(self, run_id: str) -> Run | None:
        """One run in full."""

    async def history(
        self, run_id: str, *, cursor: str | None = None, limit: int = 100
    ) -> Page[HistoryEntry]:
        """A run's facts, oldest first; empty when there is no such run."""

    async def definitions(self) -> list[StoredDefinition]:
        """The current document of each workflow, by name."""

    async def definition(self, workflow: str, version: str | None = None) -> StoredDefinition | None:
        """One workflow's document: the current one, or the one with this content hash."""

    async def versions(self, workflow: str) -> list[VersionSummary]:
        """Every version of a workflow that was ever applied, the latest first."""

    async def agents(self) -> list[AgentRecord]:
        """Every agent that ever announced itself, by name."""

    async def inbox(
        self, outcome: str | None = None, *, cursor: str | None = None, limit: int = 100
    ) -> Page[InboxRecord]:
        """What became of events and refused results."""

    async def counts(self) -> Counts:
        """Figures for metrics."""

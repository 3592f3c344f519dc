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
from typing import Final, Generic, Protocol, TypeVar

from msgspec import Struct

from orchestrator.core.facts import Fact
from orchestrator.core.model import Run, RunStatus
from orchestrator.store.records import (
    INBOX_OUTCOMES,
    AgentRecord,
    Batch,
    InboxRecord,
    KeptEvent,
    OutboxMessage,
    Place,
    StoredDefinition,
    StoredFact,
    StoredSignal,
    TaskKey,
    VersionSummary,
    WaitingTask,
)
from orchestrator.store.starting import StartingStore
from schemas.errors import Conflict, InternalError
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
    "KeptEvent",
    "OutboxMessage",
    "Page",
    "Place",
    "Reader",
    "RunFilter",
    "RunSummary",
    "Store",
    "StoredDefinition",
    "StoredFact",
    "StoredSignal",
    "TaskKey",
    "VersionSummary",
    "WaitingTask",
]

T = TypeVar("T")


class EpochLost(Conflict):
    """Another coordinator has opened the store since: stop, and write nothing more."""

    code = "epoch_lost"


class Inconsistent(InternalError):
    """A batch contradicts what is stored; nothing of it was written."""

    code = "inconsistent"


class Store(StartingStore, Protocol):
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

    async def live_retries(self, ids: Iterable[str]) -> dict[str, str]:
        """Of these ended runs, those that a live run goes on from (`retry_of`), with that run's id."""

    async def seen_events(self, events: Iterable[tuple[str, str]]) -> dict[tuple[str, str], InboxRecord]:
        """Of these events by (source, id), those taken in before, with what became of them (rule 1)."""

    async def unsent(self, after_id: int, limit: int) -> list[OutboxMessage]:
        """Outbox messages with larger ids than `after_id`, in order, at most `limit`."""

    async def wakes(self, until: Micros, limit: int) -> list[tuple[str, Micros]]:
        """Runs that must be looked at by `until`, soonest first, as (run id, when), at most `limit`."""

    async def in_motion(self) -> list[str]:
        """Live runs of which an attempt is under way or due: those that wait for nothing else."""

    async def stranded(self, limit: int) -> list[str]:
        """Live runs that nothing would ever move, at most `limit`: there must be none (rule 12).

        Nothing is due; and the run waits for nothing, or for a child or a parent that has ended and left it
        no signal.
        """

    async def signals(self) -> list[StoredSignal]:
        """Signals that were not delivered yet, in the order in which they were given."""

    async def waiting_at(self, places: Iterable[Place]) -> dict[Place, list[WaitingTask]]:
        """The tasks that wait for an event at these places; places where nobody waits are left out."""

    async def kept_at(self, place: Place, since: Micros, after: int, limit: int) -> list[KeptEvent]:
        """Events kept at a place that had not expired at `since`, numbered above `after`, in order."""

    async def waits_to_look_up(self) -> list[WaitingTask]:
        """The waiting tasks at whose place some event is kept."""

    async def prune_kept(self, before: Micros) -> int:
        """Forget the kept events that expired before `before`; return how many are left."""

    async def definition(self, version: str) -> StoredDefinition | None:
        """The document with this content hash."""

    async def current_definitions(self) -> list[StoredDefinition]:
        """The document that new runs take, for each workflow, by name."""

    async def live_versions(self) -> list[str]:
        """The versions that live runs keep to."""

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

    `version` is the whole hash of what the run keeps to, `since <= its start < until`. `parent` is the id of
    the run whose child runs are wanted.
    """

    workflow: str | None = None
    statuses: Sequence[RunStatus] = ()
    key: str | None = None
    version: str | None = None
    since: Micros | None = None
    until: Micros | None = None
    parent: str | None = None


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
    parent: str = ""
    """The run that it is a child of, if any."""


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

    async def doubts(self, run_id: str) -> dict[tuple[str, int], str]:
        """Why tasks of a run came to be in doubt, by (step, host index): the last reason of each.

        Looks at its last 1,000 doubts.
        """

    async def asking(self, *, cursor: str | None = None, limit: int = 100) -> Page[Run]:
        """Live runs in full that wait for somebody's approval."""

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

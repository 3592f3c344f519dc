"""What the store would hold, as dicts: rows go in with a batch and come out when an item is decided."""

from collections import defaultdict
from collections.abc import Iterable

from msgspec.structs import replace

from orchestrator.core.facts import Fact
from orchestrator.core.model import Run
from orchestrator.core.motion import waits_for
from orchestrator.store.port import (
    AgentRecord,
    Batch,
    InboxRecord,
    KeptEvent,
    Place,
    StoredDefinition,
    StoredSignal,
    TaskKey,
    WaitingTask,
)
from orchestrator.store.starting import (
    DebouncedEvent,
    GroupMember,
    PaceKey,
    StartingChanges,
    StoredSchedule,
    ThrottledStart,
)
from schemas.times import Micros

__all__ = ["Memory"]


class Memory:
    """The part of `Store` that deciding needs; see the port for what each method promises. It never waits."""

    def __init__(self) -> None:
        self.runs: dict[str, Run] = {}
        self.facts: dict[str, list[Fact]] = {}
        self._definitions: dict[str, StoredDefinition] = {}
        self._current: dict[str, str] = {}
        self._agents: dict[str, AgentRecord] = {}
        self._signals: dict[str, StoredSignal] = {}
        self._keys: dict[tuple[str, str], str] = {}
        self._inbox: dict[tuple[str, str], InboxRecord] = {}
        self._waits: dict[TaskKey, WaitingTask] = {}
        self._kept: dict[Place, list[KeptEvent]] = defaultdict(list)
        self._schedules: dict[str, list[StoredSchedule]] = {}
        self._debounced: dict[PaceKey, DebouncedEvent] = {}
        self._starts: list[ThrottledStart] = []
        self._outbox_id = 0
        self.epoch = 1
        self._kept_count = 0

    def next_outbox_id(self) -> int:
        """As the store's."""
        self._outbox_id += 1
        return self._outbox_id

    # what is written

    def write(self, batch: Batch) -> None:
        """A batch, all of it."""
        self._definitions.update((one.version, one) for one in batch.definitions)
        self._current.update(batch.current)
        self._agents.update(batch.presence)
        self._signals.update((signal.id, signal) for signal in batch.signals)
        for done in batch.signals_done:
            self._signals.pop(done, None)
        for run in (*batch.started, *batch.changed.values()):
            self._write_run(run)
        for run_id, _, fact in batch.facts:
            self.facts.setdefault(run_id, []).append(fact)
        for record in (*batch.inbox, *batch.settled):
            if record.kind == "event":
                self._inbox[record.source, record.id] = record
        for key, waiting in batch.waits.items():
            if waiting is None:
                self._waits.pop(key, None)
            else:
                self._waits[key] = waiting
        for event in batch.kept:
            self._kept_count += 1
            self._kept[event.topic, event.value].append(replace(event, num=self._kept_count))
        self._write_starting(batch.starting)

    def _write_run(self, run: Run) -> None:
        self.runs[run.head.id] = run
        named = run.head.workflow, run.head.key
        if run.head.key and run.ended is None:
            self._keys[named] = run.head.id
        elif self._keys.get(named) == run.head.id:
            del self._keys[named]

    def _write_starting(self, changes: StartingChanges) -> None:
        self._schedules.update((workflow, list(some)) for workflow, some in changes.schedules.items())
        for key, event in changes.debounced.items():
            if event is None:
                self._debounced.pop(key, None)
            else:
                self._debounced[key] = event
        self._starts += changes.starts

    # what is read

    async def load_runs(self, ids: Iterable[str]) -> dict[str, Run]:
        """See the port."""
        return {run_id: self.runs[run_id] for run_id in ids if run_id in self.runs}

    async def live_keys(self, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
        """See the port."""
        return {key: self._keys[key] for key in keys if key in self._keys}

    async def live_retries(self, ids: Iterable[str]) -> dict[str, str]:
        """See the port."""
        wanted = set(ids)
        live = (run for run in self.runs.values() if run.ended is None)
        return {run.head.retry_of: run.head.id for run in live if run.head.retry_of in wanted}

    async def seen_events(self, events: Iterable[tuple[str, str]]) -> dict[tuple[str, str], InboxRecord]:
        """See the port."""
        return {event: self._inbox[event] for event in events if event in self._inbox}

    async def waiting_at(self, places: Iterable[Place]) -> dict[Place, list[WaitingTask]]:
        """See the port."""
        wanted = {place: [one for one in self._waits.values() if one.place == place] for place in places}
        return {place: some for place, some in wanted.items() if some}

    async def kept_at(self, place: Place, since: Micros, after: int, limit: int) -> list[KeptEvent]:
        """See the port."""
        found = (one for one in self._kept.get(place, ()) if one.expires_at > since and one.num > after)
        return list(found)[:limit]

    async def definition(self, version: str) -> StoredDefinition | None:
        """See the port."""
        return self._definitions.get(version)

    # what is read at the beginning of a life

    async def current_definitions(self) -> list[StoredDefinition]:
        """See the port."""
        return [self._definitions[version] for _, version in sorted(self._current.items())]

    async def live_versions(self) -> list[str]:
        """See the port."""
        return list({run.version for run in self._live()})

    async def in_motion(self) -> list[str]:
        """See the port."""
        return [run.head.id for run in self._live() if not waits_for(run)]

    async def wakes(self, until: Micros, limit: int) -> list[tuple[str, Micros]]:
        """See the port."""
        due = ((run.head.id, run.wake_at) for run in self._live())
        found = [(run_id, at) for run_id, at in due if at is not None and at <= until]
        return sorted(found, key=lambda one: one[1])[:limit]

    async def agents(self) -> list[AgentRecord]:
        """See the port."""
        return [record for _, record in sorted(self._agents.items())]

    async def signals(self) -> list[StoredSignal]:
        """See the port."""
        return list(self._signals.values())

    async def waits_to_look_up(self) -> list[WaitingTask]:
        """See the port."""
        return [one for one in self._waits.values() if one.place in self._kept]

    async def group_members(self) -> list[GroupMember]:
        """See the port."""
        return [
            GroupMember(
                run.head.id,
                run.head.group,
                run.queued,
                run.head.priority,
                run.version,
                run.head.parent.holders if run.queued and run.head.parent is not None else (),
            )
            for run in self._live()
            if run.head.group and not run.held
        ]

    async def schedules(self) -> list[StoredSchedule]:
        """See the port."""
        return [one for _, some in sorted(self._schedules.items()) for one in some]

    def _live(self) -> list[Run]:
        """The runs that have not ended, in the order of their starts."""
        return [run for run in self.runs.values() if run.ended is None]

    # when runs start

    async def debounced_events(self, keys: Iterable[PaceKey]) -> list[DebouncedEvent]:
        """See the port."""
        return [self._debounced[key] for key in keys if key in self._debounced]

    async def due_debounced(self, now: Micros, limit: int) -> list[DebouncedEvent]:
        """See the port."""
        due = (one for one in self._debounced.values() if one.due_at <= now)
        return sorted(due, key=lambda one: one.due_at)[:limit]

    async def next_debounced(self) -> Micros | None:
        """See the port."""
        return min((one.due_at for one in self._debounced.values()), default=None)

    async def throttled_starts(
        self, keys: Iterable[tuple[PaceKey, Micros]], now: Micros
    ) -> dict[PaceKey, int]:
        """See the port."""
        return {key: self._counting(key, length, now) for key, length in keys}

    def _counting(self, key: PaceKey, length: Micros, now: Micros) -> int:
        """How many starts of a key count."""
        return sum(
            (one.workflow, one.number, one.key) == key and now < one.expires_at <= now + length
            for one in self._starts
        )

"""Fetches, in a few queries, every row that deciding a batch may look at."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from orchestrator.core.model import Run
from orchestrator.definitions import Definitions
from orchestrator.loop.handlers import run_ids
from orchestrator.loop.intake import Content, EventReceived, LookForEvent, RetryRun, StartRun
from orchestrator.loop.reception import KEPT_AT_ONCE, Matched, match_event, match_schedule
from orchestrator.loop.work import Loaded
from orchestrator.starting.due import DebounceDue, ScheduleDue
from orchestrator.starting.pacing import load_pace
from orchestrator.starting.triggers import Wanted
from orchestrator.store.port import InboxRecord, KeptEvent, Store
from orchestrator.store.starting import DebouncedEvent
from schemas.events import Event
from schemas.times import Micros

__all__ = ["Loader"]

Contents = Sequence[Content | None]


class Loader:
    """Reads for batches; `at_hand` gives runs that need not be read."""

    def __init__(self, store: Store, definitions: Definitions, at_hand: Callable[[str], Run | None]) -> None:
        self._store = store
        self._definitions = definitions
        self._at_hand = at_hand

    async def load(
        self, contents: Contents, now: Micros
    ) -> tuple[Loaded, dict[int, Matched], dict[int, Exception]]:
        """The rows for these; what each event among them asks for, and which could not be asked, by index."""
        loaded = Loaded()
        matched: dict[int, Matched] = {}
        failed: dict[int, Exception] = {}
        events = {(event.source, event.id) for content in contents if (event := _event(content)) is not None}
        if events:
            loaded.events = await self._store.seen_events(events)
            matched, failed = self._match(contents, loaded.events)
        places = {place for one in matched.values() for place in one.places}
        if places:
            loaded.waiting = await self._store.waiting_at(places)
        for content in contents:
            if isinstance(content, LookForEvent):
                one = content.waiting
                loaded.kept[one.key] = await self._store.kept_at(
                    one.place, one.since, content.after, KEPT_AT_ONCE
                )
        if kept := {_name(one) for some in loaded.kept.values() for one in some}:
            loaded.events.update(await self._store.seen_events(kept))
        ids = set().union(*(run_ids(content) for content in contents)) if contents else set()
        ids.update(one.run_id for some in loaded.waiting.values() for one in some)
        loaded.runs = await self._runs(ids)
        wants = [want for one in matched.values() for want in one.wants if isinstance(want, Wanted)]
        due = [content.waiting for content in contents if isinstance(content, DebounceDue)]
        wants.extend(self._wanted_by(due))
        loaded.pace = await load_pace(self._store, wants, now)
        loaded.pace.debounced.update((one.pace_key, one) for one in due)
        if keys := _keys(contents, wants, loaded):
            loaded.keys = await self._store.live_keys(keys)
        if retried := {content.run_id for content in contents if isinstance(content, RetryRun)}:
            loaded.retries = await self._store.live_retries(retried)
        return loaded, matched, failed

    def _match(
        self, contents: Contents, seen: dict[tuple[str, str], InboxRecord]
    ) -> tuple[dict[int, Matched], dict[int, Exception]]:
        """What the events ask for that were not taken in before."""
        matched: dict[int, Matched] = {}
        failed: dict[int, Exception] = {}
        for index, content in enumerate(contents):
            if not isinstance(content, EventReceived | ScheduleDue):
                continue
            event = content.event
            if (event.source, event.id) in seen:
                continue
            try:
                if isinstance(content, ScheduleDue):
                    matched[index] = match_schedule(content, self._definitions)
                else:
                    matched[index] = match_event(event, self._definitions)
            except Exception as error:  # noqa: BLE001 - whoever asked logs it, and goes on without this event
                failed[index] = error
        return matched, failed

    def _wanted_by(self, due: Iterable[DebouncedEvent]) -> Iterator[Wanted]:
        """What debounced events ask for now that they are due."""
        for one in due:
            definition = self._definitions.current.get(one.workflow)
            if definition is not None:
                yield Wanted(definition, one.key, one.input, one.number)

    async def _runs(self, ids: set[str]) -> dict[str, Run]:
        found = {run_id: run for run_id in ids if (run := self._at_hand(run_id)) is not None}
        if missing := ids - found.keys():
            loaded = await self._store.load_runs(missing)
            await self._definitions.ensure(run.version for run in loaded.values())
            found.update(loaded)
        return found


def _event(content: Content | None) -> Event | None:
    """The event that something is about, whether it came before."""
    if isinstance(content, EventReceived | ScheduleDue):
        return content.event
    return content.waiting.event if isinstance(content, DebounceDue) else None


def _name(kept: KeptEvent) -> tuple[str, str]:
    """What an event is known by in the inbox."""
    return kept.event["source"], kept.event["id"]


def _keys(contents: Contents, wants: Iterable[Wanted], loaded: Loaded) -> set[tuple[str, str]]:
    """The keys that new runs may want."""
    keys = {(want.definition.name, want.key) for want in wants}
    for content in contents:
        if isinstance(content, StartRun):
            keys.add((content.workflow, content.key))
        elif isinstance(content, RetryRun) and (run := loaded.runs.get(content.run_id)) is not None:
            keys.add((run.head.workflow, run.head.key))
    return {pair for pair in keys if pair[1]}

"""The coordinator's deciding part, alone: one thing after another is loaded, decided, committed to memory.

Only this module here knows how the coordinator's parts fit together. The other one that does is
`orchestrator.loop.coordinator`, with the bus, the database and the real clock.
"""

from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar, cast

from orchestrator.core.inputs import Wake
from orchestrator.core.model import Run
from orchestrator.definitions import Definitions
from orchestrator.loop.handlers import handle
from orchestrator.loop.intake import Content, InputForRun, LookForEvent, SignalArrived
from orchestrator.loop.live import LiveRuns
from orchestrator.loop.loading import Loader
from orchestrator.loop.reception import NOTHING
from orchestrator.loop.roster import Roster
from orchestrator.loop.work import Work
from orchestrator.scenario.clock import Clock
from orchestrator.scenario.memory import Memory
from orchestrator.settings import Settings
from orchestrator.starting.later import Starting
from orchestrator.store.port import Store
from schemas.names import Topology
from schemas.times import Micros

__all__ = ["Decided", "Desk"]

_FOR_EVER: Final = 2**62
T = TypeVar("T")


class Desk:
    """Decides. `committed` is told of every batch, with the runs as they were before."""

    def __init__(
        self,
        settings: Settings,
        topology: Topology,
        clock: Clock,
        memory: Memory,
        committed: Callable[["Decided"], None],
    ) -> None:
        self.memory = memory
        self.closed = False
        """Whether this life is over: what it still had to look at is lost with it."""
        self._settings = settings
        self._topology = topology
        self._clock = clock
        self._committed = committed
        store = cast(Store, self.memory)
        self.definitions = Definitions(store)
        self._live = LiveRuns()
        self._roster = Roster(int(settings.agent_live_for * 1_000_000))
        self._starting = Starting(store, self.definitions, topology.namespace)
        self._loader = Loader(store, self.definitions, self._live.at_hand)
        _at_once(self._load())

    async def _load(self) -> None:
        """Take up what memory holds: nothing at the first start, everything at a later one."""
        memory = self.memory
        await self.definitions.load()
        await self.definitions.ensure(await memory.live_versions())
        self._live.committed((await memory.load_runs(await memory.in_motion())).values())
        for run_id, at in await memory.wakes(_FOR_EVER, _FOR_EVER):
            self._live.wake(run_id, at)
        self._roster.load(await memory.agents(), self._live.runs.values())
        for signal in await memory.signals():
            self._later(SignalArrived(signal.id, signal.to, signal.given))
        for waiting in await memory.waits_to_look_up():
            self._later(LookForEvent(waiting))
        for content in await self._starting.load(self._clock.now()):
            self._later(content)

    def handle(self, content: Content) -> Any:
        """Let `content` happen; returns what its sender is answered, or raises it."""
        loaded, matched, failed = _at_once(self._loader.load([content], self._clock.now()))
        if failed:
            raise failed[0]
        work = Work(
            self._settings,
            self._topology,
            self._clock,
            self.memory.epoch,
            self.memory.next_outbox_id,
            self.definitions,
            loaded.copy(self._roster.copy(), self._starting.begin(loaded.pace)),
        )
        answer = handle(work, content, matched.get(0, NOTHING))
        work.close()
        before = {run_id: self.memory.runs.get(run_id) for run_id in work.batch.changed}
        self.memory.write(work.batch)
        self._remember(work)
        self._committed(Decided(work, before))
        return answer

    def _remember(self, work: Work) -> None:
        """Take in what was committed, and let happen what follows from it."""
        batch = work.batch
        self._live.committed(batch.changed.values())
        self._roster.committed(batch)
        for definition in work.applied:
            self.definitions.make_current(definition)
        for signal in batch.signals:
            self._later(SignalArrived(signal.id, signal.to, signal.given))
        for content in (*work.look_ups, *_at_once(self._starting.committed(work.starting))):
            self._later(content)

    def _later(self, content: Content) -> None:
        self._clock.after(0, lambda: None if self.closed else self.handle(content))

    # what is due

    def next_at(self) -> Micros | None:
        """When some run must be looked at, or some may start."""
        times = (self._live.timers.next_at(), self._starting.next_at(has_room=True))
        return min((at for at in times if at is not None), default=None)

    def wake(self, at: Micros) -> None:
        """It is that time. A wake-up that moves nothing does not come again at once."""
        for content in _at_once(self._starting.due(at, self._settings.max_batch)):
            self.handle(content)
        for run_id in self._live.timers.due(at):
            before = self.memory.runs[run_id]
            self.handle(InputForRun(run_id, Wake()))
            if self.memory.runs[run_id] is before:
                self._live.wake(run_id, at + 1_000_000)


class Decided:
    """A batch that was committed."""

    def __init__(self, work: Work, before: dict[str, Run | None]) -> None:
        self.batch = work.batch
        self.before = before


def _at_once(reading: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never waits."""
    try:
        reading.send(None)
    except StopIteration as done:
        return cast(T, done.value)
    raise AssertionError("memory does not wait")

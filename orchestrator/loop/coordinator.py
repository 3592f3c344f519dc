"""The coordinator's loop: drain, decide, commit, publish, acknowledge; in batches.

Nothing is acknowledged before its effect is committed, and nothing is published that is not committed. After
a crash the broker delivers again what was not acknowledged, the outbox is sent again, and everybody dedups.
A commit that fails stops the coordinator: what the database holds is the truth, and the next start reads it.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Iterable
from typing import Any

from orchestrator.core.facts import AttemptSent
from orchestrator.core.inputs import Wake
from orchestrator.definitions import Definitions
from orchestrator.loop.gate import Gate
from orchestrator.loop.handlers import handle
from orchestrator.loop.intake import (
    Content,
    EventReceived,
    InputForRun,
    LookForEvent,
    OutboxDone,
    SignalArrived,
    StartRun,
    read_delivery,
)
from orchestrator.loop.items import Item, Origin, answer, refuse, stopping
from orchestrator.loop.live import LiveRuns
from orchestrator.loop.loading import Loader
from orchestrator.loop.publisher import DeadLetters, Publisher
from orchestrator.loop.reception import NOTHING
from orchestrator.loop.roster import Roster
from orchestrator.loop.upkeep import Upkeep
from orchestrator.loop.work import Work
from orchestrator.metrics import Metrics
from orchestrator.settings import Settings
from orchestrator.starting.due import DebounceDue, ScheduleDue
from orchestrator.starting.later import Starting
from orchestrator.store.port import Store, StoredSignal
from orchestrator.world import World
from runtime.bus.port import Bus, Delivery, Subscription
from runtime.failpoint import failpoint
from schemas.codec import Malformed
from schemas.errors import BatonError, InternalError
from schemas.names import Topology

__all__ = ["Coordinator"]

log = logging.getLogger(__name__)

LAZY_SECONDS = 0.05
"""How long bookkeeping that nobody waits for may wait for a batch to ride in."""

RESULT_PREFETCH = 1_000
SIDE_PREFETCH = 100

FOR_EVER = 2**62
MAX_LIVE_RUNS = 1_000_000

LOAD_ROWS = 1_000

FAULT_SECONDS = 60
"""Until something that nobody sends again is tried again, after a fault of ours."""


class Coordinator:
    """Owns the loop. `start` before `run`; `submit` from anywhere on the same event loop."""

    def __init__(
        self, settings: Settings, topology: Topology, store: Store, bus: Bus, world: World, metrics: Metrics
    ) -> None:
        self._settings = settings
        self._topology = topology
        self._store = store
        self._bus = bus
        self._world = world
        self._metrics = metrics
        self.definitions = Definitions(store)
        self._live = LiveRuns()
        self._loader = Loader(store, self.definitions, self._live.at_hand)
        self._roster = Roster(int(settings.agent_live_for * 1_000_000))
        self._starting = Starting(store, self.definitions, topology.namespace)
        stranded = self._starting.groups.stranded
        self._upkeep = Upkeep(settings, store, world, metrics, stranded, self._look_again)
        self._mailbox: deque[Item] = deque()
        self._lazy: list[Item] = []
        self._left: list[Item] = []
        """What the last batch had no time for."""
        self._wake = asyncio.Event()
        self._publisher = Publisher(bus, topology, world, self._outbox_done)
        self._dead = DeadLetters(bus, topology, world)
        active, queued = (lambda: self._live.active), (lambda: self._starting.groups.queued)
        self._gate = Gate(settings, bus, topology.events_inbox, active, queued)
        self._subscriptions: list[Subscription] = []
        self._stopping = False
        metrics.watch(lambda: self._publisher.depth, active, queued, lambda: bus.connected)

    @property
    def ready(self) -> bool:
        """Whether events are being taken in."""
        return bool(self._subscriptions) and self._bus.connected and not self._stopping

    async def start(self) -> None:
        """Take up what the database holds, then begin to listen. The store is open and the bus started."""
        await self.definitions.load()
        await self._load_runs()
        await self._load_outbox()
        self._tell(await self._store.signals())
        for waiting in await self._store.waits_to_look_up():
            self._put(LookForEvent(waiting), None)
        for content in await self._starting.load(self._world.now()):
            self._put(content, None)
        results = self._topology.results_queue(self._settings.shard)
        expired = self._topology.expired_queue(self._settings.shard)
        for queue, prefetch in (
            (results, RESULT_PREFETCH),
            (expired, SIDE_PREFETCH),
            (self._topology.presence, SIDE_PREFETCH),
        ):
            self._subscriptions.append(await self._bus.subscribe(queue, self._arrived, prefetch=prefetch))
        await self._gate.regulate(self._arrived)

    async def run(self) -> None:
        """Work until `stop`, or until something fails that must stop everything."""
        helpers = [
            asyncio.create_task(job) for job in (self._publisher.run(), self._dead.run(), self._upkeep.run())
        ]
        main = asyncio.create_task(self._loop())
        try:
            done, _ = await asyncio.wait((main, *helpers), return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (main, *helpers):
                task.cancel()
            await asyncio.gather(main, *helpers, return_exceptions=True)
            refuse([*self._left, *self._mailbox])

    def stop(self) -> None:
        """Let the loop finish the batch it is in, and return from `run`."""
        self._stopping = True
        self._wake.set()

    async def submit(self, content: Content) -> Any:
        """Put a request into the loop and wait for its answer, which comes after the commit."""
        if self._stopping:
            raise stopping()
        if isinstance(content, EventReceived | StartRun):
            self._gate.check()
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._put(content, future)
        return await future

    # what comes in

    def _arrived(self, delivery: Delivery) -> None:
        """Called by the bus for each delivery; reading it is cheap and cannot fail the consumer."""
        try:
            content = read_delivery(
                delivery, self._topology, self._settings.shard, self._settings.max_event_bytes
            )
            self._put(content, delivery)
        except Malformed as error:
            self._put(None, delivery, refused=f"{error.code}: {error.message}")
        except Exception as error:  # held for ever, it would take up room for good
            log.exception("cannot read a message from %s; it is set aside", delivery.queue)
            self._put(None, delivery, refused=self._fault(delivery, error))

    def _put(self, content: Content | None, origin: Origin, refused: str = "") -> None:
        self._mailbox.append(Item(content, origin, asyncio.get_running_loop().time(), refused))
        self._wake.set()

    def _outbox_done(self, done: OutboxDone) -> None:
        if done.returned or done.expired:
            self._put(done, None)
        else:
            self._lazy.append(Item(done, None, asyncio.get_running_loop().time()))
            asyncio.get_running_loop().call_later(LAZY_SECONDS, self._wake.set)

    # the loop

    async def _loop(self) -> None:
        while not self._stopping:
            await self._wait()
            items, self._left = self._left or [*await self._due(), *self._drain()], []
            try:
                if items:
                    await self._turn(items)
            except BaseException:
                refuse(items)  # whether it was committed is not known here
                raise
        if self._lazy:  # else the next life would send again what the broker has
            items, self._lazy = self._lazy, []
            await self._turn(items)

    async def _wait(self) -> None:
        """Until something arrives or some run's time has come."""
        if self._mailbox or self._left:
            await asyncio.sleep(0)  # let what has already arrived join the batch
            return
        self._wake.clear()
        times = (self._live.timers.next_at(), self._starting.next_at(has_room=self._gate.room > 0))
        at = min((at for at in times if at is not None), default=None)
        # No longer than a second at a time: the wall clock may jump, the loop's does not.
        timeout = None if at is None else min(max(0.0, (at - self._world.now()) / 1_000_000), 1.0)
        try:
            async with asyncio.timeout(timeout):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _due(self) -> list[Item]:
        """What has come due that starts runs."""
        room = min(self._gate.room, self._settings.max_batch)
        now = asyncio.get_running_loop().time()
        return [Item(content, None, now) for content in await self._starting.due(self._world.now(), room)]

    def _drain(self) -> list[Item]:
        """What has arrived and what is due, up to a limit."""
        items = self._lazy
        self._lazy = []
        now = asyncio.get_running_loop().time()
        for run_id in self._live.timers.due(self._world.now())[: self._settings.max_batch]:
            failpoint("coordinator.at_timer")
            items.append(Item(InputForRun(run_id, Wake()), None, now))
        room = max(1, self._settings.max_batch - len(items))
        items.extend(self._mailbox.popleft() for _ in range(min(len(self._mailbox), room)))
        return items

    async def _turn(self, items: list[Item]) -> None:
        """One batch: load, decide, commit, and only then tell anybody."""
        failpoint("coordinator.before_decide")
        work, answers = await self._decide(items)
        items, self._left = items[: len(answers)], items[len(answers) :]
        deliveries = [(item.origin, item.refused) for item in items if isinstance(item.origin, Delivery)]
        if work.batch or deliveries:  # to acknowledge takes the newest epoch, also with nothing to write
            failpoint("coordinator.before_commit")
            with self._metrics.commit.time():
                await self._store.commit(work.batch)
            failpoint("coordinator.after_commit")
            if any(isinstance(fact, AttemptSent) and fact.undo for _, _, fact in work.batch.facts):
                failpoint("coordinator.mid_undo")
        self._remember(work)
        for content in await self._starting.committed(work.starting):
            self._put(content, None)
        self._put_off(items, work)
        self._publisher.put(work.batch.outbox)
        self._dead.put([(delivery, why) for delivery, why in deliveries if why])
        for item, said in zip(items, answers, strict=True):
            if isinstance(item.origin, asyncio.Future):
                answer(item.origin, said)
        await self._gate.regulate(self._arrived)  # first: what is acknowledged makes room for more
        failpoint("coordinator.before_ack")
        await self._bus.ack([delivery for delivery, why in deliveries if not why])
        failpoint("coordinator.after_ack")
        self._measure(items, work)

    async def _decide(self, items: list[Item]) -> tuple[Work, list[Any]]:
        """Decide items, the first of them at least, and give what there is to answer to each.

        One that breaks something is taken out, and the rest decided anew without it.
        """
        loaded, matched, failed = await self._loader.load([item.content for item in items], self._world.now())
        loaded.check_room = self._gate.check
        for index, error in failed.items():
            self._set_aside(items[index], error)
        while True:
            work = Work(
                self._settings,
                self._topology,
                self._world,
                self._store.epoch,
                self._store.next_outbox_id,
                self.definitions,
                loaded.copy(self._roster.copy(), self._starting.begin(loaded.pace)),
            )
            answers: list[Any] = []
            until = asyncio.get_running_loop().time() + self._settings.max_batch_seconds
            for index, item in enumerate(items):
                try:
                    said: Any = None
                    if item.content is not None:
                        said = handle(work, item.content, matched.get(index, NOTHING))
                except Exception as error:  # noqa: BLE001 - it is logged there
                    if not (isinstance(error, BatonError) and isinstance(item.origin, asyncio.Future)):
                        self._set_aside(item, error)
                        break
                    said = error
                answers.append(said)
                if asyncio.get_running_loop().time() >= until:
                    work.close()
                    return work, answers
            else:
                work.close()
                return work, answers

    def _set_aside(self, item: Item, error: Exception) -> None:
        """A fault of ours costs one message, not the coordinator; what nobody sends again is tried again."""
        log.error("cannot handle %s; it is set aside", type(item.content).__name__, exc_info=error)
        if isinstance(item.content, InputForRun) and item.origin is None:
            self._live.wake(item.content.run_id, self._world.now() + FAULT_SECONDS * 1_000_000)
        elif isinstance(item.content, SignalArrived | LookForEvent):
            asyncio.get_running_loop().call_later(FAULT_SECONDS, self._put, item.content, None)
        elif isinstance(item.content, ScheduleDue | DebounceDue):
            self._starting.put_off(self._world.now())
        item.content, item.refused = None, self._fault(item.origin, error)
        if isinstance(item.origin, asyncio.Future):
            answer(item.origin, InternalError("Baton failed to handle this", hint="the log says more"))

    def _fault(self, origin: Origin, error: Exception) -> str:
        """Why a message is refused; empty for one that lies with the dead letters and would come back."""
        expired = self._topology.expired_queue(self._settings.shard)
        if isinstance(origin, Delivery) and origin.queue == expired:
            return ""
        return f"internal_error: {type(error).__name__}: {error}"

    # what a batch needs from the store, and what is kept of it

    def _remember(self, work: Work) -> None:
        """Take in what was committed, and put what follows from it into the loop."""
        self._live.committed(work.batch.changed.values())
        self._roster.committed(work.batch)
        for definition in work.applied:
            self.definitions.make_current(definition)
        self._tell(work.batch.signals)
        for look_up in work.look_ups:
            self._put(look_up, None)

    def _tell(self, signals: Iterable[StoredSignal]) -> None:
        for signal in signals:
            self._put(SignalArrived(signal.id, signal.to, signal.given), None)

    def _put_off(self, items: list[Item], work: Work) -> None:
        """A wake-up that moved nothing must not come again at once."""
        for item in items:
            match item.content:
                case InputForRun(run_id, Wake()) if run_id not in work.batch.changed:
                    at = self._live.timers.at(run_id)
                    if at is not None:
                        self._live.wake(run_id, max(at, self._world.now() + 1_000_000))

    def _measure(self, items: list[Item], work: Work) -> None:
        now = asyncio.get_running_loop().time()
        self._metrics.batch.observe(len(items))
        self._metrics.queue_age.observe(now - min(item.arrived for item in items))
        self._metrics.committed(work.batch)
        for item in items:
            if item.refused and isinstance(item.origin, Delivery):
                self._metrics.dead.labels(item.origin.queue).inc()

    # around the loop

    def _look_again(self) -> None:
        for content in self._starting.look_again(self._world.now()):
            self._put(content, None)

    async def _load_runs(self) -> None:
        """Have the runs in motion at hand, and know when each live one must be looked at."""
        await self.definitions.ensure(await self._store.live_versions())
        ids = await self._store.in_motion()
        for start in range(0, len(ids), LOAD_ROWS):
            self._live.committed((await self._store.load_runs(ids[start : start + LOAD_ROWS])).values())
        for run_id, at in await self._store.wakes(FOR_EVER, MAX_LIVE_RUNS):
            self._live.wake(run_id, at)
        self._roster.load(await self._store.agents(), self._live.runs.values())

    async def _load_outbox(self) -> None:
        """Send again what a former life may not have sent."""
        after = 0
        while some := await self._store.unsent(after, 1_000):
            self._publisher.put(some, perhaps_sent=True)
            after = some[-1].id

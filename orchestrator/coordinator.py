"""The coordinator's loop: drain, decide, commit, publish, acknowledge; in batches.

Nothing is acknowledged before its effect is committed, and nothing is published that is not committed. After
a crash the broker delivers again what was not acknowledged, the outbox is sent again, and everybody dedups.
A commit that fails stops the coordinator: what the database holds is the truth, and the next start reads it.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from orchestrator.core.facts import AttemptSent
from orchestrator.core.inputs import Wake
from orchestrator.core.model import Run
from orchestrator.definitions import Definitions
from orchestrator.handlers import Wants, handle, run_ids
from orchestrator.intake import (
    Content,
    EventReceived,
    InputForRun,
    OutboxDone,
    StartRun,
    read_delivery,
)
from orchestrator.metrics import Metrics
from orchestrator.publisher import DeadLetters, Publisher
from orchestrator.settings import Settings
from orchestrator.store.port import Store
from orchestrator.timers import Timers
from orchestrator.triggers import Wanted
from orchestrator.work import Loaded, Work, match_event
from orchestrator.world import World
from runtime.bus.port import Bus, Delivery, Subscription
from runtime.failpoint import failpoint
from schemas.codec import Malformed
from schemas.errors import BatonError, Conflict, InternalError, Unreachable
from schemas.names import Topology

__all__ = ["Coordinator"]

log = logging.getLogger(__name__)

LAZY_SECONDS = 0.05
"""How long bookkeeping that nobody waits for may wait for a batch to ride in."""

EVENT_PREFETCH = 100
RESULT_PREFETCH = 1_000
SIDE_PREFETCH = 100

PRUNE_ROWS = 10_000
RESUME_AT = 0.9
"""Part of the limit on active runs below which events are taken in again."""

FOR_EVER = 2**62
MAX_LIVE_RUNS = 1_000_000

FAULT_PAUSE = 60_000_000
"""Microseconds until a run is woken again whose waking failed by a fault of ours."""

Origin = Delivery | asyncio.Future[Any] | None


@dataclass(slots=True)
class _Item:
    """Something to decide, and who must hear of it."""

    content: Content | None
    origin: Origin
    arrived: float
    refused: str = ""


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
        self._timers = Timers()
        self._cache: dict[str, Run] = {}
        self._mailbox: deque[_Item] = deque()
        self._lazy: list[_Item] = []
        self._wake = asyncio.Event()
        self._publisher = Publisher(bus, topology, world, self._outbox_done)
        self._dead = DeadLetters(bus, topology, world)
        self._events: Subscription | None = None
        self._subscriptions: list[Subscription] = []
        self._stopping = False
        metrics.watch(lambda: self._publisher.depth, lambda: len(self._timers), lambda: bus.connected)

    @property
    def ready(self) -> bool:
        """Whether events are being taken in."""
        return bool(self._subscriptions) and self._bus.connected and not self._stopping

    async def start(self) -> None:
        """Take up what the database holds, then begin to listen. The store is open and the bus started."""
        await self.definitions.load()
        for run_id, at in await self._store.wakes(FOR_EVER, MAX_LIVE_RUNS):
            self._timers.set(run_id, at)
        await self._load_outbox()
        results = self._topology.results_queue(self._settings.shard)
        expired = self._topology.expired_queue(self._settings.shard)
        for queue, prefetch in (
            (results, RESULT_PREFETCH),
            (expired, SIDE_PREFETCH),
            (self._topology.presence, SIDE_PREFETCH),
        ):
            self._subscriptions.append(await self._bus.subscribe(queue, self._arrived, prefetch=prefetch))
        await self._regulate_events()

    async def run(self) -> None:
        """Work until `stop`, or until something fails that must stop everything."""
        helpers = [
            asyncio.create_task(job) for job in (self._publisher.run(), self._dead.run(), self._look_after())
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
            _refuse(self._mailbox)

    def stop(self) -> None:
        """Let the loop finish the batch it is in, and return from `run`."""
        self._stopping = True
        self._wake.set()

    async def submit(self, content: Content) -> Any:
        """Put a request into the loop and wait for its answer, which comes after the commit."""
        if self._stopping:
            raise _stopping()
        if (
            isinstance(content, EventReceived | StartRun)
            and len(self._timers) >= self._settings.max_active_runs
        ):
            raise Unreachable(
                f"{len(self._timers)} runs are active, which is the limit",
                code="too_many_runs",
                hint="try again later, or publish the event to RabbitMQ, where it waits",
            )
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
        self._mailbox.append(_Item(content, origin, asyncio.get_running_loop().time(), refused))
        self._wake.set()

    def _outbox_done(self, done: OutboxDone) -> None:
        if done.returned or done.expired:
            self._put(done, None)
        else:
            self._lazy.append(_Item(done, None, asyncio.get_running_loop().time()))
            asyncio.get_running_loop().call_later(LAZY_SECONDS, self._wake.set)

    # the loop

    async def _loop(self) -> None:
        while not self._stopping:
            await self._wait()
            items = self._drain()
            try:
                if items:
                    await self._turn(items)
            except BaseException:
                _refuse(items)  # whether it was committed is not known here
                raise
        if self._lazy:  # else the next life would send again what the broker has
            items, self._lazy = self._lazy, []
            await self._turn(items)

    async def _wait(self) -> None:
        """Until something arrives or some run's time has come."""
        if self._mailbox:
            await asyncio.sleep(0)  # let what has already arrived join the batch
            return
        self._wake.clear()
        at = self._timers.next_at()
        # No longer than a second at a time: the wall clock may jump, the loop's does not.
        timeout = None if at is None else min(max(0.0, (at - self._world.now()) / 1_000_000), 1.0)
        try:
            async with asyncio.timeout(timeout):
                await self._wake.wait()
        except TimeoutError:
            return

    def _drain(self) -> list[_Item]:
        """What has arrived and what is due, up to a limit."""
        items = self._lazy
        self._lazy = []
        now = asyncio.get_running_loop().time()
        for run_id in self._timers.due(self._world.now())[: self._settings.max_batch]:
            failpoint("coordinator.at_timer")
            items.append(_Item(InputForRun(run_id, Wake()), None, now))
        room = max(1, self._settings.max_batch - len(items))
        items.extend(self._mailbox.popleft() for _ in range(min(len(self._mailbox), room)))
        return items

    async def _turn(self, items: list[_Item]) -> None:
        """One batch: load, decide, commit, and only then tell anybody."""
        failpoint("coordinator.before_decide")
        work, answers = await self._decide(items)
        if work.batch:
            failpoint("coordinator.before_commit")
            with self._metrics.commit.time():
                await self._store.commit(work.batch)
            failpoint("coordinator.after_commit")
            if any(isinstance(fact, AttemptSent) and fact.undo for _, _, fact in work.batch.facts):
                failpoint("coordinator.mid_undo")
        self._remember(work)
        self._put_off(items, work)
        self._publisher.put(work.batch.outbox)
        deliveries = [(item.origin, item.refused) for item in items if isinstance(item.origin, Delivery)]
        self._dead.put([(delivery, why) for delivery, why in deliveries if why])
        for future, answer in answers:
            _answer(future, answer)
        await self._regulate_events()  # first: what is acknowledged makes room for more
        failpoint("coordinator.before_ack")
        await self._bus.ack([delivery for delivery, why in deliveries if not why])
        failpoint("coordinator.after_ack")
        self._measure(items, work)

    async def _decide(self, items: list[_Item]) -> tuple[Work, list[tuple[asyncio.Future[Any], Any]]]:
        """Decide all items; one that breaks something is taken out, and the rest decided anew without it."""
        loaded, wanted = await self._load(items)
        while True:
            work = Work(
                self._settings,
                self._topology,
                self._world,
                self._store.epoch,
                self._store.next_outbox_id,
                self.definitions,
                Loaded(dict(loaded.runs), dict(loaded.keys), dict(loaded.events)),
            )
            answers: list[tuple[asyncio.Future[Any], Any]] = []
            for index, item in enumerate(items):
                try:
                    answer: Any = None
                    if item.content is not None:
                        answer = handle(work, item.content, wanted.get(index, ()))
                except Exception as error:  # noqa: BLE001 - it is logged there
                    if not (isinstance(error, BatonError) and isinstance(item.origin, asyncio.Future)):
                        self._set_aside(item, error)
                        break
                    answer = error
                if isinstance(item.origin, asyncio.Future):
                    answers.append((item.origin, answer))
            else:
                return work, answers

    def _set_aside(self, item: _Item, error: Exception) -> None:
        """A fault of ours costs one message, not the coordinator; a timer with it comes again later."""
        log.error("cannot handle %s; it is set aside", type(item.content).__name__, exc_info=error)
        if isinstance(item.content, InputForRun) and item.origin is None:
            self._timers.set(item.content.run_id, self._world.now() + FAULT_PAUSE)
        item.content, item.refused = None, self._fault(item.origin, error)
        if isinstance(item.origin, asyncio.Future):
            _answer(item.origin, InternalError("Baton failed to handle this", hint="the log says more"))

    def _fault(self, origin: Origin, error: Exception) -> str:
        """Why a message is refused; empty for one that lies with the dead letters and would come back."""
        expired = self._topology.expired_queue(self._settings.shard)
        if isinstance(origin, Delivery) and origin.queue == expired:
            return ""
        return f"internal_error: {type(error).__name__}: {error}"

    # what a batch needs from the store, and what is kept of it

    async def _load(self, items: list[_Item]) -> tuple[Loaded, dict[int, Wants]]:
        """Fetch, in a few queries, every row that deciding the items may look at."""
        contents = [item.content for item in items]
        ids = set().union(*(run_ids(content) for content in contents)) if contents else set()
        loaded = Loaded(runs={run_id: self._cache[run_id] for run_id in ids if run_id in self._cache})
        if missing := ids - loaded.runs.keys():
            loaded.runs.update(await self._store.load_runs(missing))
            await self.definitions.ensure(run.head.version for run in loaded.runs.values())
        events = {(c.event.source, c.event.id) for c in contents if isinstance(c, EventReceived)}
        if events:
            loaded.events = await self._store.seen_events(events)
        wanted: dict[int, Wants] = {}
        for index, item in enumerate(items):
            event = item.content.event if isinstance(item.content, EventReceived) else None
            if event is None or (event.source, event.id) in loaded.events:
                continue
            try:
                wanted[index] = match_event(event, self.definitions.current)
            except Exception as error:  # noqa: BLE001 - it is logged there
                self._set_aside(item, error)
        keys = {
            (want.definition.name, want.key)
            for wants in wanted.values()
            for want in wants
            if isinstance(want, Wanted)
        }
        keys |= {(content.workflow, content.key) for content in contents if isinstance(content, StartRun)}
        if keys := {pair for pair in keys if pair[1]}:
            loaded.keys = await self._store.live_keys(keys)
        return loaded, wanted

    def _remember(self, work: Work) -> None:
        """Keep runs in motion at hand, and their timers."""
        for run_id, run in work.batch.changed.items():
            self._timers.set(run_id, run.wake_at)
            if run.wake_at is None:
                self._cache.pop(run_id, None)
            else:
                self._cache[run_id] = run
        for definition in work.applied:
            self.definitions.make_current(definition)

    def _put_off(self, items: list[_Item], work: Work) -> None:
        """A wake-up that moved nothing must not come again at once."""
        for item in items:
            match item.content:
                case InputForRun(run_id, Wake()) if run_id not in work.batch.changed:
                    at = self._timers.at(run_id)
                    if at is not None:
                        self._timers.set(run_id, max(at, self._world.now() + 1_000_000))

    def _measure(self, items: list[_Item], work: Work) -> None:
        now = asyncio.get_running_loop().time()
        self._metrics.batch.observe(len(items))
        self._metrics.queue_age.observe(now - min(item.arrived for item in items))
        self._metrics.committed(work.batch)
        for item in items:
            if item.refused and isinstance(item.origin, Delivery):
                self._metrics.dead.labels(item.origin.queue).inc()

    # around the loop

    async def _regulate_events(self) -> None:
        """Take in events only while there is room for new runs; a flood waits on the broker."""
        active, limit = len(self._timers), self._settings.max_active_runs
        if self._events is None and active < max(1, limit * RESUME_AT):
            self._events = await self._bus.subscribe(
                self._topology.events_inbox, self._arrived, prefetch=min(EVENT_PREFETCH, limit)
            )
        elif self._events is not None and active >= limit:
            subscription, self._events = self._events, None
            await subscription.cancel()

    async def _load_outbox(self) -> None:
        """Send again what a former life may not have sent."""
        after = 0
        while some := await self._store.unsent(after, 1_000):
            self._publisher.put(some, perhaps_sent=True)
            after = some[-1].id

    async def _look_after(self) -> None:
        """Now and then: look for runs that nothing would move, and forget old inbox rows."""
        while True:
            await asyncio.sleep(self._settings.reconcile_every)
            stranded = await self._store.stranded(100)
            self._metrics.stranded.set(len(stranded))
            if stranded:
                log.error("ALARM: nothing would ever move these runs: %s", ", ".join(stranded))
            horizon = self._world.now() - self._settings.inbox_days * 86_400_000_000
            while await self._store.prune_inbox(horizon, PRUNE_ROWS) == PRUNE_ROWS:
                pass  # the loop commits in between


def _stopping() -> Conflict:
    return Conflict("the coordinator is stopping", code="stopping", hint="try again")


def _refuse(items: Iterable[_Item]) -> None:
    """Whoever waits for an answer gets one."""
    for item in items:
        if isinstance(item.origin, asyncio.Future):
            _answer(item.origin, _stopping())


def _answer(future: asyncio.Future[Any], answer: Any) -> None:
    if future.done():
        return  # whoever asked has gone
    if isinstance(answer, BaseException):
        future.set_exception(answer)
    else:
        future.set_result(answer)

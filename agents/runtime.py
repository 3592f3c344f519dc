"""The agent's loop: receive, journal, acknowledge, run, journal the result, publish, confirm.

One task writes the journal, a batch at a time. Whatever arrives or ends while a batch is being written goes
into the next, so under load one fsync serves many commands. Everything that must not happen before it is
durable (an acknowledgement, the start of a non-idempotent action, the publishing of a result) happens after
the write, in `_settle`.
"""

import asyncio
import contextlib
import logging
import shutil
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

from agents.answers import Identity, Outcome, answer
from agents.intake import Intake, Taken, Workshop, is_question
from agents.jobs import Cause, Job, Runner, Telemetry
from agents.journal import Batch, Journal, Known
from agents.messages import dead_letter, presence_message, result_message
from agents.probes import Lost, Prober, lost_outcome
from agents.processes import Processes
from agents.publisher import Outgoing, Publisher
from agents.recovery import recover
from agents.sdk import Action
from agents.settings import Settings
from agents.world import SystemWorld, World
from runtime.bus.port import Bus, Delivery, Subscription
from runtime.failpoint import failpoint
from schemas.codec import Malformed, decode
from schemas.messages import Command, CommandKind, ResultStatus
from schemas.times import from_datetime

__all__ = ["AgentRuntime"]

log = logging.getLogger(__name__)

MARK_WITHIN = 1.0
"""Seconds that the mark of a published result may wait for a transaction to travel with."""

RECOVER_PAGE = 500


class _Round(NamedTuple):
    """What one transaction of the journal is about."""

    intake: Intake
    batch: Batch
    claimed: list[Job]
    ended: list[tuple[Command, bytes]]


class AgentRuntime:
    """One agent, from its start to its stop. `run` is its life; the runner calls `claimed` to `ended`."""

    def __init__(
        self,
        settings: Settings,
        actions: dict[str, Action],
        bus: Bus,
        journal: Journal,
        telemetry: Telemetry,
        world: World | None = None,
    ) -> None:
        self._world = world = world or SystemWorld()
        self._settings = settings
        self._limits = settings.limits
        self._actions = actions
        self._bus = bus
        self._journal = journal
        self._processes = Processes()
        self._runner = Runner(self, settings.concurrency, self._limits, telemetry, world)
        self._prober = Prober(self._probed, self._limits, world)
        self._publisher = Publisher(bus, self._limits, self._confirmed)
        self._own_queue = settings.topology.agent_queue(settings.name)
        self._subscriptions: list[Subscription] = []
        self._jobs: dict[str, Job] = {}
        """Commands taken whose results are not journaled yet."""
        self._arrived: deque[Delivery] = deque()
        self._held: deque[Delivery] = deque()
        self._batch = Batch()
        self._claimed: list[Job] = []
        self._ended: list[tuple[Command, bytes]] = []
        self._prune_due = False
        self._wake = asyncio.Event()
        self._stopping = False
        self._mark_timer: asyncio.TimerHandle | None = None

    # its life

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set, then end in order. Raises what makes going on impossible (full disk)."""
        tasks: list[asyncio.Task[None]] = []
        await self._journal.open()
        try:
            await self._recover()
            works = (self._serve(), self._publisher.run(), self._consume(), self._remind())
            tasks += [asyncio.create_task(work) for work in works]
            ending = asyncio.create_task(stop.wait())
            await asyncio.wait((ending, *tasks), return_when=asyncio.FIRST_COMPLETED)
            ending.cancel()
            if stop.is_set():
                await self._stop(serving=tasks[0], consuming=tasks[2])
            for task in tasks:
                if task.done() and not task.cancelled():
                    task.result()  # raises what went wrong
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._runner.close(0, begins=False)
            await self._prober.close()
            await self._bus.stop()
            await self._journal.close()
            self._processes.close()

    def hurry(self) -> None:
        """Stop what still runs, without further grace."""
        for job in tuple(self._jobs.values()):
            if job.task is not None:
                self._runner.stop(job, Cause.SHUTDOWN)

    async def _recover(self) -> None:
        """Take up what the last life of this agent left; see `agents.recovery`."""
        self._identity = Identity(self._settings.name, self._journal.instance_id)
        work = self._settings.state_dir / "work"
        await asyncio.to_thread(shutil.rmtree, work, ignore_errors=True)
        secrets = self._settings.secrets
        self._workshop = Workshop(self._identity, self._actions, work, self._processes, secrets)
        seq = 0
        while rows := await self._journal.unsettled(seq, RECOVER_PAGE):
            seq = rows[-1].seq
            plan = recover(rows, self._workshop, self._world.now())
            if plan.left:
                await self._world.kill_marked(plan.left)
            await self._journal.write(
                Batch(
                    finished=[(body, id_) for id_, _, body in plan.finished],
                    lost=[(body, id_) for id_, _, body in plan.lost],
                )
            )
            for id_, shard, body in plan.finished + plan.lost + plan.unpublished:
                self._publish(shard, body, settles=id_)
            self._submit(plan.jobs)
            for lost in plan.probes:
                self._prober.ask(lost)

    async def _consume(self) -> None:
        """Connect and consume; then announce the agent every now and then."""
        await self._bus.start()
        prefetch = {self._own_queue: self._limits.prefetch}
        for pool in self._settings.pools:
            prefetch[self._settings.topology.pool_queue(pool)] = self._limits.pool_prefetch
        for queue, limit in prefetch.items():
            self._subscriptions.append(await self._bus.subscribe(queue, self._take, prefetch=limit))
        while True:
            self._announce(stopping=False)
            await asyncio.sleep(self._limits.presence_interval)

    async def _stop(self, *, serving: asyncio.Task[None], consuming: asyncio.Task[None]) -> None:
        """Take nothing more, let actions end or stop them, journal and publish what came of them."""
        consuming.cancel()
        await asyncio.gather(consuming, return_exceptions=True)
        for subscription in self._subscriptions:
            await subscription.cancel()
        self._announce(stopping=True)
        closing = asyncio.create_task(self._runner.close(self._limits.stop_grace))
        await asyncio.wait((closing, serving), return_when=asyncio.FIRST_COMPLETED)
        if not closing.done():
            closing.cancel()
            await serving  # raises: its disk has failed, and what has its turn would wait for it for ever
        await closing
        await self._prober.close()
        self._stopping = True
        self._wake.set()
        await serving
        if self._bus.connected:  # what is not published now is published at the next start
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._limits.publish_on_stop):
                    await self._publisher.flush()
        await self._journal.write(self._batch)

    async def _remind(self) -> None:
        """Have the journal kept within its bounds, every now and then."""
        while True:
            self._prune_due = True
            self._wake.set()
            await asyncio.sleep(self._limits.prune_interval)

    # the loop

    def _take(self, delivery: Delivery) -> None:
        """Have the loop look at a delivery. It is held by the broker until the journal has it."""
        self._arrived.append(delivery)
        self._wake.set()

    async def _serve(self) -> None:
        """Write the journal, a batch at a time, until told to stop and nothing is left to write."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            round_ = self._collect()
            if round_.intake.taken:
                failpoint("agent.before_journal")
            known = await self._journal.write(round_.batch) if round_.batch else {}
            await self._settle(round_, known)
            if self._prune_due:
                await self._prune()
            if self._stopping and not (self._batch or self._ended or self._claimed):
                return

    async def _prune(self) -> None:
        """Remove some of what is too old. By the task that writes, so that `forgotten` is never outdated."""
        self._prune_due = await self._journal.prune(from_datetime(self._world.now()), self._limits) > 0
        if self._prune_due:
            self._wake.set()

    def _collect(self) -> _Round:
        """Everything that happened since the last round."""
        batch, self._batch = self._batch, Batch()
        claimed, self._claimed = self._claimed, []
        ended, self._ended = self._ended, []
        intake = Intake(self._workshop, self._jobs, self._world.now(), self._journal.forgotten)
        if not self._stopping:
            self._admit(intake)
        batch.received += [taken.entry for taken in intake.taken]
        return _Round(intake, batch, claimed, ended)

    def _admit(self, intake: Intake) -> None:
        """Let in what there is room for. The rest stays with the broker, held by us, until a job ends.

        A pool's command is taken only when it can start at once, so that no other agent waits for work; a
        question always. What was held while its connection was lost is dropped: the broker has given it to us
        again, or to another.
        """
        held = [delivery for delivery in self._held if self._bus.is_current(delivery)]
        arrived = tuple(self._arrived)
        self._held.clear()
        self._arrived.clear()
        room = self._limits.max_backlog - self._runner.queued
        slots = self._runner.free
        for place, delivery in enumerate((*held, *arrived)):
            own = delivery.queue == self._own_queue
            if (room if own else min(room, slots)) > 0:
                room -= 1
                slots -= 1
                intake.add(delivery)
            elif place >= len(held) and is_question(delivery):
                intake.add(delivery)
            else:
                self._held.append(delivery)

    async def _settle(self, round_: _Round, known: dict[int, Known]) -> None:
        """Do what had to wait for the journal."""
        self._settle_intake(round_.intake, known)
        for job in round_.claimed:
            self._runner.begin(job)
        if round_.ended:
            failpoint("agent.after_result_journal")
        for command, body in round_.ended:
            self._jobs.pop(command.id, None)
            self._prober.settled(command.id)
            self._publish(command.reply_to, body, settles=command.id)
        if round_.batch.published:
            failpoint("agent.after_confirm")
        if round_.intake.accepted:  # last, because nothing above had to wait
            await self._bus.ack(round_.intake.accepted)

    def _settle_intake(self, intake: Intake, known: dict[int, Known]) -> None:
        if intake.taken:
            failpoint("agent.after_journal")
        self._refuse(intake.refused)
        jobs: list[Job] = []
        for place, taken in enumerate(intake.taken):
            if place in known:
                self._repeat(taken, known[place])
            elif taken.job is not None:
                jobs.append(taken.job)
            elif taken.entry.result is not None:
                self._publish(taken.entry.reply_to, taken.entry.result, settles=taken.entry.id)
        self._submit(jobs)
        for job, status in intake.notes:
            if not job.ended:
                self.noted(job, status)
        for job in intake.cancels:
            self._runner.stop(job, Cause.CANCEL)

    def _submit(self, jobs: Sequence[Job]) -> None:
        """Let these start, the more urgent first."""
        loop = asyncio.get_running_loop()

        def report(job: Job, data: Any) -> None:
            loop.call_soon_threadsafe(self._runner.report, job, data)

        for job in sorted(jobs, key=lambda job: -job.priority):
            job.context.on_progress(partial(report, job))
            self._jobs[job.command.id] = job
            self._runner.submit(job)

    def _repeat(self, taken: Taken, known: Known) -> None:
        """Answer a command, or a question about one, from what the journal has on it."""
        command = taken.command
        question = command.kind not in (CommandKind.EXECUTE, CommandKind.COMPENSATE)
        if taken.job is not None:
            taken.job.ended = True
            del self._jobs[command.id]
        if (lost := self._prober.asked(taken.entry.id)) is not None:
            outcome = Outcome(ResultStatus.PROGRESS, started_at=lost.started_at)
            self._publish(command.reply_to, answer(self._identity, lost.command, outcome), keep=False)
        elif known.result is None:
            if question:  # no job, no probe: a row that this version cannot read
                about = taken.entry.id
                self._publish(
                    command.reply_to, answer(self._identity, command, lost_outcome(None), about=about)
                )
        elif known.tombstone and not question:
            gone = Outcome(ResultStatus.CANCELLED, finished_at=self._world.now())
            self._publish(command.reply_to, answer(self._identity, command, gone))
        elif not (command.kind is CommandKind.QUERY and self._ask_again(taken.entry.id, known)):
            settles = taken.entry.id if known.state == "finished" else ""
            self._publish(command.reply_to, known.result, settles=settles)

    def _ask_again(self, id_: str, known: Known) -> bool:
        """Ask the probe of a lost command whose outcome is still unknown; False if there is none to ask."""
        if known.command is None or known.started_at is None:
            return False
        try:
            lost = self._workshop.lost(decode(known.command, Command), known.traceparent, known.started_at)
        except Malformed:  # another version wrote it
            return False
        if lost is None:
            return False
        self._batch.reopened.append((id_,))
        self._prober.ask(lost)
        self._wake.set()
        return True

    def _refuse(self, refused: Sequence[tuple[Delivery, str]]) -> None:
        """Dead-letter what cannot be read; acknowledged once the dead-letter exchange has it."""
        for delivery, reason in refused:
            log.warning("refused a message from %s: %s", delivery.queue, reason)
            letter = dead_letter(self._settings.topology, delivery, reason, self._world.now())
            self._publisher.put([Outgoing(letter, releases=delivery)])

    # what the runner tells

    def claimed(self, job: Job) -> None:
        """A non-idempotent job has its turn: it starts once the journal says `started`."""
        self._batch.started.append((from_datetime(self._world.now()), job.command.id))
        self._claimed.append(job)
        self._wake.set()

    def noted(self, job: Job, status: ResultStatus) -> None:
        """Tell how a running job stands."""
        outcome = Outcome(status, output=job.progress, started_at=job.started_at)
        body = answer(self._identity, job.command, outcome)
        self._publish(job.command.reply_to, body, keep=status is not ResultStatus.PROGRESS)

    def ended(self, job: Job, outcome: Outcome) -> None:
        """Journal a job's end; it is published after that."""
        body = answer(self._identity, job.command, outcome)
        self._batch.finished.append((body, job.command.id))
        self._ended.append((job.command, body))
        self._wake.set()

    def _probed(self, lost: Lost, outcome: Outcome) -> None:
        """Journal what a probe said; it is published after that."""
        body = answer(self._identity, lost.command, outcome)
        unknown = outcome.status is ResultStatus.UNKNOWN
        (self._batch.lost if unknown else self._batch.finished).append((body, lost.command.id))
        self._ended.append((lost.command, body))
        self._wake.set()

    # publishing

    def _publish(self, shard: str, body: bytes, *, settles: str = "", keep: bool = True) -> None:
        message = result_message(self._settings, shard, body)
        self._publisher.put([Outgoing(message, settles=settles, keep=keep)])

    def _announce(self, *, stopping: bool) -> None:
        message = presence_message(
            self._settings, self._identity, self._actions, self._world.now(), stopping=stopping
        )
        self._publisher.put([Outgoing(message, keep=False)])

    def _confirmed(self, ids: Sequence[str]) -> None:
        """Mark results as published, with whatever transaction comes next."""
        self._batch.published += [(id_,) for id_ in ids]
        if ids and (self._mark_timer is None or self._mark_timer.cancelled()):
            loop = asyncio.get_running_loop()
            self._mark_timer = loop.call_later(MARK_WITHIN, self._mark)

    def _mark(self) -> None:
        self._mark_timer = None
        self._wake.set()

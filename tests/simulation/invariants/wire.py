"""Invariants of the way of each message: from the outbox to the broker, and from there to what came of it."""

import json
from collections import Counter
from typing import TYPE_CHECKING

from orchestrator.core.answers import MAX_IGNORED
from orchestrator.store.port import Batch
from runtime.bus.port import Message
from schemas.codec import decode
from schemas.messages import Command, CommandKind, Presence, Result
from schemas.names import AGAIN_HEADER
from tests.simulation.invariants.tables import at_acknowledge, at_batch, at_end
from tests.simulation.nodes import SETTINGS, TOPOLOGY
from tests.simulation.wire import Copy, Key, key_of

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

RESULTS = TOPOLOGY.results_queue(SETTINGS.shard)
EXPIRED = TOPOLOGY.expired_queue(SETTINGS.shard)
OURS = (TOPOLOGY.events_inbox, RESULTS, TOPOLOGY.presence, EXPIRED)
"""The coordinator's queues; all others but that of the dead letters are agents'."""

COUNTED = {"succeeded", "failed", "timed_out", "cancelled", "rejected"}
"""Statuses of results each of which leaves a fact of its own, applied or ignored."""


# Out of the outbox


@at_batch
def what_is_sent_is_with_the_broker(sim: "Simulation", epoch: int, batch: Batch) -> str | None:
    """What leaves the outbox was confirmed by the broker (or no queue takes it), or was too late to be sent.

    Too late is only what expires, by the coordinator's own clock, and what its agent can never have had.
    """
    sent = Counter[Key]()
    for place, row in zip(batch.sent, sim.observer.removed, strict=True):
        if row is None:
            return f"outbox row {place} was removed and is not there"
        key = key_of(row)
        sent[key] += 1
        if sim.wire.confirmed[key] >= sim.observer.sent[key] + sent[key]:
            continue
        what = f"outbox row {place} ({row.exchange} {row.routing_key} {row.body[:200]!r})"
        if row.expires_at is None or row.expires_at > sim.coordinator.clock.most():
            return f"{what} was taken for sent, and the broker did not confirm it"
        if key in sim.wire.arrived and row.routing_key.startswith(TOPOLOGY.agent_key("")):
            return f"{what} was taken for expired, and its agent may have it"
    return None


# Into the queues, and out of them


@at_acknowledge
def what_is_acknowledged_is_kept(sim: "Simulation", who: str, copy: Copy) -> str | None:
    """Nothing is acknowledged before its effect is committed, or it lies with the dead letters."""
    if copy.message.body in sim.garbage and copy.queue != EXPIRED:
        written = sim.wire.letters[copy.queue, copy.message.body]
        return None if written else f"{who} acknowledged {_short(copy)}, which is no dead letter"
    match copy.queue:
        case TOPOLOGY.events_inbox:
            problem = _event(sim, copy.message)
        case _ if copy.queue == RESULTS:
            problem = _result(sim, copy)
        case TOPOLOGY.presence:
            problem = _presence(sim, copy)
        case _ if copy.queue == EXPIRED:
            problem = _expired(sim, copy)
        case _:
            problem = _command(sim, who, copy)
    return f"{who} acknowledged {_short(copy)}, and {problem}" if problem else None


def _short(copy: Copy) -> str:
    return f"{copy.message.body[:200]!r} of {copy.queue}"


def _event(sim: "Simulation", message: Message) -> str | None:
    event = json.loads(message.body)
    return None if (event["source"], event["id"]) in sim.observer.inbox else "the inbox does not have it"


def _result(sim: "Simulation", copy: Copy) -> str | None:
    """Applied, recorded as ignored, or refused; of equal ones each by itself, unless the history is full."""
    observer, result = sim.observer, decode(copy.message.body, Result)
    run, status = observer.runs.get(result.run_id), str(result.status)
    if run is None:
        return None if result.command_id in observer.refused_results else "it was not refused"
    if run.ignored >= MAX_IGNORED:
        return None
    if status in COUNTED:
        done = sum(
            other.end == "acked" and decode(other.message.body, Result).status == result.status
            for other in sim.wire.copies[RESULTS]
            if other is not copy and other.message.body not in sim.garbage
            if decode(other.message.body, Result).command_id == result.command_id
        )
        facts = observer.told[result.command_id, status]
        return None if facts > done else f"the history tells {facts} times of it, {done} had been taken"
    if not result.status.is_final and result.command_id in observer.taken:
        return None  # a heartbeat says nothing new
    told = (result.command_id, status) in observer.told or result.command_id in observer.doubted
    return None if told else "the history does not tell of it"


def _presence(sim: "Simulation", copy: Copy) -> str | None:
    name = decode(copy.message.body, Presence).name
    since = sim.observer.announced.get(name, -1.0)
    return None if since >= copy.takes[0][0] else "no announcement of it was stored since it came"


def _expired(sim: "Simulation", copy: Copy) -> str | None:
    """What proves that a command never started has ended the attempt, if that was still out.

    It proves nothing when it, or the command before it expired, was given to somebody in vain: the broker
    counts that, and does not say in which queue.
    """
    message = copy.message
    deaths = message.headers.get("x-death") or [{}]
    in_vain = len(copy.takes) > 1 or message.headers.get("x-delivery-count")
    if deaths[0].get("reason") != "expired" or in_vain or AGAIN_HEADER in message.headers:
        return None
    command = decode(message.body, Command)
    run = sim.observer.runs[command.run_id]
    tasks = run.steps.get(command.step, ())
    task = tasks[command.host_index] if command.host_index < len(tasks) and run.ended is None else None
    waits = task is not None and task.command_id == command.id and task.taken_at is None
    return "its attempt is still out" if waits else None


def _command(sim: "Simulation", who: str, copy: Copy) -> str | None:
    """The agent's journal has it; for a question, what the question is about."""
    node = next(node for node in sim.agents if who.startswith(f"{node.name}#"))
    return None if node.journaled(_about(copy)) else "its journal does not have it"


def _about(copy: Copy) -> str:
    """The command that a command is, or asks about."""
    command = decode(copy.message.body, Command)
    return str(command.args["command_id"]) if _asks(command) else command.id


def _asks(command: Command) -> bool:
    """Whether it is about another command."""
    return command.kind not in (CommandKind.EXECUTE, CommandKind.COMPENSATE)


# At rest


@at_end
def every_message_has_an_end(sim: "Simulation") -> str | None:
    """Every message in every queue was acknowledged or dead-lettered; what is left are dead letters."""
    for queue, copies in sim.wire.copies.items():
        for copy in copies:
            if not copy.end and queue != TOPOLOGY.dead:
                return f"{_short(copy)} is neither acknowledged nor dead"
    return None


@at_end
def every_command_has_an_end(sim: "Simulation") -> str | None:
    """The history tells of each attempt's end: a result, expired, returned, or what a person decided."""
    for command in sim.observer.commands.values():
        if not _asks(command) and command.id not in sim.observer.ended:
            return f"{command.id} was sent, and the history does not tell how it ended"
    return None


@at_end
def every_command_is_answered(sim: "Simulation") -> str | None:
    """Who took a command, or a question about one, said finally what became of it; unless made anew."""
    for queue, copies in sim.wire.copies.items():
        if queue in OURS or queue == TOPOLOGY.dead:
            continue
        for copy in copies:
            if copy.end != "acked" or copy.message.body in sim.garbage:
                continue
            agent, _, life = copy.by.partition("#")
            node = next(node for node in sim.agents if node.name == agent)
            forgotten = int(life) < node.remembers_since
            if not forgotten and (agent, _about(copy)) not in sim.observer.answered:
                return f"{copy.by} took {_short(copy)} and never said what became of it"
    return None


@at_end
def what_is_malformed_is_a_dead_letter(sim: "Simulation") -> str | None:
    """Each message that cannot be read ends as one dead letter, with the reason; nothing else is refused.

    One, but for faults: who was given it again, or was not told that the letter arrived, may write another.
    """
    for queue, copies in sim.wire.copies.items():
        for body in {copy.message.body for copy in copies if copy.message.body in sim.garbage}:
            alike = [copy for copy in copies if copy.message.body == body]
            letters = sim.wire.letters[queue, body]
            most = sum(len(copy.takes) for copy in alike) + sim.wire.unsure[queue, body]
            if queue not in (TOPOLOGY.dead, EXPIRED) and not len(alike) <= letters <= most:
                return f"{len(alike)} times {body[:200]!r} of {queue} gave {letters} dead letters"
    for queue, body in sim.wire.letters:
        if body not in sim.garbage:
            return f"{body[:200]!r} of {queue} was refused"
    return None

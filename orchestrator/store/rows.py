"""Between the core's values and the store's rows.

A run is stored in three parts: its head (written once), its columns (what lists and indices need) and its
state, which is the run without the head. The state takes its fields from `Run`, so nothing can be left out.
"""

from operator import attrgetter
from typing import Any

import msgspec

from orchestrator.core.facts import Fact
from orchestrator.core.inputs import SignalInput
from orchestrator.core.model import Run, RunHead
from orchestrator.core.motion import waits_for
from orchestrator.store.records import (
    AgentRecord,
    InboxRecord,
    KeptEvent,
    OutboxMessage,
    StoredSignal,
    WaitingTask,
)
from schemas.messages import Presence

__all__ = [
    "agent_of",
    "agent_row",
    "fact_of",
    "fact_row",
    "head_row",
    "inbox_of",
    "inbox_row",
    "kept_of",
    "kept_row",
    "outbox_of",
    "outbox_row",
    "run_changes",
    "run_of",
    "run_row",
    "signal_of",
    "signal_row",
    "wait_row",
]

Row = tuple[Any, ...]

_STATE_FIELDS = [field for field in msgspec.structs.fields(Run) if field.name != "head"]
_state_values = attrgetter(*(field.name for field in _STATE_FIELDS))
_State = msgspec.defstruct(
    "_State",
    [(f.name, f.type) if f.required else (f.name, f.type, f.default) for f in _STATE_FIELDS],
    frozen=True,
    omit_defaults=True,
)

_encode = msgspec.json.Encoder().encode
_head = msgspec.json.Decoder(RunHead).decode
_state = msgspec.json.Decoder(_State).decode
_fact: msgspec.json.Decoder[Fact] = msgspec.json.Decoder(Fact)
_presence = msgspec.json.Decoder(Presence).decode
_signal: msgspec.json.Decoder[SignalInput] = msgspec.json.Decoder(SignalInput)
_event = msgspec.json.Decoder(dict[str, Any]).decode
_ids = msgspec.json.Decoder(list[str]).decode
_headers = msgspec.json.Decoder(dict[str, Any]).decode


def head_row(num: int, run: Run) -> Row:
    """Values for `add_head`."""
    return (num, _encode(run.head))


def run_row(num: int, run: Run) -> Row:
    """Values for `add_run`."""
    head = run.head
    parent = "" if head.parent is None else head.parent.run_id
    names = (num, head.shard, head.id, head.workflow, head.key, parent, head.group)
    return (*names, head.priority, head.retry_of, head.trace.trace_id, head.created_at, *run_changes(run))


def run_changes(run: Run) -> Row:
    """What changes of a run: status, reason, ended_at, wake_at, seq, waiting, version, state."""
    state = _encode(_State(*_state_values(run)))
    stands = (run.status.value, run.reason, run.ended_at, run.wake_at, run.seq)
    return (*stands, waits_for(run), run.version, state)


def run_of(head: bytes, state: bytes) -> Run:
    """The run that was stored in these two parts."""
    return Run(_head(head), *_state_values(_state(state)))


def fact_row(number: int, shard: str, run_id: str, seq: int, fact: Fact) -> Row:
    """Values for `add_fact`."""
    return (number, shard, run_id, seq, fact.at, fact.__struct_config__.tag, _encode(fact))


def fact_of(payload: bytes) -> Fact:
    """The fact that was stored."""
    return _fact.decode(payload)


def inbox_row(shard: str, record: InboxRecord) -> Row:
    """Values for `add_inbox`."""
    runs = _encode(record.runs).decode()
    source = (shard, record.kind, record.source, record.id, record.type)
    return (*source, record.at, record.outcome, record.reason, runs, record.more)


def inbox_of(row: Row) -> InboxRecord:
    """The record in a row of (source, id, outcome, at, kind, type, reason, runs, more)."""
    return InboxRecord(*(*row[:-2], _ids(row[-2]), row[-1]))


def outbox_row(shard: str, message: OutboxMessage) -> Row:
    """Values for `add_outbox`."""
    where = (message.id, shard, message.exchange, message.routing_key, message.body)
    how = (_encode(message.headers).decode(), message.content_type)
    return (*where, *how, message.at, message.expires_at, message.mandatory)


def outbox_of(row: Row) -> OutboxMessage:
    """The message in a row of the query `unsent`: its fields in their order, the headers as text."""
    *fields, headers, content_type, expires_at, mandatory = row
    return OutboxMessage(*(*fields, _headers(headers), content_type, expires_at, bool(mandatory)))


def agent_row(shard: str, record: AgentRecord) -> Row:
    """Values for `set_agent`."""
    presence = record.presence
    first = record.first_seen_at or record.seen_at
    return (presence.name, shard, record.seen_at, _encode(presence), presence.instance_id, first)


def agent_of(row: Row) -> AgentRecord:
    """The record in a row of (presence, seen_at, first_seen_at)."""
    return AgentRecord(_presence(row[0]), row[1], row[2])


def signal_row(shard: str, signal: StoredSignal) -> Row:
    """Values for `add_signal`."""
    return (shard, signal.id, signal.to, signal.at, _encode(signal.given))


def signal_of(row: Row) -> StoredSignal:
    """The signal in a row of (id, to_run, payload, at)."""
    return StoredSignal(row[0], row[1], _signal.decode(row[2]), row[3])


def wait_row(shard: str, waiting: WaitingTask) -> Row:
    """Values for `set_wait`."""
    return (*waiting.key, shard, *waiting.place, waiting.since)


def kept_row(shard: str, kept: KeptEvent) -> Row:
    """Values for `add_kept`."""
    return (shard, kept.topic, kept.value, kept.expires_at, _encode(kept.event))


def kept_of(row: Row) -> KeptEvent:
    """The event in a row of (topic, value, event, expires_at, num)."""
    topic, value, event, *rest = row
    return KeptEvent(topic, value, _event(event), *rest)

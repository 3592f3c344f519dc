"""Messages that do not belong on the queue that they come to. Each must end as a dead letter and harm nobody.

Each has a number in it, so that no two are alike. What a stranger sends can be read, and is about nothing.
"""

from collections.abc import Sequence
from dataclasses import replace as changed
from random import Random
from typing import Any

from runtime.bus.port import Message
from schemas.codec import MAX_EVENT_BYTES, MAX_MESSAGE_BYTES, encode
from schemas.events import CONTENT_TYPE
from schemas.messages import Result, ResultStatus
from tests.simulation.documents import EVENT
from tests.simulation.nodes import TOPOLOGY

__all__ = ["malformed", "stranger"]

_COMMAND: dict[str, Any] = {
    **dict.fromkeys(("run_id", "workflow", "step"), "x"),
    "host_index": 0,
    "attempt": 1,
    "epoch": 1,
    "timeout": 1,
    "reply_to": "0",
    "action": "no.such",
    "issued_at": "2023-11-14T22:13:20Z",
    "expires_at": "2033-11-14T22:13:20Z",
}

_TEXTS: Sequence[bytes] = (
    b'{"n": %d',
    b'{"n": %d}',
    b"[%d]",
    b"\xff%d",
    b'"%d"',
    b"[" * 100 + b"%d" + b"]" * 100,
)
"""What is no message of any kind: not JSON, JSON of another shape, not UTF-8, too deep."""


def malformed(rng: Random, number: int, agents: Sequence[str], pools: Sequence[str]) -> Message:
    """Something that whoever takes it cannot read."""
    body = rng.choice(_TEXTS) % number
    agent = rng.choice(agents)
    where = [
        Message(TOPOLOGY.events, EVENT, _event(rng, number, body), content_type=CONTENT_TYPE),
        Message(TOPOLOGY.results, TOPOLOGY.result_key("0", agent), _result(rng, number, body)),
        Message(TOPOLOGY.results, TOPOLOGY.presence_key(agent), _large(rng, body, MAX_MESSAGE_BYTES)),
        Message(TOPOLOGY.commands, TOPOLOGY.agent_key(agent), _command(rng, number, body)),
        *(Message(TOPOLOGY.commands, TOPOLOGY.pool_key(pool), body) for pool in pools),
    ]
    return changed(rng.choice(where), mandatory=True)


def stranger(rng: Random, number: int, agents: Sequence[str], runs: Sequence[str]) -> Message:
    """A result of a command that nobody sent, of some run or of none; or a command that nobody committed."""
    agent, run_id = rng.choice(agents), rng.choice(("run-nowhere", *runs))
    result = Result(f"stranger-{number}", run_id, "s0", 0, 1, 1, agent, "nobody", ResultStatus.FAILED)
    command = _COMMAND | {"id": f"stranger-{number}", "run_id": "run-nowhere", "kind": "execute"}
    return rng.choice(
        (
            Message(TOPOLOGY.results, TOPOLOGY.result_key("0", agent), encode(result), mandatory=True),
            Message(TOPOLOGY.commands, TOPOLOGY.agent_key(agent), encode(command), mandatory=True),
        )
    )


def _large(rng: Random, body: bytes, limit: int) -> bytes:
    """The body, or once in a while one that is larger than the limit."""
    return body + b" " * limit if rng.random() < 0.1 else body


def _event(rng: Random, number: int, body: bytes) -> bytes:
    event = {"specversion": "0.3", "id": f"x{number}", "source": "/stranger", "type": EVENT}
    return rng.choice((encode(event), _large(rng, body, MAX_EVENT_BYTES)))


def _result(rng: Random, number: int, body: bytes) -> bytes:
    result = {"command_id": f"x{number}", "run_id": "run-1", "step": "s0", "status": "splendid"}
    return rng.choice((encode(result), _large(rng, body, MAX_MESSAGE_BYTES)))


def _command(rng: Random, number: int, body: bytes) -> bytes:
    """A question about nothing, or worse."""
    question = _COMMAND | {"id": f"x{number}", "kind": "query"}
    return rng.choice((encode(question), _large(rng, body, MAX_MESSAGE_BYTES)))

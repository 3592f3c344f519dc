"""The bus as an AsyncAPI 3.0 document: exchanges as channels to send to, queues as channels to receive from.

It speaks of the default namespace and of quorum queues. `schemas.generate` writes it to `asyncapi.json`.
"""

from typing import Any, Final

from schemas.codec import MAX_EVENT_BYTES, MAX_MESSAGE_BYTES
from schemas.events import CONTENT_TYPE
from schemas.names import REASON_HEADER, Topology

__all__ = ["asyncapi_document"]

_JSON: Final = "application/json"
_SCHEMA_FORMAT: Final = "application/schema+json;version=draft-2020-12"
_BINDING: Final = {"bindingVersion": "0.3.0"}

_PARAMETERS: Final = {
    "agent": "the agent's name",
    "pool": "the pool's name",
    "shard": "whose runs the reply is for: the command says it in reply_to",
    "status": "what a run or step has become",
    "type": "the event's type",
    "what": "`run` or `step`",
    "workflow": "the workflow's name",
}

_EVENT, _LIFECYCLE, _COMMAND, _RESULT, _PRESENCE, _DEAD = (
    "event",
    "lifecycleEvent",
    "command",
    "result",
    "presence",
    "deadLetter",
)


def asyncapi_document() -> dict[str, Any]:
    """The whole document."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Baton on the bus",
            "version": "1",
            "description": (
                "Business systems publish events; the coordinator sends commands to agents, which answer "
                "with results. Everything is durable, persistent and confirmed. See docs/messages.md."
            ),
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": _JSON,
        "servers": {
            "rabbitmq": {
                "host": "localhost:5672",
                "protocol": "amqp",
                "protocolVersion": "0.9.1",
                "description": "RabbitMQ 3.10 or newer",
            }
        },
        "channels": _channels(Topology()),
        "operations": _operations(),
        "components": {"messages": _messages()},
    }


def _channels(names: Topology) -> dict[str, Any]:
    work, single = names.work_arguments(), names.work_arguments(single=True)
    to_agent = Topology.agent_key("{agent}")
    to_pool, from_agent = Topology.pool_key("{pool}"), Topology.result_key("{shard}", "{agent}")
    present, told = Topology.presence_key("{agent}"), "{what}.{status}.{workflow}"
    shard = "{shard}"
    return {
        "events": _exchange(names.events, "topic", "{type}", _EVENT),
        "agentCommands": _exchange(names.commands, "direct", to_agent, _COMMAND),
        "poolCommands": _exchange(names.commands, "direct", to_pool, _COMMAND),
        "results": _exchange(names.results, "topic", from_agent, _RESULT),
        "presence": _exchange(names.results, "topic", present, _PRESENCE),
        "lifecycle": _exchange(names.lifecycle, "topic", told, _LIFECYCLE),
        "dead": _exchange(names.dead, "fanout", "", _DEAD),
        "eventsInbox": _queue(names.events_inbox, names.events, "#", work, _EVENT),
        "agentQueue": _queue(names.agent_queue("{agent}"), names.commands, to_agent, single, _COMMAND),
        "poolQueue": _queue(names.pool_queue("{pool}"), names.commands, to_pool, work, _COMMAND),
        "resultsQueue": _queue(
            names.results_queue(shard), names.results, Topology.result_key(shard, "#"), single, _RESULT
        ),
        "presenceQueue": _queue(names.presence, names.results, Topology.presence_key("#"), work, _PRESENCE),
        "expiredQueue": _queue(names.expired_queue(shard), names.dead, "", names.expired_arguments(), _DEAD),
        "deadQueue": _queue(names.dead, names.dead, "", names.dead_arguments(), _DEAD),
    }


def _operations() -> dict[str, Any]:
    business, coordinator, agent = "business system", "coordinator", "agent"
    return {
        "publishEvent": _send(business, "events", "Say that something has happened."),
        "takeEvents": _receive(coordinator, "eventsInbox", "Start the runs that events ask for."),
        "commandAgent": _send(coordinator, "agentCommands", "Tell one agent what to do.", mandatory=True),
        "commandPool": _send(coordinator, "poolCommands", "Tell any agent of a pool.", mandatory=True),
        "takeCommands": _receive(agent, "agentQueue", "Take commands; acknowledge once recorded."),
        "takePoolCommands": _receive(agent, "poolQueue", "Take commands as a member of a pool."),
        "sendResult": _send(agent, "results", "Say what became of a command."),
        "takeResults": _receive(coordinator, "resultsQueue", "Move the runs on."),
        "announce": _send(agent, "presence", "Say that this agent is here, and what it can do."),
        "takePresence": _receive(coordinator, "presenceQueue", "Know which agents there are."),
        "tell": _send(coordinator, "lifecycle", "Tell whoever listens what became of runs and steps."),
        "refuse": _send(coordinator, "dead", "Put aside what cannot be read, with the reason."),
        "takeExpired": _receive(coordinator, "expiredQueue", "Learn of commands that no agent took in time."),
        "listDead": _receive(coordinator, "deadQueue", "Let a person see and replay what was put aside."),
    }


def _messages() -> dict[str, Any]:
    trace = _headers({"traceparent": "W3C trace context of what sent this"})
    dead = _headers(
        {
            REASON_HEADER: "why it was refused; absent when the broker put it here, which x-death then tells",
            "x-baton-exchange": "the exchange it was published to",
            "x-baton-routing-key": "its routing key",
            "x-baton-queue": "the queue it was taken from",
            "x-baton-at": "when it was refused, RFC 3339",
        }
    )
    limit = f"At most {MAX_MESSAGE_BYTES // 1024} KiB."
    return {
        _EVENT: _message(
            "A CloudEvent 1.0, structured or binary.",
            f"At most {MAX_EVENT_BYTES // 1024} KiB. (source, id) names it for good.",
            payload="event",
            headers=trace,
        ),
        _LIFECYCLE: _message(
            "A CloudEvent that tells of a run or a step.",
            "Types baton.run.* and baton.step.*; the subject is the run's id.",
            payload="event",
        ),
        _COMMAND: _message("What an agent is asked to do.", limit, payload="command", headers=trace),
        _RESULT: _message("What became of a command.", limit, payload="result"),
        _PRESENCE: _message("An agent's announcement.", limit, payload="presence"),
        _DEAD: _message("What could not be handled, as it came.", "Any bytes.", payload=None, headers=dead),
    }


def _message(summary: str, description: str, *, payload: str | None, headers: Any = None) -> dict[str, Any]:
    message: dict[str, Any] = {"summary": summary, "description": description}
    if headers is not None:
        message["headers"] = headers
    if payload is not None:
        message["contentType"] = CONTENT_TYPE if payload == "event" else _JSON
        schema = {"$ref": f"./json/{payload}.schema.json"}
        message["payload"] = {"schemaFormat": _SCHEMA_FORMAT, "schema": schema}
    return message


def _headers(described: dict[str, str]) -> dict[str, Any]:
    properties = {name: {"type": "string", "description": text} for name, text in described.items()}
    return {"type": "object", "properties": properties}


def _exchange(name: str, kind: str, key: str, message: str) -> dict[str, Any]:
    """A channel to send to: an exchange and the routing key."""
    exchange = {"name": name, "type": kind, "durable": True, "autoDelete": False}
    channel = _channel(key, message)
    return channel | {"bindings": {"amqp": {"is": "routingKey", "exchange": exchange, **_BINDING}}}


def _queue(name: str, exchange: str, key: str, arguments: dict[str, Any], message: str) -> dict[str, Any]:
    """A channel to receive from: a queue, with its arguments and what it is bound to as extensions."""
    queue = {"name": name, "durable": True, "exclusive": False, "autoDelete": False}
    amqp = {"is": "queue", "queue": queue, **_BINDING, "x-arguments": arguments}
    return _channel(name, message) | {
        "bindings": {"amqp": amqp | {"x-bound-to": {"exchange": exchange, "routingKey": key}}}
    }


def _channel(address: str, message: str) -> dict[str, Any]:
    channel: dict[str, Any] = {
        "address": address,
        "messages": {message: {"$ref": f"#/components/messages/{message}"}},
    }
    parameters = {
        name: {"description": text} for name, text in _PARAMETERS.items() if f"{{{name}}}" in address
    }
    return channel | ({"parameters": parameters} if parameters else {})


def _send(who: str, channel: str, summary: str, *, mandatory: bool = False) -> dict[str, Any]:
    return _operation("send", who, channel, summary, {"deliveryMode": 2, "mandatory": mandatory})


def _receive(who: str, channel: str, summary: str) -> dict[str, Any]:
    return _operation("receive", who, channel, summary, {"ack": True})


def _operation(action: str, who: str, channel: str, summary: str, amqp: dict[str, Any]) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "summary": summary,
        "tags": [{"name": who}],
        "bindings": {"amqp": {**amqp, **_BINDING}},
    }

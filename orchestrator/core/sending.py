"""How an attempt by an agent is made: its command and its deadline; and the questions about one."""

from typing import Any, Final, NamedTuple

from orchestrator.core.concluding import fail_unsent, no_live_agent, plan_of, why_unsent
from orchestrator.core.definition import StepDef, Target, UndoDef
from orchestrator.core.facts import AttemptSent, CancelSent, QuerySent, TaskInDoubt
from orchestrator.core.inputs import Dispatch
from orchestrator.core.model import Task
from orchestrator.core.scope import Scope, own_scope, task_scope
from orchestrator.core.templates import Template
from orchestrator.core.turn import Turn
from schemas.codec import encode
from schemas.errors import BatonError, InvalidInput
from schemas.messages import Command, CommandKind, command_id
from schemas.names import Topology, check_name
from schemas.secrets import SecretRef
from schemas.times import Micros, to_datetime, to_rfc3339

__all__ = ["ask_agents", "doubt", "labels_of", "send", "send_cancel", "send_undo", "who_has"]

_MAX_QUERY_WAIT: Final[Micros] = 600_000_000
"""Longest pause between two questions about a command in doubt."""


class _Given(NamedTuple):
    """A command's arguments, and where in them the agent puts secrets."""

    args: dict[str, Any]
    secrets: list[SecretRef]


def send(turn: Turn, step: StepDef, index: int) -> None:
    """Send the next forward attempt."""
    task = turn.task(step, index)
    scope = task_scope(turn, step, task)
    try:
        given = _rendered(turn, step.args, scope)
        target = Topology.agent_key(task.host) if task.host else _routing_key(turn, step.target, scope)
    except BatonError as error:
        fail_unsent(turn, step, index, why_unsent(error))
        return
    _dispatch(turn, step, index, CommandKind.EXECUTE, target, given)


def send_undo(turn: Turn, step: StepDef, index: int) -> None:
    """Send the next attempt of an undo: to the agent with the effect, or whom the document names."""
    undo = step.compensate
    task = turn.task(step, index)
    if undo is None:
        raise AssertionError(step.id)
    scope = own_scope(turn, step, task)
    try:
        given = _rendered(turn, undo.args, scope)
        target = _undoer(turn, step, undo, task, scope)
    except BatonError as error:
        fail_unsent(turn, step, index, why_unsent(error), undo=True)
        return
    _dispatch(turn, step, index, CommandKind.COMPENSATE, target, given)


def _undoer(turn: Turn, step: StepDef, undo: UndoDef, task: Task, scope: Scope) -> str:
    """Who undoes: whom the document names, who has the effect, or else whom the step is for."""
    if undo.target is not None:
        return _routing_key(turn, undo.target, scope)
    agent = task.effect_agent or task.host
    if agent or task.target:
        return Topology.agent_key(agent) if agent else task.target
    if step.rollout is not None:
        raise InvalidInput(
            "a person said that it is done, and nobody knows by which agents",
            code="no_agent",
            hint="undo it by hand, then resolve the step with 'done'",
        )
    return _routing_key(turn, step.target, scope)  # a person said that it is done: it was never sent


def _dispatch(turn: Turn, step: StepDef, index: int, kind: CommandKind, target: str, given: _Given) -> None:
    """Record an attempt and hand out its command."""
    env = turn.env
    task = turn.task(step, index)
    undo = kind is CommandKind.COMPENSATE
    plan = plan_of(step, undo=undo)
    attempt = 1 + (task.undo_attempt if undo else task.attempt)
    name = command_id(turn.run.head.id, step.id, index, attempt, kind)
    start_within = env.start_within if plan.start_within is None else plan.start_within
    agent = _agent_of(target)
    turn.picked[agent] += 1
    turn.record(
        AttemptSent(
            at=env.now,
            step=step.id,
            host_index=index,
            undo=undo,
            attempt=attempt,
            command_id=name,
            action=plan.action,
            target=target,
            due=env.now + start_within + plan.timeout + env.grace,
            instance=env.registry.instance(agent) if agent else "",
        )
    )
    command = _command(turn, step, index, kind, attempt, given, start_within)
    _hand_out(turn, target, undo=undo, command=command)


def who_has(task: Task) -> str:
    """The agent with the outstanding command; empty while no member of a pool is known to have taken it."""
    return _agent_of(task.target) or task.agent


def send_cancel(turn: Turn, step: StepDef, index: int, task: Task) -> None:
    """Ask the agent to stop; for a pool, as soon as it is known which agent has it."""
    agent = who_has(task)
    if not agent:
        return
    turn.record(
        CancelSent(at=turn.env.now, step=step.id, host_index=index, command_id=task.command_id, agent=agent)
    )
    _ask(turn, step, index, CommandKind.CANCEL, [agent], task)


def ask_agents(turn: Turn, step: StepDef, index: int) -> None:
    """Ask whoever may have the command in doubt what became of it; ask again, ever more slowly (rule 7)."""
    task = turn.task(step, index)
    agent = _agent_of(task.target)
    agents = [agent] if agent else turn.env.registry.members(task.target.removeprefix("pool."))
    patience = _MAX_QUERY_WAIT if task.lost else turn.env.query_every << min(task.queries, 10)
    wait = min(patience, _MAX_QUERY_WAIT)
    turn.record(
        QuerySent(
            at=turn.env.now,
            step=step.id,
            host_index=index,
            command_id=task.command_id,
            agents=agents,
            due=turn.env.now + max(wait, 1),
        )
    )
    _ask(turn, step, index, CommandKind.QUERY, [name for name in agents if name not in task.denied], task)


def _ask(turn: Turn, step: StepDef, index: int, kind: CommandKind, agents: list[str], task: Task) -> None:
    """Send a question about the outstanding command; `issued_at` tells a journal how old that is."""
    attempt = task.undo_attempt if task.undoing else task.attempt
    sent_at = task.undo_started_at if task.undoing else task.started_at
    args = {"command_id": task.command_id, "issued_at": to_rfc3339(sent_at or turn.env.now)}
    command = _command(turn, step, index, kind, attempt, _Given(args, []), turn.env.start_within)
    for agent in agents:
        _hand_out(turn, Topology.agent_key(agent), undo=task.undoing, command=command)


def _command(
    turn: Turn,
    step: StepDef,
    index: int,
    kind: CommandKind,
    attempt: int,
    given: _Given,
    start_within: Micros,
) -> Command:
    env, head = turn.env, turn.run.head
    plan = plan_of(step, undo=kind is CommandKind.COMPENSATE)
    return Command(
        id=command_id(head.id, step.id, index, attempt, kind),
        run_id=head.id,
        workflow=head.workflow,
        step=step.id,
        host_index=index,
        attempt=attempt,
        kind=kind,
        action=plan.action,
        args=given.args,
        secrets=given.secrets,
        idempotent=plan.idempotent and kind in (CommandKind.EXECUTE, CommandKind.COMPENSATE),
        issued_at=to_datetime(env.now),
        expires_at=to_datetime(env.now + start_within),
        timeout=plan.timeout / 1_000_000,
        epoch=env.epoch,
        reply_to=head.shard,
        priority=step.priority,
    )


def _hand_out(turn: Turn, target: str, *, undo: bool, command: Command) -> None:
    span_id = turn.run.head.trace.span_of(command.step, command.host_index, undo=undo)
    turn.commands.append(Dispatch(target=target, command=command, span_id=span_id))


def doubt(turn: Turn, step: StepDef, index: int, why: str, *, lost: bool = False) -> None:
    """Nobody knows what became of the outstanding command: its agent is asked (rule 7).

    One that said itself that it does not know is asked later: it, or its action's probe, may have found out.
    """
    task = turn.task(step, index)
    turn.record(
        TaskInDoubt(
            at=turn.env.now,
            step=step.id,
            host_index=index,
            command_id=task.command_id,
            why=why,
            lost=lost,
            due=turn.env.now + _MAX_QUERY_WAIT if lost else None,
        )
    )
    if not lost:
        ask_agents(turn, step, index)


def _routing_key(turn: Turn, target: Target | None, scope: Scope) -> str:
    """Who takes a command; `labels` means the least busy live agent that has them."""
    if target is None:
        raise AssertionError("an action without a target does not compile")
    if target.kind in ("agent", "pool"):
        name = target.name.render_text(scope)
        check_name(name, f"name of {target.kind}")
        return Topology.agent_key(name) if target.kind == "agent" else Topology.pool_key(name)
    labels = labels_of(target, scope)
    host = turn.env.registry.least_busy(labels, turn.env.now, turn.picked)
    if host is None:
        raise no_live_agent(labels)
    return Topology.agent_key(host.name)


def labels_of(target: Target, scope: Scope) -> dict[str, str]:
    """The labels that a target asks for; a number counts as its text, as in a key."""
    labels = target.name.render(scope)
    for key, value in labels.items():
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise InvalidInput(f"label '{key}': neither text nor a whole number", code="bad_label")
    return {key: str(value) for key, value in labels.items()}


def _agent_of(target: str) -> str:
    """The agent's name in a routing key; empty for a pool's."""
    prefix = Topology.agent_key("")
    return target.removeprefix(prefix) if target.startswith(prefix) else ""


def _rendered(turn: Turn, template: Template, scope: Scope) -> _Given:
    """What an agent is given; an error when it is too much."""
    args, secrets = template.render(scope), template.secrets(scope)
    size, limit = len(encode(args)) + (len(encode(secrets)) if secrets else 0), turn.env.limits.args_bytes
    if size > limit:
        raise InvalidInput(
            f"the arguments have {size} bytes, more than the limit of {limit} (setting max_args_bytes)",
            code="args_too_large",
        )
    return _Given(args, secrets)

"""What a step is: each kind compiled, and what does not belong to it refused."""

from typing import Any

import pytest

from orchestrator.core.definition import RetryPolicy
from tests.support.definitions import SECOND, compile_, do, problem, problems, step

pytestmark = pytest.mark.unit

DAY = 86_400 * SECOND
ONCE = RetryPolicy(attempts=1, delay=SECOND, backoff=2.0, max_delay=30 * SECOND)
LEAST: dict[str, dict[str, Any]] = {
    "action": {"action": "x.y", "target": "h"},
    "workflow": {"workflow": "other"},
    "wait_for": {"wait_for": {"event": "com.example.paid"}},
    "approve": {"approve": {}},
    "sleep": {"sleep": "5m"},
    "emit": {"emit": {"type": "com.example.done"}},
}
"""The least that a step of each kind must have."""


@pytest.mark.parametrize("kind", LEAST)
def test_each_kind(kind: str) -> None:
    """Exactly the part that belongs to the kind is set; an agent is only needed for an action."""
    made = compile_(do("a", **LEAST[kind])).steps["a"]
    parts = {
        "action": made.action or None,
        "workflow": made.child or None,
        "wait_for": made.wait,
        "approve": made.approval,
        "sleep": made.sleep,
        "emit": made.emit,
    }
    assert made.kind == kind
    assert [name for name, part in parts.items() if part is not None] == [kind]
    assert (made.target is not None) is (kind == "action")
    assert made.retry == ONCE
    assert made.can_undo is (kind == "workflow")
    assert not made.fans_out


def test_defaults_of_modifiers() -> None:
    """A step that fails compensates and one in doubt asks; it is no pivot, and as urgent as its workflow."""
    a, b = compile_(
        step("a"),
        step("b", on_failure="pause", on_unknown="retry", start_within="5m", priority=0, pivot=True),
        priority=7,
    ).steps.values()
    assert (a.on_failure, a.on_unknown, a.start_within, a.priority, a.pivot) == (
        "compensate",
        "ask",
        None,
        7,
        False,
    )
    assert (b.on_failure, b.on_unknown, b.start_within, b.priority, b.pivot) == (
        "pause",
        "retry",
        300 * SECOND,
        0,
        True,
    )


def test_priority_and_timeout_of_a_workflow() -> None:
    """By default the middle priority and no limit."""
    plain, limited = compile_(step("a")), compile_(step("a"), timeout="2h", priority=0)
    assert (plain.priority, plain.timeout) == (5, None)
    assert (limited.priority, limited.timeout) == (0, 7200 * SECOND)


def test_wait_for() -> None:
    """Events are filed by their pattern and where the value stands in them; the wait ends after a day."""
    wait = (
        compile_(
            do(
                "a",
                wait_for={
                    "event": "com.example.*",
                    "correlate": {"from": "event.data.order", "expect": "input.o"},
                },
            )
        )
        .steps["a"]
        .wait
    )
    assert wait is not None
    assert wait.topic == "com.example.*\nevent.data.order"
    assert wait.timeout == DAY
    assert wait.matches("com.example.paid")
    assert not wait.matches("org.example.paid")
    assert wait.value_of is not None
    assert wait.expect is not None
    assert wait.value_of.evaluate_text({"event": {"data": {"order": 7}}}) == "7"
    assert wait.expect.evaluate_text({"input": {"o": "7"}}) == "7"
    assert wait.condition is None


def test_wait_for_any() -> None:
    """Without `correlate` any event of the type is meant; all such waits have one topic."""
    wait = compile_(do("a", wait_for={"event": "e", "if": "event.data.ok", "timeout": "1h"})).steps["a"].wait
    assert wait is not None
    assert (wait.topic, wait.value_of, wait.expect, wait.timeout) == ("e\n", None, None, 3600 * SECOND)
    assert wait.condition is not None
    assert wait.condition.evaluate_bool({"event": {"data": {"ok": True}}})


def test_approve() -> None:
    """Anybody may approve within a week, and silence is a no, unless the document says otherwise."""
    anybody, some = (
        compile_(
            do("a", approve={}),
            do(
                "b",
                approve={
                    "by": ["ann", "bob", "ann"],
                    "message": "${{ input.v }}?",
                    "timeout": "1h",
                    "on_timeout": "approve",
                },
            ),
        )
        .steps[name]
        .approval
        for name in ("a", "b")
    )
    assert anybody is not None
    assert (anybody.by, anybody.timeout, anybody.on_timeout) == ((), 7 * DAY, "reject")
    assert anybody.message.render({}) == ""
    assert some is not None
    assert (some.by, some.timeout, some.on_timeout) == (("ann", "bob"), 3600 * SECOND, "approve")
    assert some.message.render({"input": {"v": "v2"}}) == "v2?"


def test_sleep_and_emit() -> None:
    """A sleep is a duration or a template that gives one; an event's data may be any JSON."""
    steps = compile_(
        do("a", sleep="90s"),
        do("b", sleep="${{ input.pause }}"),
        do("c", emit={"type": "t", "data": {"v": "${{ input.v }}"}, "subject": "s-${{ input.v }}"}),
        do("d", emit={"type": "t"}),
    ).steps
    assert steps["a"].sleep is not None
    assert steps["a"].sleep.render({}) == "90s"
    assert steps["b"].sleep is not None
    assert steps["b"].sleep.render({"input": {"pause": 30}}) == 30
    full, bare = steps["c"].emit, steps["d"].emit
    assert full is not None
    assert (full.type, full.data.render({"input": {"v": 2}})) == ("t", {"v": 2})
    assert full.subject.render({"input": {"v": 2}}) == "s-2"
    assert bare is not None
    assert (bare.data.render({}), bare.subject.render({})) == (None, "")


def test_child_workflow() -> None:
    """`with` is the child's input; how often it is tried is for `retry`."""
    child = compile_(do("a", workflow="other", with_={"n": "${{ input.n }}"}, retry={"attempts": 3})).steps[
        "a"
    ]
    assert (child.child, child.retry.attempts) == ("other", 3)
    assert child.args.render({"input": {"n": 4}}) == {"n": 4}


# What is refused


def test_no_kind() -> None:
    """A step must say what it does."""
    path, message, hint = problem(do("a"))
    assert path == ("steps", 0)
    assert (
        message
        == "the step does nothing: it must have one of action, workflow, wait_for, approve, sleep, emit"
    )
    assert hint == "add one"


def test_two_kinds() -> None:
    """A step does one thing; each further one is pointed at."""
    found = problems(do("a", sleep="5m", approve={}, action="x", target="h"))
    assert {(p.path, p.message, p.hint) for p in found} == {
        (("steps", 0, kind), "a step does one thing: it has 'action' already", "make a step of its own of it")
        for kind in ("approve", "sleep")
    }


def test_an_action_needs_a_target() -> None:
    """Somebody must do it."""
    assert problem(do("a", action="x")) == (
        ("steps", 0, "target"),
        "missing field 'target'",
        "name an agent, {pool: …} or {labels: {…}}",
    )


@pytest.mark.parametrize(
    ("kind", "more", "field", "hint"),
    [
        ("sleep", {"with_": {"x": 1}}, "with", "only an action or a workflow has it; leave it out"),
        ("emit", {"with_": {"x": 1}}, "with", "write emit: {type: …, data: …}"),
        ("sleep", {"retry": {}}, "retry", "only an action or a workflow has it; leave it out"),
        ("workflow", {"target": "h"}, "target", "only an action has it; leave it out"),
        ("approve", {"start_within": "1m"}, "start_within", "only an action has it; leave it out"),
        ("wait_for", {"timeout": "1m"}, "timeout", "write wait_for: {event: …, timeout: 1d}"),
        ("approve", {"timeout": "1m"}, "timeout", "write approve: {timeout: 7d}"),
        ("workflow", {"timeout": "1m"}, "timeout", "the other workflow has a timeout of its own"),
        ("workflow", {"idempotent": True}, "idempotent", "retry: {attempts: 3} lets it be tried again"),
        ("emit", {"on_unknown": "retry"}, "on_unknown", "only an action has it; leave it out"),
        ("workflow", {"compensate": {"action": "u"}}, "compensate", "the child run undoes its own steps"),
    ],
)
def test_fields_of_other_kinds(kind: str, more: dict[str, Any], field: str, hint: str) -> None:
    """What would mean nothing is refused, with what to write instead."""
    a = "an" if kind[0] in "ae" else "a"
    message = f"'{field}' does not belong to {a} {kind} step"
    assert problem(do("a", **LEAST[kind], **more)) == (("steps", 0, field), message, hint)


@pytest.mark.parametrize("kind", ["wait_for", "approve", "sleep", "emit"])
def test_undo_of_what_no_agent_did(kind: str) -> None:
    """It must name its target; and there is nothing to undo of a failure."""
    undo = {"action": "u", "target": "h"}
    made = compile_(do("a", **LEAST[kind], compensate=undo)).steps["a"]
    assert made.can_undo
    found = problems(do("a", **LEAST[kind], compensate={"action": "u", "after_failure": True}))
    assert [(p.path, p.message.partition(" ")[0]) for p in found] == [
        (("steps", 0, "compensate", "target"), "missing"),
        (("steps", 0, "compensate", "after_failure"), "an" if kind[0] in "ae" else "a"),
    ]


def test_a_workflow_that_starts_itself() -> None:
    """It would never end."""
    path, message, hint = problem(do("a", workflow="w"))
    assert (path, message) == (("steps", 0, "workflow"), "workflow 'w' starts itself")
    assert hint


@pytest.mark.parametrize(
    ("fields", "path", "message"),
    [
        ({"sleep": "5 minutes"}, ("sleep",), "'5 minutes' is not a duration"),
        ({"sleep": "-5s"}, ("sleep",), "'-5s' is not a duration"),
        ({"sleep": "0s"}, ("sleep",), "a sleep of 0 does nothing"),
        ({"sleep": "367d"}, ("sleep",), "'367d' is longer than 366 days"),
        (
            {"sleep": "${{ nope }}"},
            ("sleep",),
            "unknown name 'nope'; in scope here: event, input, run, steps",
        ),
        (
            {"wait_for": {"event": "e", "timeout": "0s"}},
            ("wait_for", "timeout"),
            "a timeout of 0 leaves no time at all",
        ),
        (
            {"wait_for": {"event": "e", "timeout": "400d"}},
            ("wait_for", "timeout"),
            "'400d' is longer than 366 days",
        ),
        (
            {"wait_for": {"event": "e", "correlate": {"from": "input.x", "expect": "input.x"}}},
            ("wait_for", "correlate", "from"),
            "unknown name 'input'; in scope here: event",
        ),
        (
            {"wait_for": {"event": "e", "correlate": {"from": "event.id", "expect": "[1]"}}},
            ("wait_for", "correlate", "expect"),
            "gives a list, not text",
        ),
        ({"wait_for": {"event": "e", "if": "1 + 1"}}, ("wait_for", "if"), "gives a number, not bool"),
        (
            {"wait_for": {"event": "e", "if": "steps.a.output.x"}},
            ("wait_for", "if"),
            "step 'a' cannot read its own result before it has one",
        ),
        ({"approve": {"timeout": "0d"}}, ("approve", "timeout"), "a timeout of 0 leaves no time at all"),
        (
            {"approve": {"message": "${{ 1 + }}"}},
            ("approve", "message"),
            "syntax error: the expression ends too early",
        ),
        (
            {"emit": {"type": "t", "data": {"x": ["${{ host }}"]}}},
            ("emit", "data", "x", 0),
            "'host' is known only in a step whose target has 'all'",
        ),
        (
            {"emit": {"type": "t", "subject": "${{ item }}"}},
            ("emit", "subject"),
            "'item' is known only in a step with foreach",
        ),
        (
            {**LEAST["action"], "start_within": "0s"},
            ("start_within",),
            "a start_within of 0 leaves no time at all",
        ),
    ],
)
def test_bad_parts(fields: dict[str, Any], path: tuple[str | int, ...], message: str) -> None:
    """Each part of each kind is checked in its place."""
    assert problem(do("a", **fields))[:2] == (("steps", 0, *path), message)


@pytest.mark.parametrize("timeout", ["0s", "367d"])
def test_bad_timeouts_of_runs(timeout: str) -> None:
    """A run has some time, and no more than a year."""
    assert problem(step("a"), timeout=timeout)[0] == ("timeout",)


# The pivot


def test_one_pivot() -> None:
    """A second one is refused, also when they are side by side."""
    path, message, hint = problem(step("a", pivot=True), step("b", needs=[], pivot=True))
    assert (path, message) == (("steps", 1, "pivot"), "a second pivot: 'a' is one already")
    assert hint


def test_undos_behind_the_pivot() -> None:
    """They may stand there, as beside it: they are never run (rule 6)."""
    undo = {"action": "u"}
    compile_(step("a", pivot=True, compensate=undo), step("b", compensate=undo))

"""Steps with many tasks, and who takes their commands: foreach, labels, rollouts."""

from typing import Any

import pytest

from orchestrator.core.definition import RolloutDef
from tests.support.definitions import SECOND, compile_, do, problem, problems, step

pytestmark = pytest.mark.unit

ALL = {"labels": {"role": "web"}, "all": True}


def test_foreach() -> None:
    """The list is an expression; `item` is seen by everything that is made for each item."""
    made = compile_(
        step(
            "a",
            foreach="input.hosts",
            max_parallel=2,
            target="${{ item.host }}",
            with_={"n": "${{ item.n }}", "all": "${{ item }}"},
            output={"n": "${{ item.n + steps.a.output.n }}"},
            compensate={
                "action": "u",
                "with": {"n": "${{ item.n }} ${{ failure.code }}"},
                "target": "${{ item.host }}",
            },
        )
    ).steps["a"]
    assert made.fans_out
    assert made.foreach is not None
    assert made.foreach.evaluate({"input": {"hosts": [1]}}) == [1]
    assert (made.max_parallel, made.rollout) == (2, None)
    assert made.target is not None
    scope = {"item": {"host": "web-1", "n": 3}}
    assert made.target.name.render_text(scope) == "web-1"
    assert made.args.render(scope) == {"n": 3, "all": {"host": "web-1", "n": 3}}


@pytest.mark.parametrize(
    "fields",
    [
        {"workflow": "other", "with_": {"x": "${{ item }}"}},
        {"sleep": "${{ item }}"},
        {"approve": {"message": "${{ item }}?"}},
        {"emit": {"type": "t", "data": "${{ item }}", "subject": "${{ item }}"}},
        {
            "wait_for": {
                "event": "e",
                "if": "event.data.n == item",
                "correlate": {"from": "event.data.o", "expect": "item"},
            }
        },
        {"action": "x", "target": {"pool": "${{ item }}"}},
        {"action": "x", "target": {"labels": {"zone": "${{ item }}"}}},
    ],
)
def test_item_in_every_kind(fields: dict[str, Any]) -> None:
    """A foreach works for every kind of step."""
    assert compile_(do("a", foreach="[1, 2]", **fields)).steps["a"].fans_out


@pytest.mark.parametrize("value", [0, "", False, [], None, "x", 1.5, {"a": None}])
def test_an_item_may_be_anything(value: Any) -> None:
    """What looks empty is no empty map, neither alone nor in a larger expression."""
    args = (
        compile_(step("a", foreach="[]", with_={"x": "${{ item }}", "y": "${{ [item][0] }}"})).steps["a"].args
    )
    assert args.render({"item": value}) == {"x": value, "y": value}


@pytest.mark.parametrize(
    ("foreach", "message"),
    [
        ("5", "gives a number, not list"),
        ("'abc'", "gives text, not list"),
        ("event", "gives a map, not list"),
        ("steps.a.output", "step 'a' cannot read its own result before it has one"),
        ("item", "'item' is known only in a step with foreach"),
        ("[", "syntax error: the expression ends too early"),
    ],
)
def test_bad_foreach(foreach: str, message: str) -> None:
    """What can be seen to be no list is refused; it is evaluated before there is an item."""
    assert problem(step("a", foreach=foreach))[:2] == (("steps", 0, "foreach"), message)


@pytest.mark.parametrize(
    ("more", "field"), [({"if_": "item.ok"}, "if"), ({"if_": "host.name == 'a'", "target": ALL}, "if")]
)
def test_no_item_in_if(more: dict[str, Any], field: str) -> None:
    """`if` is asked once, for the whole step."""
    extra = {} if "target" in more else {"foreach": "input.l"}
    assert problem(step("a", **more, **extra))[0] == ("steps", 0, field)


def test_max_parallel_alone() -> None:
    """It says nothing without foreach."""
    path, message, hint = problem(step("a", max_parallel=2))
    assert (path, message) == (("steps", 0, "max_parallel"), "'max_parallel' goes with foreach")
    assert hint


# Targets


def test_labels() -> None:
    """A map of templates; with `all` a rollout, whose default is all at once and no failure."""
    one, every = compile_(
        step("a", target={"labels": {"role": "web", "zone": "${{ input.zone }}"}}), step("b", target=ALL)
    ).steps.values()
    assert one.target is not None
    assert (one.target.kind, one.rollout, one.fans_out) == ("labels", None, False)
    assert one.target.name.render({"input": {"zone": "eu"}}) == {"role": "web", "zone": "eu"}
    assert every.target is not None
    assert (every.target.kind, every.fans_out) == ("all", True)
    assert every.rollout == RolloutDef(batch=None, percent=None, pause=0, max_failures=0)


@pytest.mark.parametrize(
    ("rollout", "expected"),
    [
        ({"batch": 3}, RolloutDef(batch=3)),
        ({"batch": "25%", "pause": "1m"}, RolloutDef(percent=25, pause=60 * SECOND)),
        ({"batch": "100%", "max_failures": 2}, RolloutDef(percent=100, max_failures=2)),
    ],
)
def test_rollouts(rollout: dict[str, Any], expected: RolloutDef) -> None:
    """So many hosts at a time, or a part of them."""
    assert compile_(step("a", target=ALL, rollout=rollout)).steps["a"].rollout == expected


def test_host_scope() -> None:
    """`host` is known where something is made for each host, and only there."""
    compile_(
        step(
            "a",
            target=ALL,
            with_={"n": "${{ host.name }}", "z": "${{ host.labels.zone }}"},
            output={"v": "${{ host.output.v }}", "w": "${{ steps.a.output.w }}"},
            compensate={"action": "u", "with": {"v": "${{ host.output.v }}"}},
        ),
        step("b", with_={"all": "${{ steps.a.output }}", "one": "${{ steps.a.hosts['web-1'].status }}"}),
    )
    found = problems(
        step("a", target={"labels": {"x": "${{ host.name }}"}, "all": True}),
        step("b", with_={"x": "${{ host.name }}"}),
    )
    assert [p.path for p in found] == [("steps", 0, "target", "labels", "x"), ("steps", 1, "with", "x")]
    assert {p.message for p in found} == {"'host' is known only in a step whose target has 'all'"}


def test_hosts_of_a_step_without() -> None:
    """Only a step that is done on every host has them; and it does not have them itself."""
    found = problems(
        step("a"),
        step("b", target=ALL, output="${{ steps.b.hosts }}", with_={"x": "${{ steps.a.hosts }}"}),
    )
    assert [(p.path, p.message, p.hint) for p in found] == [
        (("steps", 1, "with", "x"), "step 'a' has no hosts", "only a step whose target has 'all' has them"),
        (
            ("steps", 1, "output"),
            "here the step is one host's",
            "read host.name, host.labels, host.output",
        ),
    ]


@pytest.mark.parametrize(
    ("more", "path", "message"),
    [
        ({"target": {}}, ("target",), "a target has a 'pool' or 'labels'"),
        (
            {"target": {"pool": "p", "labels": {"a": "b"}}},
            ("target", "labels"),
            "a target has a 'pool' or 'labels', not both",
        ),
        ({"target": {"pool": "p", "all": True}}, ("target", "all"), "'all' goes with labels"),
        ({"rollout": {"batch": 1}}, ("rollout",), "'rollout' goes with a target with 'all'"),
        (
            {"target": {"labels": {"a": "b"}}, "rollout": {"batch": 1}},
            ("rollout",),
            "'rollout' goes with a target with 'all'",
        ),
        (
            {"target": ALL, "foreach": "input.l"},
            ("foreach",),
            "'foreach' does not go with a target with 'all'",
        ),
        (
            {"target": ALL, "rollout": {"pause": "1m"}},
            ("rollout", "pause"),
            "'pause' is between batches, and there is one batch of all",
        ),
        (
            {"target": {"labels": {"${{ input.k }}": "b"}}},
            ("target", "labels", "${{ input.k }}"),
            "a key cannot hold an expression",
        ),
        (
            {"target": {"labels": {"a": "${{ nope }}"}}},
            ("target", "labels", "a"),
            "unknown name 'nope'; in scope here: event, input, run, steps",
        ),
        (
            {"compensate": {"action": "u", "target": ALL}},
            ("compensate", "target", "all"),
            "an undo has one target",
        ),
    ],
)
def test_bad_targets(more: dict[str, Any], path: tuple[str, ...], message: str) -> None:
    """Alternatives are alternatives, and what needs another is told so, each with a hint."""
    found = problem(step("a", **more))
    assert found[:2] == (("steps", 0, *path), message)
    assert found[2] or "in scope here" in message

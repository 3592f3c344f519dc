"""Actions as their authors write them."""

from typing import Annotated, Any

import msgspec
import pytest

from agents import ActionError, Agent, Context
from agents.sdk import Action, BadArguments
from schemas.errors import BatonError, InvalidInput
from schemas.messages import CommandKind


class Switched(msgspec.Struct):
    """An output."""

    previous: str


@pytest.fixture
def agent() -> Agent:
    """A set of actions."""
    return Agent()


def action(agent: Agent) -> Action:
    """An action with one of everything."""

    @agent.action("app.switch", idempotent=True)
    async def switch(
        ctx: Context,
        version: str,
        count: Annotated[int, msgspec.Meta(ge=1)] = 1,
        tags: list[str] = [],  # noqa: B006 - what an author may well write
    ) -> Switched:
        """Switch to a version.

        More text.
        """
        ctx.log(version * count)
        return Switched(",".join(tags))

    return switch


def test_arguments_are_checked_against_the_signature(agent: Agent) -> None:
    """What fits comes as the function's own types, with its defaults."""
    assert action(agent).body.check({"version": "2"}) == {"version": "2", "count": 1, "tags": []}


@pytest.mark.parametrize(
    ("args", "field"),
    [
        ({}, "version"),
        ({"version": 2}, "version"),
        ({"version": "2", "count": 0}, "count"),
        ({"version": "2", "tags": ["a", 1]}, "tags"),
        ({"version": "2", "verison": "3"}, "verison"),
    ],
)
def test_bad_arguments_name_the_field(agent: Agent, args: dict[str, Any], field: str) -> None:
    """Missing, ill-typed, out of bounds or unknown: refused for good, naming the argument."""
    with pytest.raises(BadArguments) as caught:
        action(agent).body.check(args)
    error = caught.value
    assert (error.code, error.retryable, error.details) == ("bad_arguments", False, {"field": field})
    assert field in error.message


def test_a_default_list_is_not_shared(agent: Agent) -> None:
    """A call that changes its argument does not change the next call's."""
    body = action(agent).body
    body.check({"version": "1"})["tags"].append("x")
    assert body.check({"version": "1"})["tags"] == []


def test_an_action_announces_its_arguments(agent: Agent) -> None:
    """Name, first paragraph of the docstring, and a JSON Schema of the arguments that stands by itself."""
    info = action(agent).info()
    assert (info.name, info.idempotent, info.description) == ("app.switch", True, "Switch to a version.")
    assert info.args["required"] == ["version"]
    assert info.args["properties"]["count"] == {"type": "integer", "minimum": 1, "default": 1}
    assert info.args["additionalProperties"] is False


def test_a_schema_with_references_carries_them(agent: Agent) -> None:
    """A struct as an argument's type is defined inside the schema."""

    @agent.action("x")
    async def f(ctx: Context, what: Switched) -> None: ...

    assert f.info().args["properties"]["what"] == {"$ref": "#/$defs/Switched"}
    assert "Switched" in f.info().args["$defs"]


def test_a_function_of_anything_takes_anything(agent: Agent) -> None:
    """`**args` is passed on unchecked."""

    @agent.action("any")
    async def f(ctx: Context, **args: Any) -> Any: ...

    assert f.body.check({"a": 1}) == {"a": 1}
    assert f.info().args == {"type": "object"}


def test_annotations_that_are_text_are_understood(agent: Agent) -> None:
    """A module may have `from __future__ import annotations`."""

    @agent.action("text")
    async def f(ctx: "Context", n: "int") -> "None": ...

    with pytest.raises(BadArguments):
        f.body.check({"n": "1"})


async def test_a_decorated_function_can_still_be_called(agent: Agent) -> None:
    """So that its author can test it."""

    @agent.action("double")
    async def double(ctx: Context | None, n: int) -> int:
        return 2 * n

    assert await double(None, n=2) == 4


def test_a_compensation_of_its_own_runs_for_compensate_only(agent: Agent) -> None:
    """With `compensate`, a command of that kind runs that function; without, the action itself."""

    @agent.action("charge")
    async def charge(ctx: Context, amount: int) -> None: ...

    assert charge.body_for(CommandKind.COMPENSATE) is charge.body

    @charge.compensate
    async def refund(ctx: Context, id: str) -> None: ...  # noqa: A002 - an argument's name is its author's

    assert charge.body_for(CommandKind.COMPENSATE).function is refund
    assert charge.body_for(CommandKind.COMPENSATE).check({"id": "1"}) == {"id": "1"}
    assert charge.body_for(CommandKind.EXECUTE) is charge.body


def test_a_compensation_can_be_given_to_the_decorator(agent: Agent) -> None:
    """`compensate=` says the same."""

    def undo(ctx: Context) -> None: ...

    @agent.action("x", compensate=undo)
    def do(ctx: Context) -> None: ...

    assert do.body_for(CommandKind.COMPENSATE).function is undo


def test_idempotence_may_depend_on_the_arguments(agent: Agent) -> None:
    """A function of the arguments decides; such an action does not announce itself as idempotent."""

    @agent.action("x", idempotent=lambda method: method == "GET")
    def f(ctx: Context, method: str) -> None: ...

    assert f.is_idempotent({"method": "GET"})
    assert not f.is_idempotent({"method": "POST"})
    assert f.info().idempotent is False


def test_what_is_no_action_is_refused_where_it_is_defined(agent: Agent) -> None:
    """A bad name, a name twice, no context, nameless arguments: `InvalidInput`, with a hint."""

    def good(ctx: Context) -> None: ...

    def no_context() -> None: ...

    def positional(ctx: Context, *args: int) -> None: ...

    def not_json(ctx: Context, thing: object) -> None: ...

    agent.action("good")(good)
    for define in (
        lambda: agent.action("no spaces"),
        lambda: agent.action("good")(good),
        lambda: agent.action("b")(no_context),
        lambda: agent.action("c")(positional),
        lambda: agent.action("d")(not_json),
    ):
        with pytest.raises(InvalidInput):
            define()


def test_an_action_error_is_one_of_ours() -> None:
    """It belongs to the one tree of errors and is retryable unless it says otherwise."""
    error = ActionError("no_space", "the disk is full", details={"free": 0})
    assert isinstance(error, BatonError)
    assert (error.code, error.message, error.retryable, error.details) == (
        "no_space",
        "the disk is full",
        True,
        {"free": 0},
    )

"""A document against the agents that are there: `check_live`."""

from dataclasses import replace
from typing import Any

import pytest

from agents import Agent, Context
from agents.builtins import builtin_actions
from orchestrator.document import KnownAgent, check_live, read_workflow
from schemas.messages import ActionInfo

SWITCH = ActionInfo(
    name="app.switch",
    args={
        "type": "object",
        "properties": {"version": {"type": "string"}, "drain": {"type": "boolean"}},
        "required": ["version"],
        "additionalProperties": False,
    },
    undo={
        "type": "object",
        "properties": {"to": {"anyOf": [{"type": "string"}, {"type": "null"}]}},
        "required": ["to"],
        "additionalProperties": False,
    },
)


def agent(name: str = "web-1", *actions: ActionInfo, live: bool = True, **more: Any) -> KnownAgent:
    """An agent with the action `app.switch`, or with these."""
    fields = {"pools": [], "labels": {}, **more}
    return KnownAgent(name, live, "2026-01-31T12:00:00Z", actions=list(actions or [SWITCH]), **fields)


def found(steps: str, *agents: KnownAgent) -> list[str]:
    """What is found in a workflow with these steps; its first line is line 3."""
    text = f"workflow: w\nsteps:\n{steps}"
    findings = check_live(text, "w.yaml", read_workflow(text, "w.yaml"), agents)
    kinds = {"error": "", "warning": "warning: ", "note": "note: "}
    return [
        str(replace(one.diagnostic, message=kinds[one.level] + one.diagnostic.message)) for one in findings
    ]


def step(more: str = "", target: str = "web-1", version: str = '"2"') -> str:
    """A step that switches."""
    return f"  - {{id: a, action: app.switch, target: {target}, with: {{version: {version}}}{more}}}\n"


def test_a_document_that_fits_is_fine() -> None:
    """A known live agent, its action, its arguments."""
    assert found(step(), agent()) == []


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("web-2", "w.yaml:3:41: no agent 'web-2' has announced itself (hint: did you mean 'web-1'?)"),
        ("{pool: shop}", "w.yaml:3:48: no agent serves the pool 'shop' (hint: did you mean 'shops'?)"),
        ("{labels: {role: db}}", "w.yaml:3:50: no agent has the labels role=db (hint: baton agents list"),
        (
            "{labels: {role: web, zone: b}, all: true}",
            "w.yaml:3:50: no agent has the labels role=web, zone=b",
        ),
    ],
)
def test_a_target_must_be_there(target: str, says: str) -> None:
    """By name, by pool and by labels; told where the target stands, with what was probably meant."""
    [line] = found(step(target=target), agent(pools=["shops"], labels={"role": "web"}))
    assert line.startswith(says)


@pytest.mark.parametrize("target", ["web-1", "{pool: p}", "{labels: {role: web}}"])
def test_an_agent_that_is_not_live_is_a_warning(target: str) -> None:
    """It may be started yet; its actions are checked all the same."""
    gone = agent(live=False, pools=["p"], labels={"role": "web"})
    [line] = found(step(target=target), gone)
    assert ": warning: " in line
    assert "web-1" in line or target == "web-1"
    lines = found(step(target=target, version="2"), gone)
    assert len(lines) == 2
    assert "2 is not of type 'string'" in lines[1]


@pytest.mark.parametrize(
    ("target", "version"),
    [
        ('"${{ input.where }}"', '"2"'),
        ('"web-${{ input.n }}"', '"2"'),
        ('{pool: "${{ input.where }}"}', "2"),
        ('{labels: {role: web, zone: "${{ input.zone }}"}}', "2"),
    ],
)
def test_a_target_that_is_an_expression_is_a_note(target: str, version: str) -> None:
    """Neither it nor the arguments are checked; only whether anybody has such an action."""
    there = agent(pools=["p"], labels={"role": "web"})
    [line] = found(step(target=target, version=version), there)
    assert ": note: an expression says which agents" in line
    other = agent("db-1", ActionInfo(name="db.dump"), pools=["p"], labels={"role": "web"})
    lines = found(step(target=target), other)
    assert [": note: " in line for line in lines] == [False, True]
    assert "action 'app.switch' is not offered by db-1" in lines[0]


def test_labels_that_are_text_must_match_also_beside_expressions() -> None:
    """With the others the match could only be smaller."""
    [line] = found(step(target='{labels: {role: db, zone: "${{ input.zone }}"}}'), agent())
    assert "no agent has the labels role=db" in line


def test_every_agent_that_may_be_chosen_needs_the_action() -> None:
    """A pool and labels choose any of the live ones; those that are not live do not count then."""
    plain = ActionInfo(name="app.stop")
    many = [agent(f"web-{n}", plain, pools=["p"]) for n in range(2, 9)]
    [line] = found(step(target="{pool: p}"), agent(pools=["p"]), *many)
    assert line.startswith(
        "w.yaml:3:21: action 'app.switch' is not offered by web-2, web-3, web-4, web-5, web-6"
    )
    assert "and 2 more, of 8 agents" in line
    gone = [agent(f"web-{n}", plain, pools=["p"], live=False) for n in range(2, 9)]
    assert found(step(target="{pool: p}"), agent(pools=["p"]), *gone) == []
    [line] = found(step().replace("app.switch", "app.swich"), agent())
    assert line == (
        "w.yaml:3:21: action 'app.swich' is not offered by web-1 (hint: did you mean 'app.switch'?)"
    )


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ("{version: 2}", {"6:21": "2 is not of type 'string'"}),
        ("{}", {"6:11": "'version' is a required property"}),
        (
            "{verison: x}",
            {
                "6:11": "'version' is a required property",
                "6:21": "there is no argument 'verison' (hint: there are: version, drain)",
            },
        ),
        ('{version: "${{ input.v }}"}', {}),
        ('{version: "${{ input.v }}", drain: "${{ input.d }}"}', {}),
        (
            '{version: "${{ input.v }}", drian: "${{ input.d }}"}',
            {"6:46": "there is no argument 'drian' (hint: there are: version, drain)"},
        ),
        ("{version: 'v${{ secret(\"v\") }}'}", {}),
        (
            "{version: '${{ secret(\"v\") }}', drain: '${{ secret(\"d\") }}'}",
            {"6:50": "a secret is text, not boolean (hint: let the action take it as text)"},
        ),
        ('{version: x, drain: "yes"}', {"6:31": "'yes' is not of type 'boolean'"}),
    ],
)
def test_arguments_must_fit(args: str, says: dict[str, str]) -> None:
    """What is text by value, what an expression gives by its name; each told at its own place."""
    steps = f"  - id: a\n    action: app.switch\n    target: web-1\n    with: {args}\n"
    lines = [f"w.yaml:{place}: 'app.switch' of web-1: {message}" for place, message in says.items()]
    assert found(steps, agent()) == lines


def test_arguments_that_are_missing_altogether_are_told_at_the_step() -> None:
    """There is no `with` to point at."""
    [line] = found("  - {id: a, action: app.switch, target: web-1}\n", agent())
    assert line.startswith("w.yaml:3:5: ")


def test_what_expressions_give_inside_of_lists_and_maps_is_not_judged() -> None:
    """What stands around it is."""
    schema = {
        "type": "object",
        "properties": {
            "many": {"type": "array", "items": {"type": "integer"}, "maxItems": 2},
            "one": {"anyOf": [{"$ref": "#/$defs/Box"}, {"type": "null"}]},
            "odd": {"enum": [["a", "b"]]},
        },
        "$defs": {"Box": {"type": "object", "properties": {"n": {"type": "integer"}}}},
    }
    there = agent("web-1", ActionInfo(name="app.do", args=schema))
    steps = "  - id: a\n    action: app.do\n    target: web-1\n    with:\n"
    unknown = '"${{ input.x }}"'
    assert found(f"{steps}      many: [1, {unknown}]\n", there) == []
    assert found(f"{steps}      one: {{n: {unknown}}}\n", there) == []
    assert found(f"{steps}      odd: [a, {unknown}]\n", there) == []
    [line] = found(f"{steps}      many: [x, {unknown}]\n", there)
    assert line.startswith("w.yaml:7:14: ")
    [line] = found(f"{steps}      many: [1, 2, {unknown}]\n", there)
    assert "too long" in line
    assert len(found(f"{steps}      odd: [a, c]\n", there)) == 1


def test_an_undo_is_checked_against_what_it_runs() -> None:
    """The function of its own where the action has one; on the step's agents unless it names others."""
    undo = ", compensate: {action: app.switch, with: {to: %s}%s}"
    assert found(step(undo % ('"1"', "")), agent()) == []
    [line] = found(step(undo % ("1", "")), agent())
    assert "1 is not valid under any of the given schemas" in line
    [line] = found(step(undo % ('"1"', ", target: web-9")), agent())
    assert "no agent 'web-9'" in line
    plain = ActionInfo(name="app.switch", args=SWITCH.args)
    lines = found(step(undo % ('"1"', "")), agent("web-1", plain))
    assert [": 'version' is a required" in line or "no argument 'to'" in line for line in lines] == [
        True,
        True,
    ]
    [line] = found(step(", compensate: {action: app.unswitch}"), agent())
    assert "action 'app.unswitch' is not offered by web-1" in line


def test_other_steps_with_an_undo_are_checked() -> None:
    """A `sleep` that is undone by an action."""
    [line] = found("  - {id: a, sleep: 1s, compensate: {action: app.stop, target: web-1}}\n", agent())
    assert "action 'app.stop' is not offered" in line


def test_agents_that_announce_different_arguments_are_each_heard() -> None:
    """Of one schema together; a schema that is of no use is a note, not the document's fault."""
    other = ActionInfo(name="app.switch", args={"type": "object", "required": ["name"]})
    broken = ActionInfo(name="app.switch", args={"$ref": "https://example.com/schema"})
    there = [
        agent("web-1", pools=["p"]),
        agent("web-2", other, pools=["p"]),
        agent("web-3", other, pools=["p"]),
        agent("web-4", broken, pools=["p"]),
    ]
    lines = found(step(target="{pool: p}"), *there)
    assert len(lines) == 2
    assert any("of web-2, web-3: 'name' is a required property" in line for line in lines)
    assert any(": note: the arguments are not checked: 'app.switch' of web-4" in line for line in lines)


def test_one_thing_is_told_once() -> None:
    """Not once for the step and again for its undo, which goes to the same agent."""
    lines = found(step(', compensate: {action: app.switch, with: {to: "1"}}', target="web-9"), agent())
    assert len(lines) == 1


def test_as_json_it_is_a_diagnostic_with_a_level() -> None:
    """For those that read it by machine."""
    text = f"workflow: w\nsteps:\n{step(target='web-2')}"
    [one] = check_live(text, "w.yaml", read_workflow(text, "w.yaml"), [agent()])
    assert one.as_json() == {
        "level": "error",
        "file": "w.yaml",
        "line": 3,
        "column": 41,
        "message": "no agent 'web-2' has announced itself",
        "hint": "did you mean 'web-1'?",
        "path": ["steps", 0, "target"],
    }


def test_what_our_own_agents_announce_can_be_checked_against() -> None:
    """The built-ins and an action of any shape: right arguments pass, wrong ones do not."""
    mine = Agent()

    @mine.action("any.thing")
    async def anything(ctx: Context, **args: Any) -> None: ...

    infos = [action.info() for action in (*builtin_actions().values(), *mine.actions.values())]
    steps = (
        '  - {id: a, action: exec.run, target: web-1, with: {argv: [echo, "${{ run.id }}"], timeout: 5s}}\n'
        "  - {id: b, action: any.thing, target: web-1, with: {x: 1}}\n"
        '  - {id: c, action: file.write, target: web-1, with: {path: /tmp/x, content: "${{ input }}"}}\n'
    )
    assert found(steps, agent("web-1", *infos)) == []
    [line] = found(
        "  - {id: a, action: exec.run, target: web-1, with: {argv: ls -l}}\n", agent("web-1", *infos)
    )
    assert "'ls -l' is not of type 'array'" in line

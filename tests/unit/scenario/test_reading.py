"""Scenario files: what is wrong with one is said with its place and what to do."""

from pathlib import Path

import pytest

from orchestrator.document import InvalidDocument
from orchestrator.scenario.reading import read_scenarios

GOOD = """\
workflow:
  workflow: one
  steps:
    - {id: a, action: do.it, target: h1}
scenarios:
  - name: it works
    expect: {status: succeeded}
"""


def wrong(tmp_path: Path, text: str) -> list[str]:
    """What is said of a file, without its name."""
    path = tmp_path / "s.yaml"
    path.write_text(text)
    with pytest.raises(InvalidDocument) as caught:
        read_scenarios(path)
    return [str(diagnostic).removeprefix(f"{path}:") for diagnostic in caught.value.diagnostics]


def scenario(line: str) -> str:
    """The good file with one more line in its scenario, which is line 8."""
    return GOOD + f"    {line}\n"


def test_a_good_file_is_read(tmp_path: Path) -> None:
    """With the workflow of the file, and the place of the scenario."""
    path = tmp_path / "s.yaml"
    path.write_text(GOOD)
    (case,) = read_scenarios(path)
    assert (case.name, case.line, [document.name for document in case.documents]) == ("it works", 6, ["one"])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("expct: {}", "8:5: unknown field 'expct' (hint: did you mean 'expect'?)"),
        ("until: soon", "8:12: 'soon' is not a duration"),
        ("outcomes: {a: explode}", "8:19: 'explode' is not an outcome"),
        ("outcomes: {a: [fail, hagn]}", "8:26: 'hagn' is not an outcome (hint: did you mean 'hang'?)"),
        ("outcomes: {a: {do: fial}}", "8:24: 'fial' is not an outcome (hint: did you mean 'fail'?)"),
        ("outcomes: {a: {on_query: maybe}}", "8:30: 'maybe' is not an answer to a query"),
        ("outcomes: {a b c: fail}", "8:16: 'a b c' names no command"),
        ("outcomes: {undo b: fail}", "8:16: 'b' is not a step of these workflows (hint: use a)"),
        ("happens: [{at: 1s, expect: {never: [b]}}]", "8:41: 'b' is not a step of these workflows"),
        ("happens: [{at: 1s}]", "8:15: expected exactly one thing to happen, got 0"),
        ("happens: [{at: 1s, do: cancel, start: {}}]", "8:15: expected exactly one thing to happen, got 2"),
        ("happens: [{do: cancel}]", "8:15: it must say when"),
        ("happens: [{when: a exploded, do: cancel}]", "8:22: 'a exploded' names no moment"),
        ("happens: [{at: 1s, do: explode}]", "8:28: 'explode' is not a move"),
        ("happens: [{at: 1s, do: resolve, step: a}]", "8:15: resolve needs 'step' and 'decision'"),
        ("happens: [{at: 1s, result: {step: a, status: fine}}]", "8:50: 'fine' is not a result's status"),
        (
            "happens: [{at: 1s, agent: {name: h1, to: mars}}]",
            "8:46: 'mars' is not what can happen to an agent",
        ),
        ("settings: {grace: long}", "8:15: settings: Expected `float`"),
        ("settings: {speed: 1}", "8:15: settings: Object contains unknown field `speed`"),
        ("now: yesterday", "8:10: 'yesterday' is not an RFC 3339 time"),
        ("workflow: gone.yaml", "8:15: cannot read"),
        ("workflow: {workflow: two, steps: []}", "8:38: expected at least 1 entry"),
        (
            "workflow: {workflow: two, steps: [{id: a, action: b, target: c, with: {x: '${{ oops }}'}}]}",
            "8:84:",
        ),
    ],
)
def test_a_mistake_is_found_where_it_is(tmp_path: Path, line: str, said: str) -> None:
    """Line and column of the very value, in the words of a document's own mistakes."""
    found = wrong(tmp_path, scenario(line))
    assert any(one.startswith(said) for one in found), found


@pytest.mark.parametrize(
    ("expect", "said"),
    [
        ("{status: done}", "7:22: 'done' is not a run's status"),
        ("{steps: {a: fine}}", "7:25: 'fine' is not a step's status"),
        ("{steps: {a: {tasks: [fine]}}}", "7:33: 'fine' is not a step's status"),
        ("{runs: {one: fine}}", "7:26: 'fine' is not a run's status"),
        ("{inbox: [eaten]}", "7:21: 'eaten' is not what becomes of an event"),
        ("{commands: [a, 'b c']}", "7:28: 'b c' names no command"),
        ("{commands: [[a, 'b c']]}", "7:29: 'b c' names no command"),
        ("{commands: [{at: 1s}]}", "7:25: expected either 'command' or 'any'"),
        ("{commands: [{any: [[a, 'b c']]}]}", "7:32: 'b c' names no command"),
        ("{never: ['b c']}", "7:22: 'b c' names no command"),
    ],
)
def test_a_mistake_in_what_is_expected(tmp_path: Path, expect: str, said: str) -> None:
    """A status or a command that cannot be, which would otherwise just never be found."""
    found = wrong(tmp_path, GOOD.replace("{status: succeeded}", expect))
    assert any(one.startswith(said) for one in found), found


def test_all_mistakes_are_said_at_once(tmp_path: Path) -> None:
    """In the order of the text."""
    found = wrong(tmp_path, scenario("outcomes: {a: explode}") + "    now: yesterday\n")
    assert [one.split(":")[0] for one in found] == ["8", "9"]


def test_names_differ(tmp_path: Path) -> None:
    """A second scenario of one name could not be told from the first."""
    (said,) = wrong(tmp_path, GOOD + "  - name: it works\n")
    assert said.startswith("8:11: a second scenario of this name")


def test_a_scenario_needs_a_workflow(tmp_path: Path) -> None:
    """Its own or the file's."""
    (said,) = wrong(tmp_path, "scenarios: [{name: x}]\n")
    assert "without a workflow" in said


def test_a_workflow_may_stand_in_its_own_file(tmp_path: Path) -> None:
    """Named relative to the scenario file; what is wrong with it is said with its name."""
    path = tmp_path / "s.yaml"
    path.write_text("workflow: w.yaml\nscenarios: [{name: x}]\n")
    (tmp_path / "w.yaml").write_text("workflow: other\nsteps: [{id: a, action: do.it, target: h1}]\n")
    assert read_scenarios(path)[0].documents[0].name == "other"
    (tmp_path / "w.yaml").write_text("workflow: other\nsteps: [{id: a, action: do.it}]\n")
    with pytest.raises(InvalidDocument) as caught:
        read_scenarios(path)
    assert caught.value.diagnostics[0].file == str(tmp_path / "w.yaml")

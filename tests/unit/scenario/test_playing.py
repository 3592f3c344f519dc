"""Scenarios that must fail, and how that is told; what the simulated agents and the clock do."""

from pathlib import Path

import pytest

from orchestrator.scenario.clock import Clock, moment_text
from orchestrator.scenario.playing import Played, play
from orchestrator.scenario.reading import read_scenarios
from orchestrator.scenario.report import as_json, failure_text, plain, terminal

WORKFLOW = """\
workflow:
  workflow: pair
  steps:
    - {id: a, action: do.it, target: h1, needs: [], compensate: {action: undo.it}}
    - {id: b, action: do.it, target: h2, needs: []}
scenarios:
  - name: a pair
"""


def played(tmp_path: Path, *lines: str) -> Played:
    """A scenario of a pair of steps, with these lines."""
    path = tmp_path / "s.yaml"
    path.write_text(WORKFLOW + "".join(f"    {line}\n" for line in lines))
    (case,) = read_scenarios(path)
    return play(case)


@pytest.mark.parametrize(
    ("lines", "what"),
    [
        (("expect: {commands: [[a, b], undo a]}",), "commands"),
        (("expect: {never: [b]}",), "never b"),
        (("expect: {status: failed}",), "status"),
        (("expect: {steps: {a: failed}}",), "a"),
        (("expect: {steps: {a: {attempts: 2}}}",), "a, attempts"),
        (("expect: {steps: {a: {output: 1}}}",), "a, output"),
        (("expect: {steps: {a: {tasks: [failed]}}}",), "a, tasks"),
        (("expect: {steps: {nowhere: succeeded}}",), "nowhere"),
        (("expect: {output: 1}",), "output"),
        (("expect: {key: k}",), "key"),
        (("expect: {took: 1s}",), "took"),
        (("outcomes: {b: fail}", "expect: {reason: because}"), "reason"),
        (("outcomes: {b: fail}", "expect: {failure: {step: a}}"), "failure, step"),
        (("outcomes: {b: fail}", "expect: {failure: {code: odd}}"), "failure, code"),
        (("expect: {runs: {}}",), "runs"),
        (("expect: {runs: {pair: failed}}",), "pair: status"),
        (("expect: {inbox: [started]}",), "inbox"),
        (("expect: {events: [com.example.it]}",), "events"),
        (("expect: {recorded: {run_ended: 2}}",), "recorded run_ended"),
        (("expect: {refused: [because]}",), "the document"),
        (("start: {workflow: nobody}",), "the start"),
        (("happens: [{when: run attention, do: cancel}]",), "a moment"),
        (("happens: [{at: 1s, do: cancel}]",), "cancel"),
        (("happens: [{at: 0s, do: cancel, refused: run_ended}]",), "cancel"),
        (("happens: [{at: 1s, expect: {status: failed}}]",), "status"),
    ],
)
def test_every_expectation_can_fail(tmp_path: Path, lines: tuple[str, ...], what: str) -> None:
    """Nothing that is expected is taken for granted."""
    assert what in [mismatch.what for mismatch in played(tmp_path, *lines).mismatches]


def test_a_failure_is_told_side_by_side_and_then_in_full(tmp_path: Path) -> None:
    """Expected and actual commands with their times, other differences, and everything that happened."""
    outcome = "outcomes: {b: {code: no_luck, takes: 90s}}"
    text = failure_text(played(tmp_path, outcome, "expect: {commands: [[a, b]], status: failed}"), plain)
    lines = [line.strip() for line in text.splitlines()]
    assert lines[0].endswith("s.yaml:7: a pair")
    assert "1m 30s  +         undo a on h1" in [" ".join(line.split("  ")) for line in lines] or any(
        line.startswith("1m 30s  +") and line.endswith("undo a on h1") for line in lines
    )
    assert "- failed   expected" in lines
    assert "+ compensated   actual" in lines
    assert any(line.startswith("1m 30s  result") and "no_luck" in line for line in lines)


def test_of_very_much_only_beginning_and_end_are_shown(tmp_path: Path) -> None:
    """A host that is asked for thirty days does not bury what was expected."""
    failed = played(tmp_path, "outcomes: {a: lost}", "expect: {commands: [[a, b]], status: succeeded}")
    lines = failure_text(failed, plain).splitlines()
    assert len(lines) < 500
    assert sum("lines more …" in line for line in lines) == 2


def test_colour_is_for_terminals_only(tmp_path: Path) -> None:
    """Both say the same."""
    failed = played(tmp_path, "expect: {status: failed}")
    assert "\033[" in failure_text(failed, terminal)
    assert "\033[" not in failure_text(failed, plain)


def test_json_has_all_of_it(tmp_path: Path) -> None:
    """Mismatches and the timeline, with times in seconds."""
    told = as_json(played(tmp_path, "happens: [{at: 1500ms, expect: {status: failed}}]"))
    assert told["ok"] is False
    assert told["mismatches"] == [{"what": "status", "at": 1.5, "expected": "failed", "actual": "succeeded"}]
    assert {"at": 0.0, "run": "pair", "kind": "command", "text": "a on h1"} in told["timeline"]


def test_playing_twice_gives_the_same(tmp_path: Path) -> None:
    """No clock, no chance: two playings are one."""
    lines = ("outcomes: {b: {do: fail, takes: 3s}, undo a: [fail, never_taken, succeed]}",)
    assert as_json(played(tmp_path, *lines)) == as_json(played(tmp_path, *lines))


def test_what_never_comes_to_rest_is_stopped_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scenario is bounded in what it may do, whatever the workflow does."""
    monkeypatch.setattr("orchestrator.scenario.engine._MAX_HANDLED", 3)
    assert "the end" in [mismatch.what for mismatch in played(tmp_path).mismatches]


def test_undeclared_agents_are_not_there(tmp_path: Path) -> None:
    """With `agents` only those exist; without, everybody who is named."""
    run = played(tmp_path, "agents: {h1: {}}", "expect: {steps: {b: {status: failed, error: agent_unknown}}}")
    assert not run.mismatches


def test_the_clock_goes_by_time_then_by_order() -> None:
    """What is due at one time happens in the order in which it was planned; time never goes back."""
    clock, seen = Clock(), list[str]()
    clock.after(2, lambda: seen.append("late"))
    clock.after(1, lambda: seen.append("first"))
    clock.after(1, lambda: seen.append("second"))
    while clock.next_at() is not None:
        clock.happen()
    assert seen == ["first", "second", "late"]
    assert clock.elapsed == 2
    clock.advance(clock.beginning)
    assert clock.elapsed == 2


@pytest.mark.parametrize(
    ("micros", "text"),
    [(0, "0s"), (1_500_000, "1.5s"), (60_000_000, "1m"), (90_000_000, "1m 30s"), (93_600_000_000, "1d 2h")],
)
def test_times_are_short(micros: int, text: str) -> None:
    """As people write them."""
    assert moment_text(micros) == text

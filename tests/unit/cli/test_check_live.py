"""`baton check --live` and `baton agents list`: what they ask, what they print, how they end."""

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cli import main
from orchestrator.cli.client import ApiClient

NOBODY = "http://127.0.0.1:1"
REAL_GET = ApiClient.get
GOOD = "workflow: good\nsteps: [{id: a, action: app.stop, target: web-1}]\n"
BAD = "workflow: bad\nsteps: [{id: a, action: app.stop, target: web-9}]\n"
BROKEN = "workflow: broken\n"
AGENT = {
    "name": "web-1",
    "live": True,
    "stopping": False,
    "seen_at": "2026-01-31T12:00:00Z",
    "version": "1",
    "pools": ["shop"],
    "labels": {"role": "web"},
    "actions": [{"name": "app.stop"}],
}


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[dict[str, Any]]:
    """A directory with documents, and an API that knows one agent; what it was asked for."""
    for name, text in (("good", GOOD), ("bad", BAD), ("broken", BROKEN)):
        (tmp_path / f"{name}.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BATON_URL", raising=False)
    queries: list[dict[str, Any]] = []

    def get(_: ApiClient, path: str, **query: Any) -> Any:
        assert path == "/api/agents"
        queries.append(query)
        return {"items": [AGENT], "next": None}

    monkeypatch.setattr(ApiClient, "get", get)
    return queries


def test_nobody_is_asked_without_live(asked: list[dict[str, Any]]) -> None:
    """A check is a matter of the documents alone unless one says otherwise."""
    assert main(["check", "bad.yaml"]) == 0
    assert asked == []


def test_each_file_is_checked_against_the_agents(
    asked: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    """Asked once; what is wrong is a line with its place and makes the exit code 1."""
    assert main(["check", "--live", "good.yaml"]) == 0
    assert capsys.readouterr().out.startswith("good.yaml: ok, workflow good")
    assert main(["check", "--live", "good.yaml", "bad.yaml", "broken.yaml"]) == 1
    good, bad, broken = capsys.readouterr().out.splitlines()
    assert good.startswith("good.yaml: ok")
    assert bad.startswith("bad.yaml:2:43: no agent 'web-9' has announced itself")
    assert broken.startswith("broken.yaml:1:1: ")
    assert len(asked) == 2


def test_a_warning_is_not_wrong(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """An agent that is not live may be by the time that a run starts."""
    monkeypatch.setitem(AGENT, "live", False)
    assert main(["check", "--live", "good.yaml"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("good.yaml: ok")
    assert second.startswith("good.yaml:2:43: warning: agent 'web-1' is not live")


def test_as_json_each_report_says_what_was_found_live(capsys: pytest.CaptureFixture[str]) -> None:
    """Apart from `diagnostics`; only where the document itself is good, and only with `--live`."""
    assert main(["check", "--live", "--json", "bad.yaml", "broken.yaml"]) == 1
    answer = json.loads(capsys.readouterr().out)
    bad, broken = answer["files"]
    assert answer["ok"] is False
    assert (bad["diagnostics"], [one["level"] for one in bad["live"]]) == ([], ["error"])
    assert broken["diagnostics"]
    assert "live" not in broken
    assert main(["check", "--json", "bad.yaml"]) == 0
    assert "live" not in json.loads(capsys.readouterr().out)["files"][0]


def test_a_coordinator_that_cannot_be_reached_is_3(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As everywhere: the address on stderr, with `--json` an error on stdout."""
    monkeypatch.setattr(ApiClient, "get", REAL_GET)
    assert main(["check", "--live", "good.yaml", "--url", NOBODY]) == 3
    assert NOBODY in capsys.readouterr().err
    assert main(["check", "--live", "--json", "good.yaml", "--url", NOBODY]) == 3
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "unreachable"


def test_an_answer_of_another_version_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one line, with what to do."""
    monkeypatch.delitem(AGENT, "live")
    assert main(["check", "--live", "good.yaml"]) == 1
    said = capsys.readouterr().err
    assert "cannot be read" in said
    assert "version" in said


def test_agents_are_listed_with_whether_they_are_live(
    asked: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And when they were last heard of; the filters go to the API."""
    assert main(["agents", "list", "--pool", "shop", "--label", "role=web", "--label", "a=b", "--live"]) == 0
    head, line = capsys.readouterr().out.splitlines()
    assert head.lower().split()[:2] == ["name", "live"]
    assert line.split()[:2] == ["web-1", "yes"]
    assert "role=web" in line
    assert asked == [{"pool": "shop", "label": ["role=web", "a=b"], "live": "true"}]
    monkeypatch.setitem(AGENT, "live", False)
    main(["agents", "list"])
    assert capsys.readouterr().out.splitlines()[1].split()[1] == "no"
    monkeypatch.setitem(AGENT, "stopping", True)
    main(["agents", "list"])
    assert capsys.readouterr().out.splitlines()[1].split()[1] == "stopped"

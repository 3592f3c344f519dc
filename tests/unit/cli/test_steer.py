"""Commands that steer runs: what they ask of the API, and when they ask a person first."""

import io
import json
import sys
from collections.abc import Callable
from typing import Any

import pytest

from orchestrator.cli import bulk, main
from orchestrator.cli.client import ApiClient
from orchestrator.cli.remote import UsageError

Answer = dict[str, Any]


class Api:
    """Stands for the API: keeps what was asked, and answers from a list."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Any]] = []
        self.answers: list[Answer | BaseException] = []

    def call(self, method: str, path: str, *, body: bytes | None = None, **more: Any) -> Any:
        """In place of `ApiClient.call`."""
        query = {name: value for name, value in (more.get("query") or {}).items() if value is not None}
        self.asked.append((method, path, json.loads(body) if body else query))
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Api:
    """An API that answers as the test says."""
    made = Api()
    monkeypatch.setattr(ApiClient, "call", made.call)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    return made


def page(matched: int, done: int, following: str | None = None, refused: Any = ()) -> Answer:
    """An answer of `/api/runs/bulk`."""
    return {"matched": matched, "done": done, "refused": list(refused), "counts": [], "next": following}


COUNTED = {**page(3, 0), "counts": [{"workflow": "w", "status": "running", "count": 3}]}


@pytest.mark.parametrize(
    ("arguments", "path", "body"),
    [
        ("pause r --who eva --why lunch", "pause", {"who": "eva", "why": "lunch"}),
        ("resume r --who eva", "resume", {"who": "eva", "why": ""}),
        ("cancel r --who eva --reason old", "cancel", {"who": "eva", "why": "old"}),
        (
            "approve r s --who eva",
            "approve",
            {"who": "eva", "why": "", "step": "s", "host_index": 0, "approved": True},
        ),
        (
            "reject r s --host 2 --why no --who eva",
            "approve",
            {"who": "eva", "why": "no", "step": "s", "host_index": 2, "approved": False},
        ),
        (
            "resolve r s --decision done --why seen --host web-1 --output 7 --who eva",
            "resolve",
            {"who": "eva", "why": "seen", "step": "s", "decision": "done", "output": 7, "host": "web-1"},
        ),
        (
            "resolve r s --decision skip --why x --host 12 --who eva",
            "resolve",
            {"who": "eva", "why": "x", "step": "s", "decision": "skip", "output": None, "host_index": 12},
        ),
        ("retry r --now --who eva", "retry", {"who": "eva", "why": "", "now": True}),
        (
            "retry r --from s --version current --who eva",
            "retry",
            {"who": "eva", "why": "", "from": "s", "version": "current"},
        ),
        ("move r --to 0123ab --who eva", "move", {"who": "eva", "why": "", "to": "0123ab"}),
    ],
)
def test_one_run(api: Api, capsys: pytest.CaptureFixture[str], arguments: str, path: str, body: Any) -> None:
    """Each command posts what it was told to the run's own path, and shows the answer."""
    api.answers = [{"id": "r", "status": "running"}]
    assert main(["runs", *arguments.split(), "--json"]) == 0
    assert api.asked == [("POST", f"/api/runs/r/{path}", body)]
    assert json.loads(capsys.readouterr().out)["id"] == "r"


@pytest.mark.parametrize(
    "arguments",
    [
        "cancel",
        "pause --yes",
        "pause r --workflow w",
        "pause r --dry-run",
        "retry r",
        "retry r --now --from s",
        "approve r",
        "resolve --workflow w --decision skip --why x",
        "cancel --wait --workflow w",
        "pause --started-before soon",
    ],
)
def test_what_makes_no_sense_asks_nothing(
    api: Api, capsys: pytest.CaptureFixture[str], arguments: str
) -> None:
    """No run, both a run and a choice, or contradictions: exit code 2, and no request."""
    assert main(["runs", *arguments.split()]) == 2
    assert api.asked == []
    assert "error:" in capsys.readouterr().err


def test_a_dry_run_counts(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    """One request that changes nothing; how many of which workflow and status is shown."""
    api.answers = [COUNTED]
    assert main(["runs", "cancel", "--workflow", "w", "--dry-run", "--who", "eva"]) == 0
    [(_, path, body)] = api.asked
    assert (path, body["action"], body["dry_run"], body["filter"]) == (
        "/api/runs/bulk", "cancel", True, {"workflow": "w"},
    )  # fmt: skip
    assert capsys.readouterr().out.split() == ["would", "cancel", "3", "runs", "3", "w", "running"]


def test_without_yes_and_a_terminal_nothing_is_done(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    """It counts, says what it would do and how to have it done, and ends with 2."""
    api.answers = [COUNTED]
    assert main(["runs", "pause", "--workflow", "w"]) == 2
    assert len(api.asked) == 1
    assert "pause 3 runs" in capsys.readouterr().err


class Terminal(io.StringIO):
    """A person at the keyboard."""

    def isatty(self) -> bool:
        """It is one."""
        return True


@pytest.mark.parametrize(("typed", "code", "requests"), [("y\n", 0, 2), ("n\n", 2, 1), ("", 2, 1)])
def test_on_a_terminal_a_person_is_asked(
    api: Api, monkeypatch: pytest.MonkeyPatch, typed: str, code: int, requests: int
) -> None:
    """Only a yes goes on."""
    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    api.answers = [COUNTED, page(3, 3)]
    assert main(["runs", "pause", "--workflow", "w"]) == code
    assert len(api.asked) == requests


def test_page_after_page(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    """Each page goes on where the one before ended; what was refused is listed and makes the exit code 1."""
    refusal = {"id": "r9", "error": {"code": "x", "message": "has ended"}}
    api.answers = [page(250, 0), page(100, 100, "c1"), page(100, 99, "c2", [refusal]), page(50, 50)]
    assert main(["runs", "pause", "--status", "running", "--yes", "--json"]) == 1
    assert [body.get("cursor") for _, _, body in api.asked] == [None, None, "c1", "c2"]
    said = capsys.readouterr()
    assert json.loads(said.out) == {"matched": 250, "done": 249, "refused": [refusal], "next": None}
    assert said.err.splitlines() == ["100 of 250", "200 of 250", "250 of 250"]


def test_an_interruption_says_how_far_it_came(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    """Ctrl-C between pages: what is done is said, nothing more is asked, exit code 130."""
    api.answers = [page(250, 0), page(100, 100, "c1"), KeyboardInterrupt()]
    assert main(["runs", "pause", "--status", "running", "--yes"]) == 130
    said = capsys.readouterr()
    assert "pause: 100 of 100 runs" in said.out
    assert "stopped" in said.err


def test_a_time_may_be_how_long_ago() -> None:
    """A duration becomes that moment, a time stays, anything else is refused."""
    moment_of: Callable[[str | None, str], str | None] = bulk.moment_of
    assert moment_of("2026-01-31T12:00:00Z", "--x") == "2026-01-31T12:00:00Z"
    assert moment_of(None, "--x") is None
    ago = moment_of("2h", "--x")
    assert ago is not None
    assert "T" in ago
    with pytest.raises(UsageError, match="--x"):
        moment_of("soon", "--x")


def test_approvals(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    """Who is asked for what, until when; of one item its number."""
    one = {
        "run": "r",
        "workflow": "w",
        "key": "k",
        "step": "may",
        "index": 1,
        "item": '"a"',
        "message": "go?",
        "by": ["eva", "max"],
        "since": None,
        "until": None,
        "on_timeout": "reject",
    }
    api.answers = [{"items": [one], "next": None}, {"items": [], "next": None}]
    assert main(["approvals", "list"]) == 0
    out = capsys.readouterr().out
    assert "may[1]" in out
    assert "eva, max" in out
    assert main(["approvals", "list"]) == 0
    assert "nobody" in capsys.readouterr().out

"""A run's timeline: which lines, in which order, and following a run to its end."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from orchestrator.cli import timeline as module
from orchestrator.cli.timeline import entries, follow, timeline
from schemas.errors import Conflict, NotFound, Unreachable


def at(second: float | None) -> str | None:
    """A time of the test's day."""
    return None if second is None else f"2026-01-31T12:00:{second:09.6f}Z"


def host(
    status: str = "pending", *, begin: float | None = None, end: float | None = None, **more: Any
) -> dict[str, Any]:
    """One task of a step."""
    base: dict[str, Any] = {
        "name": "web-1", "status": status, "attempts": 0 if begin is None else 1, "output": None,
        "error": None,
        "undo_attempts": 0, "undo_started_at": None, "undo_ended_at": None, "undo_error": None, "due": None,
        "index": 0, "waiting": None, "doubt": None, "parked": False, "child": None, "item": None,
    }  # fmt: skip
    return {**base, "started_at": at(begin), "ended_at": at(end), **more}


def step(*hosts: dict[str, Any], **counts: int) -> dict[str, Any]:
    """A step with these tasks, of as many as the counts say."""
    counted = counts or dict(Counter(task["status"] for task in hosts))
    first = hosts[0] if hosts else host()
    times = {name: first[name] for name in ("started_at", "ended_at")}
    return {"status": first["status"], "counts": counted, "hosts": list(hosts), **times}


def run(status: str = "running", **steps: dict[str, Any]) -> dict[str, Any]:
    """A run of these steps."""
    return {
        "id": "r1", "workflow": "release", "key": "v2", "status": status, "reason": "", "started_at": at(0),
        "ended_at": at(9) if status in module.FINAL else None,
        "paused": status == "paused",
        "steps": {name: step(task) for name, task in steps.items()},
    }  # fmt: skip


UNDONE = host(
    "compensated", begin=1, end=2, undo_attempts=2, undo_started_at=at(5), undo_ended_at=at(5.5)
)  # fmt: skip


def test_lines_are_in_the_order_of_what_happened() -> None:
    """Steps come as they began, undos where they happened, and what has not begun last."""
    error = {"code": "boom", "message": "it\nbroke", "retryable": False}
    shown = run(
        "compensated",
        never=host("cancelled"),
        first=UNDONE,
        second=host("failed", begin=2, end=4.25, error=error, attempts=3),
    )
    lines = [entry.cells for entry in entries(shown)]
    assert lines == [
        ("first", "web-1", "succeeded", "1.00s", "1", ""),
        ("second", "web-1", "failed", "2.25s", "3", "boom: it broke"),
        ("undo first", "web-1", "compensated", "0.50s", "2", ""),
        ("never", "web-1", "cancelled", "", "", ""),
    ]
    text = timeline(shown).splitlines()
    assert text[0] == "run r1 release key v2  compensated  9.00s"
    assert text[1].split() == ["STEP", "HOST", "STATUS", "DURATION", "ATTEMPTS"]
    assert len(text) == 6


def test_a_failed_undo_shows_the_undos_error() -> None:
    """The way forward keeps its own line and outcome; the undo's line has the undo's error."""
    failed = {"code": "stuck", "message": "cannot", "retryable": False}
    task = host(
        "compensation_failed", begin=1, end=2, undo_attempts=1, undo_started_at=at(3), undo_error=failed
    )
    forward, undo = entries(run("attention", one=task))
    assert (forward.status, forward.note) == ("succeeded", "")
    assert (undo.status, undo.note) == ("compensation_failed", "stuck: cannot")


def test_what_is_shown_cannot_steer_a_terminal() -> None:
    """Control characters in what comes from outside are spelled out."""
    error = {"code": "x", "message": "\x1b[31mred\x07", "retryable": False}
    text = timeline(run("failed", one=host("failed", begin=1, end=2, error=error)))
    assert "\x1b" not in text
    assert "\\x1b[31mred" in text


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time that does not pass while a test waits."""
    monkeypatch.setattr(module, "POLL_SECONDS", 0.0)


@pytest.mark.usefixtures("impatient")
def test_following_prints_each_change_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a terminal each change is one line; the run is returned when it has ended."""
    states = [
        run("running", one=host()),
        run("running", one=host("running", begin=1)),
        run("running", one=host("running", begin=1)),
        run("succeeded", one=host("succeeded", begin=1, end=2)),
    ]
    ended = follow(iter(states).__next__)
    lines = capsys.readouterr().out.splitlines()
    assert ended["status"] == "succeeded"
    assert len(lines) == 4
    assert lines[0].startswith("run r1 release key v2  running")
    assert lines[1].split()[:3] == ["one", "web-1", "running"]
    assert lines[2] == "one  web-1  succeeded  1.00s  attempt 1"
    assert lines[3].startswith("run r1 release key v2  succeeded")


@pytest.mark.usefixtures("impatient")
def test_a_coordinator_that_is_away_is_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    """A restart in the middle costs one line on stderr, not the command."""
    ended = run("failed", one=host("failed", begin=1, end=2))
    answers: Iterator[Exception | dict[str, Any]] = iter([Unreachable("gone"), Unreachable("gone"), ended])

    def fetch() -> dict[str, Any]:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert follow(fetch, quiet=True)["status"] == "failed"
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("gone") == 1


@pytest.mark.usefixtures("impatient")
def test_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A coordinator that never comes back is `Unreachable`; a run that is unknown is said at once."""
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.0)

    def away() -> dict[str, Any]:
        raise Unreachable("gone")

    def unknown() -> dict[str, Any]:
        raise NotFound("no such run")

    with pytest.raises(Unreachable):
        follow(away, quiet=True)
    with pytest.raises(NotFound):
        follow(unknown, quiet=True)


@pytest.mark.usefixtures("impatient")
def test_a_limit_on_waiting(capsys: pytest.CaptureFixture[str]) -> None:
    """After the limit the command says how things stand; a run that needs a person says what to do."""
    waiting = run("attention", one=host("in_doubt", begin=1))
    with pytest.raises(Conflict, match="attention") as ended:
        follow(lambda: waiting, limit=0.0)
    assert ended.value.code == "not_ended"
    assert "baton runs resolve r1 one" in capsys.readouterr().out


def test_a_run_that_needs_a_person_says_what_to_do() -> None:
    """Below the timeline stands the command that decides, once for each step that waits."""
    waits = run("attention", a=host("succeeded", begin=1, end=2), b=host("in_doubt", begin=2))
    (told,) = [line for line in timeline(waits).splitlines() if "waits for a decision" in line]
    assert told.startswith("step 'b' waits for a decision: baton runs resolve r1 b --decision ")
    assert "waits for a decision" not in timeline(run("running", a=host("running", begin=1)))


WAITS = [
    (
        {"on": "event", "until": None, "event": "paid", "correlate": "event.id", "value": "7"},
        "paid with event.id = 7",
    ),
    ({"on": "event", "until": None, "event": "paid"}, "waits for paid"),
    ({"on": "approval", "until": at(30), "message": "go on?"}, ": go on?"),
    ({"on": "child", "until": None, "child": "r2"}, "child run r2"),
    ({"on": "time", "until": at(30)}, "waits until 2026-01-3"),
]


@pytest.mark.parametrize(("waiting", "words"), WAITS)
def test_what_a_task_waits_for_is_its_note(waiting: dict[str, Any], words: str) -> None:
    """Beside the step stands what it waits for, and until when."""
    (entry,) = entries(run("running", one=host("running", begin=1, waiting=waiting)))
    assert words in entry.note


def test_why_a_step_is_in_doubt_is_said() -> None:
    """At the step, and where the decision is asked for: why, how often was asked, who knows nothing."""
    doubt = {"why": "its time is up", "asked": 3, "lost": True, "denied": ["web-2"]}
    shown = run("attention", one=host("in_doubt", begin=1, doubt=doubt))
    (entry,) = entries(shown)
    for words in ("its time is up", "asked 3 times", "does not know either", "never seen by web-2"):
        assert words in entry.note
        assert words in timeline(shown).splitlines()[-1]


def test_each_task_that_needs_a_person_has_its_command() -> None:
    """A parked step, one of several hosts by its index, an approval, and a paused run."""
    parked = run("attention", one=host("failed", begin=1, end=2, parked=True))
    assert "baton runs resolve r1 one --decision" in timeline(parked)
    several = run("attention")
    several["steps"]["two"] = step(host("succeeded", begin=1, end=2), host("in_doubt", begin=1, index=1))
    assert "baton runs resolve r1 two --host 1 --decision" in timeline(several)
    asks = {"on": "approval", "until": None}
    assert "baton runs approve|reject r1 one" in timeline(run("running", one=host("running", waiting=asks)))
    assert "baton runs resume r1" in timeline(run("paused", one=host()))


def test_of_many_hosts_the_counts_are_shown() -> None:
    """A step whose tasks are not all here has a line with the counts; one without any says so."""
    shown = run("running")
    shown["steps"]["all"] = step(host("failed", begin=1, end=2, index=7), failed=1, succeeded=9_999)
    shown["steps"]["none"] = step()
    lines = {entry.step: entry for entry in entries(shown)}
    assert lines["all"].note == "1 failed, 9999 succeeded"
    assert lines["all[7]"].status == "failed"
    assert lines["none"].note == "nothing to do"

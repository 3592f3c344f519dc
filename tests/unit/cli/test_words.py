"""Every kind of fact has words."""

from typing import Any, get_args

import msgspec
import pytest

from orchestrator.api.run_views import history_view
from orchestrator.cli.words import WORDS, in_words
from orchestrator.core import facts
from orchestrator.core.model import Failure, RunStatus, Task, Wait, WaitOn
from orchestrator.store.port import HistoryEntry
from schemas.messages import ErrorInfo

KINDS: list[Any] = list(get_args(facts.Fact))
ERROR = ErrorInfo(code="boom", message="it\x1b broke")
VALUES: dict[str, Any] = {
    "step": "switch",
    "host_index": 2,
    "attempt": 3,
    "who": "eva",
    "why": "because",
    "group": "g",
    "steps": ["a", "b"],
    "agent": "web-1",
    "agents": ["web-1", "web-2"],
    "action": "app.do",
    "at": 1,
    "target": "agent.web-1",
    "command_id": "c",
    "status": "failed",
    "error": ERROR,
    "undo": False,
    "due": 5,
    "until": 5,
    "batch": 0,
    "event_id": "e",
    "type": "com.example.live",
    "decision": "skip",
    "wait": Wait(WaitOn.EVENT, topic="paid\nevent.id", value="7"),
    "failure": Failure("switch", "boom", "it broke"),
    "version": "0123456789abcdef",
}


def fact_of(kind: Any, *, full: bool) -> Any:
    """A fact of this kind; with only what it must have, or with all that is made up here."""
    own: dict[str, Any] = {}
    if kind is facts.StepsKept:
        own = {"steps": {"a": (Task(),)}}
    elif kind is facts.RunEnded:
        own = {"status": RunStatus.FAILED}
    elif kind is facts.StepExpanded:
        own = {"hosts": [facts.HostRef("web-1")]} if full else {"items": [1, 2]}
    values = VALUES | own
    return kind(
        **{
            field.name: values[field.name]
            for field in msgspec.structs.fields(kind)
            if field.name in values and (field.required or full or field.name in own)
        }
    )


def test_there_are_words_for_every_kind_and_for_nothing_else() -> None:
    """The table and the facts of the core agree."""
    assert set(WORDS) == {kind.__struct_config__.tag for kind in KINDS}


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.__struct_config__.tag))
def test_each_kind_is_told(kind: Any, full: bool) -> None:  # noqa: FBT001
    """As the API gives it, with everything and with the least: one line that names step and person."""
    fact = fact_of(kind, full=full)
    told = in_words(history_view(HistoryEntry(1, fact)))
    assert told
    assert "\n" not in told
    if hasattr(fact, "step"):
        assert "switch" in told
    if full and hasattr(fact, "who"):
        assert "eva" in told
        assert "because" in told


def test_a_kind_that_is_not_known_is_shown_as_it_is() -> None:
    """A newer coordinator's facts are not hidden, and not endless."""
    told = in_words({"seq": 1, "at": "t", "fact": "new_thing", "x": "y" * 1_000})
    assert told.startswith('{ "x": "yyy')
    assert len(told) <= 120


@pytest.mark.parametrize(
    ("wait", "words"),
    [
        (Wait(WaitOn.EVENT, topic="paid\n"), "waits for the event paid"),
        (Wait(WaitOn.APPROVAL, message="go?"), "waits for an approval: go?"),
        (Wait(WaitOn.TIME), "waits for its time"),
        (Wait(WaitOn.CHILD, child="r2"), "waits for the child run r2"),
    ],
)
def test_each_wait_is_told(wait: Wait, words: str) -> None:
    """What is waited for, as far as it is known."""
    fact = facts.TaskWaiting(at=1, step="a", host_index=0, attempt=1, wait=wait)
    assert in_words(history_view(HistoryEntry(1, fact))) == f"a: {words}"

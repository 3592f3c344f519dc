"""Facts in words: one line for each kind, from a fact as `GET /api/runs/{id}/history` gives it."""

from collections.abc import Callable
from typing import Any, Final

from orchestrator.cli.output import json_text, moment

__all__ = ["WORDS", "in_words"]

Fact = dict[str, Any]

_LONG: Final = 120


def in_words(fact: Fact) -> str:
    """What happened, for people; of a kind that a newer coordinator knows, what belongs to it."""
    told = WORDS.get(fact["fact"])
    if told is not None:
        return told(fact)
    rest = {name: value for name, value in fact.items() if name not in ("seq", "at", "fact")}
    return _short(rest)


def _where(fact: Fact) -> str:
    """The task that a fact is about; its number only where there are several."""
    index = fact.get("host_index", 0)
    return f"{fact['step']}[{index}]" if index else str(fact["step"])


def _by(fact: Fact) -> str:
    why = f": {fact['why']}" if fact.get("why") else ""
    return f" by {fact['who']}{why}" if fact.get("who") else why


def _short(value: Any) -> str:
    text = " ".join((value if isinstance(value, str) else json_text(value)).split())
    return text if len(text) <= _LONG else f"{text[: _LONG - 1]}…"


def _names(names: list[str]) -> str:
    return _short(", ".join(names))


def _error(fact: Fact) -> str:
    error = fact["error"]
    message = error.get("message", "")
    return f"{error['code']}: {_short(message)}" if message else str(error["code"])


def _sent(fact: Fact) -> str:
    kind = "undo, attempt" if fact["undo"] else "attempt"
    return f"{_where(fact)}: {kind} {fact['attempt']}, {fact['action']} sent to {fact['target']}"


def _failed(fact: Fact) -> str:
    undo = "undo " if fact.get("undo") else ""
    again = f"; next attempt {moment(fact['retry_at'])}" if fact.get("retry_at") else ""
    return f"{_where(fact)}: {undo}{fact['status']}: {_error(fact)}{again}"


def _expanded(fact: Fact) -> str:
    if fact.get("hosts") is not None:
        return (
            f"{fact['step']}: on {len(fact['hosts'])} hosts: {_names([one['name'] for one in fact['hosts']])}"
        )
    return f"{fact['step']}: for each of {len(fact.get('items') or [])} items"


def _batch(fact: Fact) -> str:
    return f"{fact['step']}: batch {fact['batch'] + 1} done, the next begins {moment(fact['until'])}"


def _ignored(fact: Fact) -> str:
    return f"{_where(fact)}: {fact['status']} from {fact['agent']} changed nothing: {_short(fact['why'])}"


def _waiting(fact: Fact) -> str:
    wait = fact["wait"]
    event, _, correlate = wait.get("topic", "").partition("\n")
    for_what = {
        "event": f"the event {event}" + (f" with {correlate} = {wait.get('value', '')}" if correlate else ""),
        "approval": "an approval" + (f": {wait['message']}" if wait.get("message") else ""),
        "time": "its time",
        "child": f"the child run {wait.get('child', '')}" + (" to undo itself" if fact.get("undo") else ""),
    }[wait["on"]]
    until = f", until {moment(fact['due'])}" if fact.get("due") else ""
    return f"{_where(fact)}: waits for {_short(for_what)}{until}"


def _done(fact: Fact) -> str:
    what = "undone" if fact.get("undo") else "done"
    return f"{_where(fact)}: {what}{_by(fact)}"


def _ended(fact: Fact) -> str:
    reason = f": {_short(fact['reason'])}" if fact.get("reason") else ""
    return f"the run ended {fact['status']}{reason}"


def _back(fact: Fact) -> str:
    failure = fact["failure"]
    if fact.get("cancelled_by"):
        return f"cancelled by {fact['cancelled_by']}: {_short(failure.get('message', ''))}"
    step = f"{failure['step']}: " if failure["step"] else ""
    return f"the run goes back: {step}{failure['code']}: {_short(failure.get('message', ''))}"


def _doubt(fact: Fact) -> str:
    return f"{_where(fact)}: nobody knows what became of it: {_short(fact['why'])}"


def _resolved(fact: Fact) -> str:
    return f"{_where(fact)}: decided: {fact['decision']}{_by(fact)}"


WORDS: Final[dict[str, Callable[[Fact], str]]] = {
    "run_queued": lambda fact: f"waits for room in the group {fact['group']}",
    "run_started": lambda fact: f"the run started: {_names(fact['steps'])}",
    "steps_kept": lambda fact: f"results kept from the run that it is a retry of: {_names([*fact['steps']])}",
    "step_expanded": _expanded,
    "batch_paused": _batch,
    "task_skipped": lambda fact: f"{_where(fact)}: skipped, its if is false",
    "attempt_sent": _sent,
    "attempt_started": lambda fact: f"{_where(fact)}: {fact['agent']} has begun",
    "attempt_succeeded": lambda fact: f"{_where(fact)}: {fact['agent']} did it",
    "attempt_failed": _failed,
    "task_in_doubt": _doubt,
    "query_sent": lambda fact: f"{_where(fact)}: {_names(fact['agents'])} asked what became of it",
    "never_seen": lambda fact: f"{_where(fact)}: {fact['agent']} never saw it",
    "task_waiting": _waiting,
    "task_done": _done,
    "event_emitted": lambda fact: f"{_where(fact)}: event {fact['type']} published, id {fact['event_id']}",
    "task_parked": lambda fact: f"{_where(fact)}: waits for a decision: {_short(fact['why'])}",
    "failure_tolerated": lambda fact: f"{_where(fact)}: failed, and the run goes on all the same",
    "cancel_sent": lambda fact: f"{_where(fact)}: {fact['agent'] or 'what it waits for'} told to stop",
    "task_cancelled": lambda fact: f"{_where(fact)}: will not be done",
    "run_going_back": _back,
    "pivot_passed": lambda fact: f"{fact['step']} was the pivot: nothing is undone any more",
    "run_paused": lambda fact: f"paused{_by(fact)}",
    "run_resumed": lambda fact: f"resumed{_by(fact)}",
    "retry_hurried": lambda fact: f"{_where(fact)}: tried again without waiting{_by(fact)}",
    "steps_reset": lambda fact: f"to be done again: {_names(fact['steps'])}{_by(fact)}",
    "run_moved": lambda fact: f"moved to version {fact['version'][:12]}{_by(fact)}",
    "run_yielded": lambda _: "so much was begun at once that others come first; it goes on",
    "run_held": lambda _: "done; waits for its parent",
    "result_ignored": _ignored,
    "task_resolved": _resolved,
    "run_ended": _ended,
}
"""For each kind of fact; a test holds it against all there are."""

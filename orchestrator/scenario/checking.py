"""What the shape of a scenario cannot say: which words there are, and what goes together."""

from collections.abc import Collection, Iterator, Sequence
from difflib import get_close_matches
from typing import Final, NamedTuple

from orchestrator.core.definition import Path
from orchestrator.core.model import RunStatus, StepStatus
from orchestrator.scenario.naming import parse_command, parse_moment
from orchestrator.store.port import INBOX_OUTCOMES
from schemas.errors import InvalidInput
from schemas.messages import ResultStatus
from schemas.scenario import (
    ANSWERS,
    CANCEL_ANSWERS,
    MOVES,
    OUTCOMES,
    Expected,
    ExpectedCommand,
    ExpectedRun,
    ExpectedStep,
    Happening,
    Outcome,
    Scenario,
)

__all__ = ["problems", "strays"]


class Problem(NamedTuple):
    """What is wrong, by its path within the scenario. `of_key`: with the key there, not with its value."""

    path: Path
    message: str
    hint: str = ""
    of_key: bool = False


_THINGS: Final = ("start", "event", "do", "result", "agent", "coordinator", "apply", "expect")
_TROUBLE: Final = ("down", "up", "rebuilt")
_DECISIONS: Final = ("retry", "skip", "done")


def problems(scenario: Scenario) -> Iterator[Problem]:
    """What is wrong with a scenario."""
    for name, given in scenario.outcomes.items():
        yield from (problem._replace(of_key=True) for problem in _command(("outcomes", name), name))
        for place, one in enumerate(given if isinstance(given, list) else [given]):
            path: Path = ("outcomes", name, place) if isinstance(given, list) else ("outcomes", name)
            yield from _outcome(path, one)
    for place, happening in enumerate(scenario.happens):
        yield from _happening(("happens", place), happening)
    yield from _expected(("expect",), scenario.expect)


def strays(scenario: Scenario, steps: Collection[str]) -> Iterator[Problem]:
    """Names of steps that no workflow has, where nothing else would ever say so."""
    for name in scenario.outcomes:
        yield from (problem._replace(of_key=True) for problem in _stray(("outcomes", name), name, steps))
    expected: list[tuple[Path, Expected]] = [(("expect",), scenario.expect)]
    for place, happening in enumerate(scenario.happens):
        if happening.expect is not None:
            expected.append((("happens", place, "expect"), happening.expect))
    for path, one in expected:
        for place, name in enumerate(one.never):
            yield from _stray((*path, "never", place), name, steps)


def _stray(path: Path, text: str, steps: Collection[str]) -> Iterator[Problem]:
    try:
        step = parse_command(text).step
    except InvalidInput:
        return  # `problems` says what is wrong with it
    yield from _word(path, step, sorted(steps), "a step of these workflows")


def _word(path: Path, word: str | None, known: Sequence[str], what: str) -> Iterator[Problem]:
    if word is not None and word not in known:
        near = get_close_matches(word, known, 1)
        yield Problem(
            path,
            f"'{word}' is not {what}",
            f"did you mean '{near[0]}'?" if near else f"use {', '.join(known)}",
        )


def _command(path: Path, text: str) -> Iterator[Problem]:
    try:
        parse_command(text)
    except InvalidInput as error:
        yield Problem(path, error.message, error.hint)


def _outcome(path: Path, given: str | Outcome) -> Iterator[Problem]:
    if isinstance(given, str):
        yield from _word(path, given, OUTCOMES, "an outcome")
        return
    yield from _word((*path, "do"), given.do, OUTCOMES, "an outcome")
    yield from _word((*path, "on_cancel"), given.on_cancel, CANCEL_ANSWERS, "an answer to a cancel")
    yield from _word(
        (*path, "probe"), given.probe, ("succeeded", "never_seen", "unknown"), "what a probe finds"
    )
    queries = given.on_query if isinstance(given.on_query, list) else [given.on_query]
    for answer in queries:
        yield from _word((*path, "on_query"), answer, ANSWERS, "an answer to a query")


def _happening(path: Path, given: Happening) -> Iterator[Problem]:
    things = [name for name in _THINGS if getattr(given, name) is not None]
    if len(things) != 1:
        yield Problem(
            path,
            f"expected exactly one thing to happen, got {len(things)}",
            f"give one of {', '.join(_THINGS)}",
        )
    if (given.at is None) == (given.when is None):
        yield Problem(
            path, "it must say when: either 'at' or 'when'", "for example at: 5s, or when: charge running"
        )
    if given.when is not None:
        try:
            parse_moment(given.when)
        except InvalidInput as error:
            yield Problem((*path, "when"), error.message, error.hint)
    yield from _word((*path, "do"), given.do, MOVES, "a move")
    yield from _word((*path, "decision"), given.decision, _DECISIONS, "a decision")
    if given.do == "resolve" and (given.step is None or given.decision is None):
        yield Problem(
            path,
            "resolve needs 'step' and 'decision'",
            "for example {do: resolve, step: pay, decision: done}",
        )
    if given.do in ("approve", "reject", "retry") and given.step is None:
        yield Problem(path, f"{given.do} needs 'step'")
    if given.result is not None:
        statuses = [str(status) for status in ResultStatus]
        yield from _word((*path, "result", "status"), given.result.status, statuses, "a result's status")
    yield from _word((*path, "coordinator"), given.coordinator, ("down", "up"), "what it can be")
    if given.agent is not None:
        yield from _word((*path, "agent", "to"), given.agent.to, _TROUBLE, "what can happen to an agent")
    if given.expect is not None:
        yield from _expected((*path, "expect"), given.expect)


def _expected(path: Path, given: Expected) -> Iterator[Problem]:
    yield from _run(path, given)
    for name, run in (given.runs or {}).items():
        if isinstance(run, str):
            yield from _word((*path, "runs", name), run, list(RunStatus), "a run's status")
        else:
            yield from _run((*path, "runs", name), run)
    for place, text in enumerate(given.never):
        yield from _command((*path, "never", place), text)
    for outcome in given.inbox or ():
        yield from _word((*path, "inbox"), outcome, INBOX_OUTCOMES, "what becomes of an event")
    for place, item in enumerate(given.commands or ()):
        where: Path = (*path, "commands", place)
        for inner, one in enumerate(item if isinstance(item, list) else [item]):
            yield from _expected_command((*where, inner) if isinstance(item, list) else where, one)


def _expected_command(path: Path, given: str | ExpectedCommand) -> Iterator[Problem]:
    if isinstance(given, str):
        yield from _command(path, given)
        return
    if (given.command is None) == (given.any is None):
        yield Problem(path, "expected either 'command' or 'any'")
    if given.command is not None:
        yield from _command((*path, "command"), given.command)
    for place, one in enumerate(given.any or ()):
        for stage in one if isinstance(one, list) else [one]:
            for text in stage if isinstance(stage, list) else [stage]:
                yield from _command((*path, "any", place), text)


def _run(path: Path, given: ExpectedRun) -> Iterator[Problem]:
    yield from _word((*path, "status"), given.status, list(RunStatus), "a run's status")
    for name, step in given.steps.items():
        where = (*path, "steps", name)
        status = step if isinstance(step, str) else step.status
        yield from _word(where, status, list(StepStatus), "a step's status")
        for one in step.tasks or () if isinstance(step, ExpectedStep) else ():
            yield from _word((*where, "tasks"), one, list(StepStatus), "a step's status")

"""What was expected against what came of it."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from msgspec import UNSET

from orchestrator.core.model import Run, Task, step_status
from orchestrator.scenario.clock import moment_text
from orchestrator.scenario.engine import Engine
from orchestrator.scenario.matching import Row, compare_commands
from orchestrator.scenario.naming import parse_command
from schemas.events import Event
from schemas.messages import ErrorInfo
from schemas.scenario import Expected, ExpectedEvent, ExpectedRun, ExpectedStep
from schemas.times import Micros, parse_duration

__all__ = ["Mismatch", "judge"]


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One thing not as expected. `at`: when it was looked at, None in the end. `rows`: of commands."""

    what: str
    expected: Any
    actual: Any
    at: Micros | None = None
    rows: list[Row] = field(default_factory=list)


def judge(engine: Engine, expected: Expected, *, at: Micros | None = None) -> list[Mismatch]:
    """Everything that is not as expected now."""
    found = [*_commands(engine, expected), *_runs(engine, expected), *_rest(engine, expected)]
    return [Mismatch(one.what, one.expected, one.actual, at, one.rows) for one in found]


def _commands(engine: Engine, expected: Expected) -> Iterator[Mismatch]:
    sent = engine.log.commands
    several = len(list(engine.names)) > 1
    if expected.commands is not None:
        rows = compare_commands(expected.commands, sent, with_run=several)
        if not all(row.good for row in rows):
            wanted = [row.expected for row in rows if row.expected is not None]
            yield Mismatch(
                "commands", wanted, [row.actual for row in rows if row.actual is not None], rows=rows
            )
    for text in expected.never:
        name = parse_command(text)
        found = [f"{one.text(with_run=several)} at {moment_text(one.at)}" for one in sent if one.fits(name)]
        if found:
            yield Mismatch(f"never {text}", "never sent", found[0])


def _runs(engine: Engine, expected: Expected) -> Iterator[Mismatch]:
    known = dict(engine.names)
    if expected.runs is not None:
        if known.keys() != expected.runs.keys():
            yield Mismatch("runs", sorted(expected.runs), sorted(known))
        for name, wanted in expected.runs.items():
            if name in known:
                run = engine.memory.runs[known[name]]
                yield from _run(f"{name}: ", wanted if not isinstance(wanted, str) else _only(wanted), run)
    first = engine.names.id_of(None)
    if first is not None:
        yield from _run("", expected, engine.memory.runs[first])
    elif _says_something(expected):
        yield Mismatch("the run", "started", "no run was started")


def _only(status: str) -> ExpectedRun:
    return ExpectedRun(status=status)


def _says_something(expected: ExpectedRun) -> bool:
    return expected.status is not None or bool(expected.steps) or expected.output is not UNSET


def _run(prefix: str, wanted: ExpectedRun, run: Run) -> Iterator[Mismatch]:
    yield from _unequal(f"{prefix}status", wanted.status, str(run.status))
    if wanted.reason is not None and wanted.reason not in run.reason:
        yield Mismatch(f"{prefix}reason", f"… {wanted.reason} …", run.reason)
    if wanted.failure is not None:
        step, code = (run.failure.step, run.failure.code) if run.failure is not None else (None, None)
        yield from _unequal(f"{prefix}failure, step", wanted.failure.step, step)
        yield from _unequal(f"{prefix}failure, code", wanted.failure.code, code)
    if wanted.output is not UNSET and wanted.output != run.output:
        yield Mismatch(f"{prefix}output", wanted.output, run.output)
    yield from _unequal(f"{prefix}key", wanted.key, run.head.key)
    if wanted.took is not None:
        took = None if run.ended_at is None else moment_text(run.ended_at - run.head.created_at)
        yield from _unequal(f"{prefix}took", moment_text(parse_duration(wanted.took)), took or "not ended")
    for name, one in wanted.steps.items():
        if name not in run.steps:
            yield Mismatch(f"{prefix}{name}", "a step", "no such step")
            continue
        yield from _step(f"{prefix}{name}", one, run.steps[name])


def _step(what: str, given: str | ExpectedStep, tasks: tuple[Task, ...]) -> Iterator[Mismatch]:
    wanted = ExpectedStep(status=given) if isinstance(given, str) else given
    yield from _unequal(what, wanted.status, str(step_status(tasks)))
    if wanted.tasks is not None:
        yield from _unequal(f"{what}, tasks", wanted.tasks, [str(task.status) for task in tasks])
    task = tasks[0] if tasks else Task()
    yield from _unequal(f"{what}, attempts", wanted.attempts, task.attempt)
    yield from _unequal(f"{what}, undo_attempts", wanted.undo_attempts, task.undo_attempt)
    yield from _unequal(f"{what}, error", wanted.error, _code(task.error))
    yield from _unequal(f"{what}, undo_error", wanted.undo_error, _code(task.undo_error))
    if wanted.output is not UNSET and wanted.output != task.output:
        yield Mismatch(f"{what}, output", wanted.output, task.output)


def _code(error: ErrorInfo | None) -> str:
    return "" if error is None else error.code


def _rest(engine: Engine, expected: Expected) -> Iterator[Mismatch]:
    log = engine.log
    if expected.events is not None:
        yield from _events(expected.events, log.emitted)
    yield from _unequal("inbox", expected.inbox, log.inbox)
    first = engine.names.id_of(None) or ""
    kinds = Counter(str(type(fact).__struct_config__.tag) for fact in engine.memory.facts.get(first, ()))
    for kind, count in expected.recorded.items():
        yield from _unequal(f"recorded {kind}", count, kinds[kind])


def _events(wanted: list[str | ExpectedEvent], emitted: list[tuple[Micros, Event]]) -> Iterator[Mismatch]:
    named = [ExpectedEvent(type=one) if isinstance(one, str) else one for one in wanted]
    if [one.type for one in named] != [event.type for _, event in emitted]:
        yield Mismatch("events", [one.type for one in named], [event.type for _, event in emitted])
        return
    for one, (at, event) in zip(named, emitted, strict=True):
        what = f"event {one.type}"
        if one.data is not UNSET and one.data != event.data:
            yield Mismatch(f"{what}, data", one.data, event.data)
        yield from _unequal(f"{what}, subject", one.subject, event.subject)
        if one.at is not None:
            yield from _unequal(f"{what}, at", moment_text(parse_duration(one.at)), moment_text(at))


def _unequal(what: str, wanted: Any, actual: Any) -> Iterator[Mismatch]:
    """A mismatch unless they are equal; None says nothing."""
    if wanted is not None and wanted != actual:
        yield Mismatch(what, wanted, actual)

"""A case from its beginning to its end: what happens at its times and moments, and what is judged when."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from msgspec import UNSET

from orchestrator.core.inputs import (
    ApproveTask,
    CancelRun,
    Input,
    MoveRun,
    PauseRun,
    ResolveTask,
    ResumeRun,
    RetryNow,
)
from orchestrator.loop.intake import InputForRun, RetryRun, StartRun
from orchestrator.scenario.agents import micros
from orchestrator.scenario.clock import Clock
from orchestrator.scenario.engine import Engine
from orchestrator.scenario.judging import Mismatch, judge
from orchestrator.scenario.log import Change, SentCommand
from orchestrator.scenario.naming import Moment, parse_moment
from orchestrator.scenario.reading import Case
from orchestrator.scenario.script import Script
from schemas.errors import BatonError, InvalidInput
from schemas.events import new_event
from schemas.messages import CommandKind, ErrorInfo, Result, ResultStatus, command_id
from schemas.scenario import GivenEvent, GivenResult, Happening, Start
from schemas.times import Micros, to_datetime

__all__ = ["Played", "play"]

_HORIZON: Final[Micros] = 30 * 86_400_000_000


@dataclass(slots=True)
class Played:
    """What came of a case. It passed if `mismatches` is empty."""

    case: Case
    engine: Engine
    mismatches: list[Mismatch] = field(default_factory=list)


@dataclass(slots=True)
class _Waiting:
    """Something that happens once a moment has come."""

    moment: Moment
    happening: Happening
    place: int
    over: bool = False


def play(case: Case) -> Played:
    """Play a case and judge it."""
    return _Play(case).play()


class _Play:
    def __init__(self, case: Case) -> None:
        self.case = case
        self.scenario = case.scenario
        self.clock = Clock(case.beginning)
        self.engine = Engine(case.settings, self.clock, Script(self.scenario.outcomes), case.agents)
        self.engine.watch = self._noticed
        self.played = Played(case, self.engine)
        self.events = 0
        self.waiting = [
            _Waiting(parse_moment(happening.when), happening, place)
            for place, happening in enumerate(self.scenario.happens)
            if happening.when is not None
        ]

    def play(self) -> Played:
        if self.scenario.expect.refused is not None:
            self._judge_refusal(self.scenario.expect.refused)
            return self.played
        for definition in self.case.documents:
            self.engine.apply(definition)
        self._plan()
        until = _HORIZON if self.scenario.until is None else micros(self.scenario.until)
        if not self.engine.play(until):
            self._miss("the end", "a scenario that comes to rest", "it goes on for ever; give 'until'")
        for waiting in self.waiting:
            if not waiting.over:
                self._miss("a moment", waiting.happening.when, "it never came")
        self.played.mismatches += judge(self.engine, self.scenario.expect)
        return self.played

    def _plan(self) -> None:
        scenario = self.scenario
        given = [scenario.start, scenario.event, *(h.start or h.event for h in scenario.happens)]
        if scenario.event is not None:
            event = scenario.event
            self.clock.after(0, lambda: self._event(event))
        by_clock = any(trigger.schedule for one in self.case.documents for trigger in one.document.triggers)
        if scenario.start is not None or not (by_clock or any(given)):
            start = scenario.start or Start()
            self.clock.after(0, lambda: self._start(start))
        for place, happening in enumerate(scenario.happens):
            if happening.at is not None:
                self._at(micros(happening.at), happening, place)

    def _at(self, delay: Micros, happening: Happening, place: int) -> None:
        self.clock.after(delay, lambda: self._happen(happening, place))

    def _noticed(self, what: SentCommand | Change) -> None:
        """Let happen what waited for this; not at once, since what it is about is still being handled."""
        for waiting in self.waiting:
            if waiting.over or not _is(what, waiting.moment):
                continue
            waiting.over = True
            delay = 0 if waiting.happening.after is None else micros(waiting.happening.after)
            self._at(delay, waiting.happening, waiting.place)

    # what happens

    def _happen(self, happening: Happening, place: int) -> None:
        """One thing; a move that is refused must be meant to be."""
        code = ""
        try:
            self._do(happening, place)
        except BatonError as error:
            code, message = error.code, error.message
            self.engine.note("move", "", f"{_title(happening)} is refused: {code}: {message}")
        if code != (happening.refused or ""):
            expected = f"refused with {happening.refused}" if happening.refused else "accepted"
            self._miss(_title(happening), expected, f"refused with {code}" if code else "accepted")

    def _do(self, happening: Happening, place: int) -> None:
        if happening.start is not None:
            self._start(happening.start, caught=False)
        elif happening.event is not None:
            self._event(happening.event)
        elif happening.result is not None:
            self._result(happening.result, happening.run)
        elif happening.agent is not None:
            self.engine.note("note", "", f"agent {happening.agent.name} is {happening.agent.to}")
            self.engine.agents.trouble(happening.agent.name, happening.agent.to)
        elif happening.coordinator is not None:
            self.engine.note("note", "", f"the coordinator is {happening.coordinator}")
            (self.engine.stop if happening.coordinator == "down" else self.engine.restart)()
        elif place in self.case.applied:
            self.engine.apply(self.case.applied[place])
        elif happening.expect is not None:
            self.played.mismatches += judge(self.engine, happening.expect, at=self.clock.elapsed)
        else:
            self.engine.note("move", happening.run or "", _title(happening))
            self._move(happening, self._run_id(happening.run))

    def _move(self, happening: Happening, run_id: str) -> None:
        """A person's move."""
        who, why = happening.who, happening.why
        if happening.do == "retry":
            self.engine.handle(RetryRun(run_id, happening.step or "", who, why))
        elif happening.do == "move":
            to = self.engine.current(run_id)
            self.engine.handle(InputForRun(run_id, MoveRun(to, who, why)))
        else:
            self.engine.handle(InputForRun(run_id, _input(happening)))

    def _start(self, start: Start, *, caught: bool = True) -> None:
        workflow = start.workflow or self.case.documents[0].name
        value = {} if start.input is UNSET else start.input
        try:
            self.engine.handle(StartRun(workflow=workflow, key=start.key, input=value))
        except BatonError as error:
            if not caught:
                raise
            self._miss("the start", "accepted", f"refused with {error.code}: {error.message}")

    def _event(self, given: GivenEvent) -> None:
        self.events += 1
        event = new_event(
            id=given.id or f"event-{self.events}",
            source=given.source,
            type=given.type,
            at=self.clock.now(),
            subject=given.subject,
            data=given.data,
        )
        self.engine.event(event)

    def _result(self, given: GivenResult, run: str | None) -> None:
        run_id = self._run_id(run)
        kind = CommandKind.COMPENSATE if given.undo else CommandKind.EXECUTE
        status = ResultStatus(given.status)
        name = command_id(run_id, given.step, given.host_index, given.attempt, kind)
        target = next((s.agents[0] for s in self.engine.log.commands if s.command.id == name), "nobody")
        self.engine.say(
            Result(
                command_id=name,
                run_id=run_id,
                step=given.step,
                host_index=given.host_index,
                attempt=given.attempt,
                epoch=1,
                agent=given.agent or target,
                instance_id=f"{given.agent or target}-1",
                status=status,
                output=given.output,
                error=None if given.code is None else ErrorInfo(code=given.code),
                started_at=to_datetime(self.clock.now()),
                finished_at=to_datetime(self.clock.now()) if status.is_final else None,
            )
        )

    def _run_id(self, name: str | None) -> str:
        found = self.engine.names.id_of(name)
        if found is None:
            raise InvalidInput(f"there is no run '{name or 'at all'}'", code="no_such_run")
        return found

    # what is wrong

    def _miss(self, what: str, expected: object, actual: object) -> None:
        self.played.mismatches.append(Mismatch(what, expected, actual, self.clock.elapsed))

    def _judge_refusal(self, reasons: list[str]) -> None:
        if not self.case.refused:
            self._miss("the document", "refused", "accepted")
            return
        for reason in reasons:
            if not any(reason in message for message in self.case.refused):
                self._miss("the document", f"refused: {reason}", self.case.refused)


def _is(what: SentCommand | Change, moment: Moment) -> bool:
    if isinstance(what, Change):
        return what.is_moment(moment)
    if moment.status != "sent" or moment.subject is None:
        return False
    in_run = moment.run is None or moment.run in what.runs
    return in_run and what.fits(moment.subject)


def _title(happening: Happening) -> str:
    step = f" {happening.step}" if happening.step else ""
    decision = f" {happening.decision}" if happening.decision else ""
    return f"{happening.do or 'start'}{step}{decision}"


def _input(given: Happening) -> Input:
    """What a person's move is to the machine."""
    step, index, who, why = given.step or "", given.host_index, given.who, given.why
    inputs: dict[str, Callable[[], Input]] = {
        "cancel": lambda: CancelRun(who, why),
        "pause": lambda: PauseRun(who, why),
        "resume": lambda: ResumeRun(who, why),
        "retry_now": lambda: RetryNow(who, why),
        "resolve": lambda: ResolveTask(step, given.decision or "", who, why, index, given.output),
        "approve": lambda: ApproveTask(step, approved=True, who=who, why=why, host_index=index),
        "reject": lambda: ApproveTask(step, approved=False, who=who, why=why, host_index=index),
    }
    return inputs[given.do or ""]()

"""The saga machine under random workflows and whatever may happen to a run: its rules hold after every move.

What is right is judged by `tests/support/book`, which keeps accounts of its own, from what was delivered and
what was sent; it never looks at the machine's state.
"""

from contextlib import suppress
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace

from orchestrator.core import machine
from orchestrator.core.answers import PROBED
from orchestrator.core.compiler import compile_definition
from orchestrator.core.evolution import evolve, fold
from orchestrator.core.facts import Fact
from orchestrator.core.inputs import (
    AdmitRun,
    ApproveTask,
    CancelRun,
    ChildEnded,
    CommandExpired,
    CommandReturned,
    Env,
    EventArrived,
    IllegalInput,
    Input,
    Move,
    MoveRun,
    PauseRun,
    ReleaseRun,
    ResolveTask,
    ResultReceived,
    ResumeRun,
    RetryFrom,
    RetryNow,
    UndoRun,
    Wake,
)
from orchestrator.core.model import ParentRef, Run, RunHead, RunStatus, TraceContext, WaitOn
from orchestrator.store import rows
from schemas.codec import encode
from schemas.messages import NOT_STOPPABLE, Command, ErrorInfo, Result, ResultStatus
from schemas.times import to_datetime
from schemas.workflow import Workflow
from tests.support.book.accounts import Book, Stand
from tests.support.book.claims import judge
from tests.support.book.evidence import holder, verdict_on
from tests.support.random_sagas import AWAITED, HOSTS, POOL, inputs, registry, versions, workflows
from tests.support.results import result_of

START = 1_700_000_000_000_000
USUAL = (
    *(ResultStatus.SUCCEEDED,) * 6, *(ResultStatus.FAILED,) * 3, ResultStatus.STARTED, ResultStatus.PROGRESS,
    ResultStatus.TIMED_OUT, ResultStatus.CANCELLED, ResultStatus.UNKNOWN, ResultStatus.NEVER_SEEN,
)  # fmt: skip
STEERING: dict[str, Input] = {"pause": PauseRun("ops"), "resume": ResumeRun("ops"), "now": RetryNow("ops")}
WORDS = (ResultReceived, CommandReturned, CommandExpired, ChildEnded)
CODES = {ResultStatus.UNKNOWN: NOT_STOPPABLE, ResultStatus.NEVER_SEEN: PROBED}
AGENTS = (*HOSTS, *POOL)


class SagaMachine(RuleBasedStateMachine):
    """One run, driven by everything that can happen to it."""

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.history: list[Fact] = []
        self.commands: list[Command] = []
        self.instances: dict[str, str] = {}
        self.stopped: frozenset[str] = frozenset()

    @initialize(document=workflows(), given=inputs, child=st.integers(0, 3), queued=st.integers(0, 5))
    def begin(self, document: Workflow, given: dict[str, Any], child: int, queued: int) -> None:
        """A run of a random workflow starts: perhaps as a child, perhaps when there is room."""
        self.document = document
        definition = compile_definition(document)
        head = RunHead(
            id="run-1",
            workflow="random",
            version=definition.version,
            key="k",
            created_at=self.now,
            trace=TraceContext(trace_id="ab" * 16, span_id="cd" * 8),
            input=given,
            parent=None if child else ParentRef("parent", "call", 0, 1, depth=1),
        )
        self.book = Book(definition, head)
        self.run = self.replayed = Run(head=head, steps={})
        self.book.given, self.book.env = None, self.env()
        self.take(machine.start(definition, head, self.env(), queued=not queued))

    def env(self) -> Env:
        """Time only goes on when a rule says so."""
        known = registry(self.now, instances=self.instances, stopped=self.stopped)
        return Env(now=self.now, jitter=0.5, epoch=1, registry=known)

    def give(self, given: Input) -> Move:
        """Apply an input; the book judges what comes of it."""
        before, env, book = self.run, self.env(), self.book
        verdict = verdict_on(book, given)
        image = encode(before)
        try:
            move = machine.apply(book.definition, before, given, env)
        except IllegalInput:
            assert encode(before) == image, "an illegal input changes nothing"
            raise
        book.given, book.env, book.verdict = given, env, verdict
        self.take(move)
        if verdict is None and isinstance(given, WORDS):
            same = replace(self.run, seq=before.seq, ignored=before.ignored)
            assert same == before, "rule 8: a late, duplicate or foreign word changes nothing"
            follows = [*move.commands, *move.signals, *move.children]
            assert not follows, "rule 8: and nothing follows"
        return move

    def take(self, move: Move) -> None:
        """Judge a move, and see that its facts lead to its state, also through the stored form."""
        judge(self.book, move)
        self.history += move.facts
        self.commands += [one.command for one in move.commands if "command_id" not in one.command.args]
        for fact in move.facts:
            *_, payload = rows.fact_row(1, "0", "run-1", 1, fact)
            self.replayed = evolve(self.replayed, rows.fact_of(payload))
        assert self.replayed == move.run, "fold(history) is the state"
        assert move.run.seq == len(self.history), "without gaps"
        self.run = move.run

    def try_to(self, given: Input) -> None:
        """What makes no sense is refused."""
        with suppress(IllegalInput):
            self.give(given)

    # who may speak

    def out(self) -> list[Command]:
        """Commands that are out, by the book."""
        if self.book.ended is not None:
            return []
        return [entry.command for _, _, entry in self.book.each() if entry.command is not None]

    def waiting(self, on: WaitOn) -> list[tuple[str, int]]:
        """Tasks that wait for this, by the book."""
        if self.book.ended is not None:
            return []
        every = self.book.each()
        return [(step.id, i) for step, i, one in every if one.stand is Stand.OPEN and one.wait is on]

    def pick(self, data: Any, commands: list[Command]) -> Command:
        """One of these commands."""
        wanted = data.draw(st.sampled_from([command.id for command in commands]))
        return next(command for command in commands if command.id == wanted)

    def say(self, command: Command, status: ResultStatus, agent: str, **more: Any) -> None:
        """An agent says something of a command."""
        failed = status in (ResultStatus.FAILED, ResultStatus.REJECTED, ResultStatus.TIMED_OUT)
        again = status is not ResultStatus.REJECTED
        error = ErrorInfo(code="broken", message="it broke", retryable=again) if failed else None
        if code := more.pop("code", ""):
            error = ErrorInfo(code=code, message="it says")
        started = more.pop("started", True) and status is not ResultStatus.REJECTED
        fields: dict[str, Any] = {
            "output": {"ok": True} if status is ResultStatus.SUCCEEDED else None,
            **more,
        }
        at = to_datetime(START) if started else None
        result: Result = result_of(command, status, agent, error=error, started_at=at, **fields)
        self.give(ResultReceived(replace(result, instance_id=self.instances.get(agent, "i-1"))))

    # what agents and the broker say

    @precondition(lambda self: self.out())
    @rule(data=st.data(), status=st.sampled_from(USUAL), ok=st.integers(0, 5), pick=st.sampled_from(POOL))
    def an_agent_answers(self, data: Any, status: ResultStatus, ok: int, pick: str) -> None:
        """The agent that has the command says what became of it: the usual case."""
        command = self.pick(data, self.out())
        agent = holder(self.book.entries[command.step][command.host_index]) or pick
        more: dict[str, Any] = {}
        if status is ResultStatus.SUCCEEDED:
            more = {"output": {"ok": True} if ok else {}}
        elif not ok:
            more = {"code": CODES.get(status, "broken")}
        self.say(command, status, agent, **more)

    @precondition(lambda self: self.out())
    @rule(pick=st.sampled_from(POOL))
    def every_agent_succeeds(self, pick: str) -> None:
        """All that is out is done."""
        for command in self.out():
            agent = holder(self.book.entries[command.step][command.host_index]) or pick
            self.say(command, ResultStatus.SUCCEEDED, agent)

    @precondition(lambda self: self.commands)
    @rule(
        data=st.data(), status=st.sampled_from(ResultStatus), agent=st.sampled_from(AGENTS),
        started=st.booleans(),
    )  # fmt: skip
    def a_result_arrives(self, data: Any, status: ResultStatus, agent: str, *, started: bool) -> None:
        """For any command ever sent: in time, late, again, or from the wrong host."""
        self.say(self.pick(data, self.commands), status, agent, started=started)

    @precondition(lambda self: self.commands)
    @rule(data=st.data(), how=st.sampled_from((CommandReturned, CommandExpired)))
    def a_command_is_not_taken(self, data: Any, how: Any) -> None:
        """The broker gives a command back, or lets it expire."""
        self.give(how(self.pick(data, self.out() or self.commands)))

    @rule(agent=st.sampled_from(AGENTS), what=st.sampled_from(("stop", "come", "rebuild")))
    def an_agent_comes_or_goes(self, agent: str, what: str) -> None:
        """It stops, is there again, or was made anew."""
        self.stopped = self.stopped | {agent} if what == "stop" else self.stopped - {agent}
        if what == "rebuild":
            self.instances[agent] = "i-2"

    # what else happens

    @rule(seconds=st.sampled_from((0, 1, 3, 60, 700, 3_000)))
    def time_goes_on(self, seconds: int) -> None:
        """The clock moves, and what is due is looked at."""
        self.now += seconds * 1_000_000
        self.give(Wake())

    @rule()
    def the_next_timer_fires(self) -> None:
        """Straight to whatever is due next."""
        if self.run.wake_at is not None:
            self.now = max(self.now, self.run.wake_at)
            before = self.run
            self.give(Wake())
            assert self.run.seq > before.seq, "a wake-up that is due moves something"

    @precondition(lambda self: any(entry.wait is WaitOn.EVENT for _, _, entry in self.book.each()))
    @rule(name=st.sampled_from("abcd"), ok=st.booleans(), stray=st.booleans())
    def an_event_arrives(self, name: str, *, ok: bool, stray: bool) -> None:
        """For whoever waits, and perhaps for one that does not."""
        tasks = self.waiting(WaitOn.EVENT)
        tasks += [("s0", 0), ("nope", 7)] if stray else []
        event = {"id": name, "source": "/shop", "type": AWAITED, "data": {"ok": ok, "order": 7}}
        self.give(EventArrived(event, tasks))

    @precondition(lambda self: self.waiting(WaitOn.APPROVAL))
    @rule(data=st.data(), approved=st.booleans(), who=st.sampled_from(("ann", "ann", "bob")))
    def somebody_approves(self, data: Any, who: str, *, approved: bool) -> None:
        """Or rejects, or may not."""
        step, index = data.draw(st.sampled_from(self.waiting(WaitOn.APPROVAL)))
        self.try_to(ApproveTask(step, approved=approved, who=who, host_index=index))

    @precondition(lambda self: self.waiting(WaitOn.CHILD))
    @rule(data=st.data(), good=st.booleans(), which=st.sampled_from(("it", "it", "it", "another")))
    def a_child_ends(self, data: Any, which: str, *, good: bool) -> None:
        """The child run that a task waits for, or one that it waited for before."""
        step, index = data.draw(st.sampled_from(self.waiting(WaitOn.CHILD)))
        entry = self.book.entries[step][index]
        bad = ("given_up", "refused", "done") if entry.back else ("failed", "failed", "given_up")
        outcome: Any = ("undone" if entry.back else "done") if good else data.draw(st.sampled_from(bad))
        code = data.draw(st.sampled_from(("child_failed", "child_cancelled"))) if outcome == "failed" else ""
        child = entry.child if which == "it" else data.draw(st.sampled_from(sorted(self.book.children)))
        self.give(ChildEnded(step, index, child, outcome, code=code, output={"ok": True}))

    @precondition(lambda self: self.book.head.parent is not None)
    @rule(what=st.sampled_from((UndoRun("the parent goes back"), ReleaseRun())))
    def the_parent_speaks(self, what: Input) -> None:
        """A parent undoes or releases only a child that it heard is done."""
        if self.book.held or self.book.ended is not None:
            self.give(what)

    @precondition(lambda self: self.book.queued)
    @rule()
    def there_is_room(self) -> None:
        """Its group has room."""
        self.give(AdmitRun())

    # what people do

    @rule(parent=st.booleans())
    def somebody_cancels(self, *, parent: bool) -> None:
        """A cancel is refused, or it turns the run round."""
        by_parent = parent and self.book.head.parent is not None
        self.try_to(CancelRun(who="ops", reason="enough", by_parent=by_parent))

    @precondition(lambda self: self.book.entries)
    @rule(data=st.data(), what=st.sampled_from(("pause", "resume", "resume", "now", "from", "move")))
    def somebody_steers(self, data: Any, what: str) -> None:
        """Pause, resume, retry now, retry from some step."""
        if what == "from":
            self.try_to(RetryFrom(data.draw(st.sampled_from(sorted(self.book.entries))), "ops"))
        elif what == "move":
            self.move_it(data.draw(versions(self.document)))
        else:
            steering: dict[str, Input] = {
                "pause": PauseRun("ops"),
                "resume": ResumeRun("ops"),
                "now": RetryNow("ops"),
            }
            self.try_to(steering[what])

    def move_it(self, document: Workflow) -> None:
        """To another version, which has begun steps changed or not."""
        before = self.book.definition
        self.try_to(MoveRun(compile_definition(document), "ops"))
        if self.book.definition is not before:
            self.document = document

    @precondition(lambda self: self.book.entries)
    @rule(data=st.data(), decision=st.sampled_from(("retry", "retry", "skip", "done", "perhaps")))
    def somebody_decides(self, data: Any, decision: str) -> None:
        """A person resolves some task, mostly one that needs it."""
        every = [(step.id, index) for step, index, _ in self.book.each()]
        asked = [one for one in every if self.book.entries[one[0]][one[1]].in_question] or every
        if asked:
            step, index = data.draw(st.sampled_from(asked))
            self.try_to(ResolveTask(step, decision, "ops", host_index=index))

    # what must hold after every move

    @invariant()
    def the_run_shows_what_the_book_says(self) -> None:
        """Statuses, and rule 12: a live run has something due or somebody who moves it on."""
        book, run = self.book, self.run
        assert run.ended is book.ended
        if run.ended is not None:
            assert run.wake_at is None
            assert not run.waits
            return
        movers = book.moves_on_by()
        assert movers, "rule 12: nothing moves it on"
        assert run.wake_at is not None or movers & {"person", "slot", "parent", "child"}
        assert (run.status is RunStatus.PAUSED) is book.paused
        if run.status is RunStatus.ATTENTION:
            assert any(entry.in_question for _, _, entry in book.each())
        for _, _, entry in book.each():
            failed = entry.back and entry.stand is Stand.FAILED and not entry.given_up
            if (failed or entry.parked) and not book.paused:
                assert run.status is RunStatus.ATTENTION, "rule 5: whoever must decide is called"

    def teardown(self) -> None:
        """Whatever happened, when everybody answers and a person decides, the run ends within a bound."""
        if not hasattr(self, "book"):
            return
        self.stopped = frozenset()
        for _ in range(300):
            if self.book.ended is not None:
                break
            self.help_on()
        assert self.book.ended is not None, f"the run does not end: {self.run}"
        assert fold(self.run.head, self.history) == self.run
        _, head = rows.head_row(1, self.run)
        *_, state = rows.run_row(1, self.run)
        assert rows.run_of(head, state) == self.run

    def help_on(self) -> None:
        """One of those who can moves the run on."""
        children = self.waiting(WaitOn.CHILD)
        stuck = [(step.id, i) for step, i, entry in self.book.each() if entry.in_question]
        if self.book.queued:
            self.give(AdmitRun())
        elif self.book.held:
            self.give(ReleaseRun())
        elif self.book.paused:
            self.give(ResumeRun("ops"))
        elif self.out():
            command = self.out()[0]
            agent = holder(self.book.entries[command.step][command.host_index]) or POOL[0]
            self.say(command, ResultStatus.SUCCEEDED, agent)
        elif children:
            step, index = children[0]
            entry = self.book.entries[step][index]
            outcome: Any = "undone" if entry.back else "done"
            self.give(ChildEnded(step, index, entry.child, outcome, output={"ok": True}))
        elif stuck:
            self.give(ResolveTask(stuck[0][0], "skip", "ops", host_index=stuck[0][1]))
        else:
            self.the_next_timer_fires()


TestSagaMachine = SagaMachine.TestCase
TestSagaMachine.settings = settings(
    max_examples=200, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)

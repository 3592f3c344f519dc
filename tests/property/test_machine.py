"""The saga machine under random workflows and results in any order: its rules hold after every move."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from orchestrator.core import machine
from orchestrator.core.compiler import compile_definition
from orchestrator.core.definition import Definition, StepDef
from orchestrator.core.evolution import fold
from orchestrator.core.facts import Fact
from orchestrator.core.inputs import (
    CancelRun,
    CommandExpired,
    CommandReturned,
    Dispatch,
    Env,
    IllegalInput,
    Input,
    Move,
    ResolveTask,
    ResultReceived,
    Wake,
)
from orchestrator.core.model import Run, RunHead, RunStatus, StepStatus, Task, TraceContext
from schemas.codec import decode, encode
from schemas.messages import Command, CommandKind, ErrorInfo, Result, ResultStatus
from schemas.times import to_datetime
from schemas.workflow import Compensate, Retry, Selector, Step, Workflow
from tests.support.results import result_of

EPOCH = 1_700_000_000_000_000
QUESTIONS = (CommandKind.QUERY, CommandKind.CANCEL)


@st.composite
def workflows(draw: st.DrawFn) -> Workflow:
    """A random DAG: chains, diamonds, forests; undos here and there; all kinds of retries."""
    size = draw(st.integers(1, 7))
    names = [f"s{number}" for number in range(size)]
    steps: list[Step] = []
    targets: list[str | Selector] = ["host-1", Selector(pool="p")]
    for number, name in enumerate(names):
        needs = draw(
            st.none() | st.sets(st.sampled_from(names[:number]), max_size=3).map(sorted)
            if number
            else st.just([])
        )
        undo = Compensate(
            action="undo.it",
            with_={"step": name},
            retry=Retry(attempts=draw(st.integers(1, 3))),
            idempotent=draw(st.booleans()),
            after_failure=draw(st.booleans()),
        )
        steps.append(
            Step(
                id=name,
                action="do.it",
                target=draw(st.sampled_from(targets)),
                needs=needs,
                if_=draw(st.sampled_from((None, None, None, "input.go", "input.missing"))),
                idempotent=draw(st.booleans()),
                retry=draw(st.none() | st.builds(Retry, attempts=st.integers(1, 3))),
                compensate=undo if draw(st.integers(0, 3)) else None,
            )
        )
    return Workflow(workflow="random", steps=steps)


def result_for(command: Command, status: ResultStatus, agent: str, *, started: bool) -> Result:
    """What an agent would say of a command."""
    error = None
    if status in (ResultStatus.FAILED, ResultStatus.REJECTED, ResultStatus.TIMED_OUT):
        error = ErrorInfo(code="broken", message="it broke", retryable=status is not ResultStatus.REJECTED)
    return result_of(
        command,
        status,
        agent,
        output={"ok": True} if status is ResultStatus.SUCCEEDED else None,
        error=error,
        started_at=to_datetime(EPOCH) if started else None,
    )


class SagaMachine(RuleBasedStateMachine):
    """One run, driven by everything that can happen to it."""

    def __init__(self) -> None:
        super().__init__()
        self.now = EPOCH
        self.history: list[Fact] = []
        self.sent: list[Dispatch] = []
        self.touched: set[str] = set()
        """Steps that, by what was delivered, may have left something behind: the test's own book-keeping."""

    @initialize(document=workflows(), go=st.booleans())
    def begin(self, document: Workflow, *, go: bool) -> None:
        """A run of a random workflow starts."""
        self.definition: Definition = compile_definition(document)
        trace = TraceContext(trace_id="ab" * 16, span_id="cd" * 8)
        self.head = RunHead(
            id="run-1",
            workflow="random",
            version=self.definition.version,
            key="k",
            created_at=self.now,
            trace=trace,
            input={"go": go},
        )
        self.take(None, machine.start(self.definition, self.head, self.env()))

    def env(self, jitter: float = 0.5) -> Env:
        """Time only goes on when a rule says so."""
        return Env(now=self.now, jitter=jitter, epoch=1)

    def give(self, given: Input) -> Move:
        """Apply an input and check what every move must keep."""
        before = self.run
        move = machine.apply(self.definition, before, given, self.env())
        self.take(before, move)
        return move

    def take(self, before: Run | None, move: Move) -> None:
        """Check the commands of a move against the state they were decided in, then go on from there."""
        self.check_commands(before, move)
        self.history.extend(move.facts)
        self.sent.extend(move.commands)
        self.run = move.run
        if before is not None and before.ended is not None:
            assert move.run.ended is before.ended, "an end is for good"
            assert not move.commands, "an ended run sends nothing"

    def check_commands(self, before: Run | None, move: Move) -> None:
        """Rules 3 and 4, from the commands alone."""
        run = move.run
        for dispatch in move.commands:
            command = dispatch.command
            step = self.definition.steps[command.step]
            assert (
                command.id not in {old.command.id for old in self.sent} or command.kind in QUESTIONS
            )
            task = run.steps[step.id][0]
            plan = step.compensate if command.kind is CommandKind.COMPENSATE and step.compensate else step
            if command.kind not in QUESTIONS:
                assert command.attempt <= task.granted + plan.retry.attempts, (
                    "rules 2 and 5: attempts are counted"
                )
            if command.kind is CommandKind.EXECUTE:
                assert before is None or not before.going_back, "rule 3: nothing new goes forward"
                assert all(
                    task.status in (StepStatus.SUCCEEDED, StepStatus.SKIPPED)
                    for need in step.needs
                    for task in run.steps[need]
                ), "a step starts after what it needs"
            if command.kind is CommandKind.COMPENSATE:
                assert step.id in self.touched, "rule 4: only what had effect is undone"
                assert not any(self.is_forward_active(task) for _, task in self.tasks(run)), (
                    "rule 3: quiesce first"
                )
                for name in step.dependents:
                    for task in run.steps[name]:
                        assert not self.wants_undo(self.definition.steps[name], task), (
                            "rule 4: dependents first"
                        )

    def tasks(self, run: Run) -> list[tuple[StepDef, Task]]:
        """Every task with its step."""
        return [(self.definition.steps[name], task) for name, tasks in run.steps.items() for task in tasks]

    @staticmethod
    def is_forward_active(task: Task) -> bool:
        """Whether something may still be going forward there."""
        return not task.undoing and task.status in (StepStatus.RUNNING, StepStatus.IN_DOUBT)

    @staticmethod
    def wants_undo(step: StepDef, task: Task) -> bool:
        """Whether an effect is left to undo."""
        return (
            step.compensate is not None
            and task.effect
            and not task.given_up
            and task.status is not StepStatus.COMPENSATED
        )

    def holder(self, command: Command) -> str:
        """The agent whose word on this command counts; empty: any member of the pool."""
        task = self.run.steps[command.step][command.host_index]
        kind, _, name = task.target.partition(".")
        if kind == "agent":
            return name
        return task.agent if task.taken_at is not None and not task.undoing else ""

    def deliver(self, command: Command, status: ResultStatus, agent: str, *, started: bool) -> None:
        """Give a result to the machine, and book what it means for the effect on the host."""
        before = self.run
        has_say = self.outstanding(command) and self.holder(command) in ("", agent)
        task = before.steps[command.step][0]
        undo = self.definition.steps[command.step].compensate
        killed = status in (ResultStatus.TIMED_OUT, ResultStatus.CANCELLED) and started
        after_failure = status is ResultStatus.FAILED and undo is not None and undo.after_failure
        if has_say and not task.undoing and (status is ResultStatus.SUCCEEDED or killed or after_failure):
            self.touched.add(command.step)  # before the move: it may send the undo at once
        self.give(ResultReceived(result_for(command, status, agent, started=started)))
        task = self.run.steps[command.step][0]
        gone = status is ResultStatus.NEVER_SEEN and before.steps[command.step][0].taken_at is not None
        lost = has_say and (status is ResultStatus.UNKNOWN or gone) and not task.undoing
        if lost and task.status is not StepStatus.IN_DOUBT:
            self.touched.add(command.step)  # tried again because that is harmless
        if not has_say:
            after = self.run
            assert (after.steps, after.status, after.failure) == (
                before.steps,
                before.status,
                before.failure,
            ), "rule 8: a late, duplicate or foreign result changes nothing"

    def outstanding(self, command: Command) -> bool:
        """Whether this command is what its task waits for."""
        task = self.run.steps[command.step][command.host_index]
        return self.run.ended is None and task.command_id == command.id

    # what can happen

    @precondition(lambda self: any(self.outstanding(d.command) for d in self.sent))
    @rule(
        data=st.data(),
        status=st.sampled_from(
            (
                *(ResultStatus.SUCCEEDED,) * 6,
                *(ResultStatus.FAILED,) * 3,
                ResultStatus.STARTED,
                ResultStatus.TIMED_OUT,
                ResultStatus.CANCELLED,
                ResultStatus.UNKNOWN,
            )
        ),
    )
    def an_agent_answers(self, data: Any, status: ResultStatus) -> None:
        """The agent that has the command says what became of it: the usual case."""
        command = data.draw(st.sampled_from([d.command for d in self.sent if self.outstanding(d.command)]))
        self.deliver(command, status, self.holder(command) or "host-1", started=True)

    @precondition(lambda self: any(d.command.kind not in QUESTIONS for d in self.sent))
    @rule(
        data=st.data(),
        status=st.sampled_from(ResultStatus),
        agent=st.sampled_from(("host-1", "host-1", "host-2")),
        started=st.booleans(),
        recent=st.booleans(),
    )
    def a_result_arrives(
        self, data: Any, status: ResultStatus, agent: str, *, started: bool, recent: bool
    ) -> None:
        """For any command ever sent: in time, late, again, or from the wrong host."""
        commands = [d.command for d in self.sent if d.command.kind not in QUESTIONS]
        if recent:
            commands = [command for command in commands if self.outstanding(command)] or commands
        self.deliver(data.draw(st.sampled_from(commands)), status, agent, started=started)

    @precondition(lambda self: bool(self.sent))
    @rule(data=st.data(), how=st.sampled_from((CommandReturned, CommandExpired)))
    def a_command_is_not_taken(self, data: Any, how: Any) -> None:
        """The broker gives a command back, or lets it expire."""
        self.give(how(data.draw(st.sampled_from(self.sent)).command))

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

    @rule()
    def somebody_cancels(self) -> None:
        """A cancel is refused, or it turns the run round."""
        self.try_to(CancelRun(who="ops", reason="enough"))

    @rule(data=st.data(), decision=st.sampled_from(("retry", "skip", "done", "perhaps")))
    def somebody_decides(self, data: Any, decision: str) -> None:
        """A person resolves some step, whether it needs it or not."""
        step = data.draw(st.sampled_from(sorted(self.run.steps)))
        task = self.run.steps[step][0]
        if task.in_question and not task.undoing and decision == "done":
            self.touched.add(step)
        if task.in_question and not task.undoing and decision == "skip":
            self.touched.discard(step)
        self.try_to(ResolveTask(step=step, decision=decision, who="ops"))

    def try_to(self, given: Input) -> None:
        """An illegal input raises and leaves the state untouched."""
        before, image = self.run, encode(self.run)
        try:
            self.give(given)
        except IllegalInput:
            assert self.run is before
            assert encode(self.run) == image

    # what must hold after every move

    @invariant()
    def history_folds_to_the_state(self) -> None:
        """fold(history) == state, also through the stored form, and the facts are numbered without gaps."""
        if not hasattr(self, "run"):
            return
        assert fold(self.head, self.history) == self.run
        assert self.run.seq == len(self.history)
        stored: list[Fact] = [decode(encode(fact), Fact) for fact in self.history]  # type: ignore[arg-type]
        assert fold(self.head, stored) == self.run
        assert decode(encode(self.run), Run) == self.run

    @invariant()
    def somebody_or_something_moves_it_on(self) -> None:
        """Rule 12: a live run has something due or needs a person; an ended one has nothing."""
        if not hasattr(self, "run"):
            return
        if self.run.ended is not None:
            assert self.run.wake_at is None
        else:
            assert self.run.wake_at is not None or self.run.status is RunStatus.ATTENTION
        for _, task in self.tasks(self.run):
            if task.status is not StepStatus.IN_DOUBT:  # then agents are asked now and then
                assert not (task.needs_person and task.due is not None), "what waits for a person is not due"

    @invariant()
    def an_end_is_earned(self) -> None:
        """Rule 11, and what `succeeded` and `cancelled` promise."""
        if not hasattr(self, "run") or self.run.ended is None:
            return
        tasks = self.tasks(self.run)
        assert not any(self.is_forward_active(task) or task.needs_person for _, task in tasks)
        if self.run.ended is RunStatus.SUCCEEDED:
            assert all(task.status in (StepStatus.SUCCEEDED, StepStatus.SKIPPED) for _, task in tasks)
            assert not any(task.undoing for _, task in tasks)
            return
        assert not any(self.wants_undo(step, task) for step, task in tasks)
        for step, task in tasks:
            if task.status is StepStatus.COMPENSATED:
                assert step.id in self.touched, "undone without effect"
            elif step.compensate is not None and step.id in self.touched:
                assert task.given_up, "an effect was left behind"
        if self.run.ended is RunStatus.COMPENSATED:
            assert any(task.status is StepStatus.COMPENSATED for _, task in tasks)
        if self.run.ended is RunStatus.FAILED:
            undone = any(task.status is StepStatus.COMPENSATED for _, task in tasks)
            assert any(task.given_up for _, task in tasks) or not undone
        else:
            assert not any(task.given_up for _, task in tasks)
        if self.run.ended is RunStatus.CANCELLED:
            assert self.run.cancel is not None

    def teardown(self) -> None:
        """Whatever happened, when everybody answers and a person decides, the run ends within a bound."""
        if not hasattr(self, "run"):
            return
        for _ in range(200):
            if self.run.ended is not None:
                return
            waiting = [d.command for d in self.sent if self.outstanding(d.command)]
            stuck = [name for name, tasks in self.run.steps.items() if tasks[0].in_question]
            if waiting:
                self.deliver(
                    waiting[0], ResultStatus.SUCCEEDED, self.holder(waiting[0]) or "host-1", started=True
                )
            elif stuck:
                if not self.run.steps[stuck[0]][0].undoing:
                    self.touched.discard(stuck[0])
                self.give(ResolveTask(step=stuck[0], decision="skip", who="ops"))
            else:
                self.the_next_timer_fires()
        raise AssertionError(f"the run does not end: {self.run}")


TestSagaMachine = SagaMachine.TestCase
TestSagaMachine.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)

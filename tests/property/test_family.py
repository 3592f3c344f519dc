"""Parent and child runs, which tell each other how they stand: in any order, late, and more than once.

Every move of every run is judged by the book, as in `test_machine.py`. In the end all have ended, and a child
still has its effects only where no run above it went back, or a person let them be.

Planted and noticed: a child's undo not awaited, any child's word taken, an end not told or not passed on to
grandchildren, a child that is done not undone, `done` told as failed.
"""

from typing import Any, Final

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from orchestrator.core.compiler import compile_definition
from orchestrator.core.inputs import CancelRun, ChildEnded, Move, ResolveTask, ResumeRun, Signal, StartChild
from orchestrator.core.model import ParentRef, RunHead, RunStatus, TraceContext
from schemas.messages import ResultStatus
from schemas.workflow import Workflow
from tests.support.book.accounts import Entry, Stand
from tests.support.one_run import START, OneRun, World
from tests.support.random_sagas import families, inputs

HAPPENINGS: Final = 40
SAYS: Final = (
    *(ResultStatus.SUCCEEDED,) * 6, ResultStatus.FAILED, ResultStatus.FAILED, ResultStatus.TIMED_OUT,
    ResultStatus.UNKNOWN,
)  # fmt: skip
TRACE: Final = TraceContext(trace_id="ab" * 16, span_id="cd" * 8)


class Family:
    """Runs by their ids, and what they have yet to be told."""

    def __init__(self, data: Any, documents: list[Workflow], given_input: dict[str, Any]) -> None:
        self.data = data
        self.definitions = [compile_definition(document) for document in documents]
        self.world = World()
        self.runs: dict[str, OneRun] = {}
        self.mail: list[Signal] = []
        self.vouched: set[str] = set()
        """Children of which a person decided in their parent's place."""
        self.begin("top", 0, given_input, None)

    def pick(self, what: str, options: Any) -> Any:
        """One of these, by chance."""
        return self.data.draw(st.sampled_from(options), label=what)

    # What the coordinator does

    def begin(self, run_id: str, depth: int, value: Any, parent: ParentRef | None) -> None:
        """Start a run of the document of this depth."""
        definition = self.definitions[depth]
        head = RunHead(
            id=run_id,
            workflow=definition.name,
            version=definition.version,
            key="",
            created_at=START,
            trace=TRACE,
            input=value,
            parent=parent,
        )
        one = self.runs[run_id] = OneRun(definition, head, self.world)
        self.carry_out(one, one.moves[0])

    def give(self, one: OneRun, given: Any) -> None:
        """Apply an input and carry out what follows; a signal that makes no sense counts as delivered."""
        before = len(one.moves)
        one.try_to(given)
        for move in one.moves[before:]:
            self.carry_out(one, move)

    def carry_out(self, one: OneRun, move: Move) -> None:
        """Start children, unless they cannot be, and keep what others are to be told."""
        self.mail += move.signals
        for start in move.children:
            if self.pick("can start", (*(True,) * 6, False)):
                self.start(one, start)
            else:
                why = ChildEnded(start.step, start.host_index, start.run_id, "failed", code="no_workflow")
                self.mail.append(Signal(one.run.head.id, why))

    def start(self, one: OneRun, start: StartChild) -> None:
        """Start a child run: once, by its id."""
        assert start.run_id not in self.runs, "no two children have one id"
        above = one.run.head.parent
        depth = 1 + (0 if above is None else above.depth)
        parent = ParentRef(one.run.head.id, start.step, start.host_index, start.attempt, depth)
        self.begin(start.run_id, depth, start.input, parent)

    def deliver(self, index: int, *, again: bool = False) -> None:
        """Let a run have what it is to be told, which may come again."""
        signal = self.mail[index] if again else self.mail.pop(index)
        if signal.to in self.runs:
            self.give(self.runs[signal.to], signal.given)

    # What happens

    def something_happens(self) -> None:
        """Mostly news between runs and from agents."""
        happens = ["time"] + ["agent"] * 6 * any(one.out() for one in self.runs.values())
        happens += ["mail"] * 6 * bool(self.mail) + ["decide"] + ["cancel"]
        what = self.pick("happens", happens)
        if what == "mail":
            index = self.pick("mail", range(len(self.mail)))
            self.deliver(index, again=self.pick("again", (False, False, False, True)))
        elif what == "agent":
            self.an_agent_answers()
        elif what == "time":
            self.wake(self.pick("run", sorted(self.runs)))
        elif what == "decide":
            self.somebody_decides()
        elif any(entry.effect for _, _, entry in self.runs["top"].book.each()):
            self.give(self.runs["top"], CancelRun("ops", "enough"))

    def wake(self, run_id: str) -> None:
        """What is due next there."""
        one = self.runs[run_id]
        before = len(one.moves)
        one.wake()
        for move in one.moves[before:]:
            self.carry_out(one, move)

    def an_agent_answers(self) -> None:
        """For some run."""
        one = self.runs[self.pick("run", sorted(name for name, one in self.runs.items() if one.out()))]
        command = self.pick("command", [command.id for command in one.out()])
        self.answer(one, command, self.pick("says", SAYS))

    def answer(self, one: OneRun, command_id: str, status: ResultStatus) -> None:
        """The agent that has the command says so."""
        before = len(one.moves)
        one.answer(next(command for command in one.out() if command.id == command_id), status)
        for move in one.moves[before:]:
            self.carry_out(one, move)

    def somebody_decides(self) -> None:
        """A person, where one is asked."""
        for name, one in sorted(self.runs.items()):
            if one.in_question():
                step, index = self.pick("task", one.in_question())
                self.decide(name, step, index, self.pick("decision", ("retry", "skip", "done")))
                return

    def decide(self, run_id: str, step: str, index: int, decision: str) -> None:
        """What a person says of a child run is not what the child says."""
        one = self.runs[run_id]
        child = one.book.entries[step][index].child
        if child and decision != "retry":
            self.vouched.add(child)
        self.give(one, ResolveTask(step, decision, "ops", host_index=index))

    # How it ends

    def help_on(self) -> None:
        """Deliver, answer, decide, or let time go on."""
        if self.mail:
            self.deliver(0)
            return
        for name, one in sorted(self.runs.items()):
            if one.book.ended is not None:
                continue
            if one.book.paused:
                self.give(one, ResumeRun("ops"))
            elif one.out():
                self.answer(one, one.out()[0].id, ResultStatus.SUCCEEDED)
            elif one.in_question():
                self.decide(name, *one.in_question()[0], "skip")
            elif one.run.wake_at is not None:
                self.wake(name)
            else:
                continue  # it waits for another one
            return
        waiting = [
            (one.run.head.id, step.id, index, entry, entry.child in self.runs)
            for one in self.live()
            for step, index, entry in one.book.each()
        ]
        raise AssertionError(f"nobody can move the family on: {waiting}")

    def live(self) -> list[OneRun]:
        """The runs that have not ended."""
        return [one for one in self.runs.values() if one.book.ended is None]

    def check_effects(self) -> None:
        """A child's effects are undone if its parent's end says so, and not otherwise."""
        for one in self.runs.values():
            parent = one.run.head.parent
            if parent is None or one.run.head.id in self.vouched or one.book.ended is None:
                continue
            above = self.runs[parent.run_id]
            entry = above.book.entries[parent.step][parent.host_index]
            left = [step.id for step, _, one_task in one.book.each() if one.book.wants_undo(step, one_task)]
            if entry.child != one.run.head.id:
                assert not left or one.book.pivoted, "a child that failed was undone, or a person said so"
            elif above.book.ended is RunStatus.SUCCEEDED and counts_on(entry):
                assert one.book.ended is RunStatus.SUCCEEDED, "rule 10: what the parent counts on is there"
            elif above.book.ended in (RunStatus.COMPENSATED, RunStatus.CANCELLED):
                assert not left, f"rule 10: {one.run.head.id} still has an effect: {left}"


def counts_on(entry: Entry) -> bool:
    """Whether a task that has a child did what it is for; a failure that is put up with did not."""
    return entry.stand is Stand.DONE and entry.effect and not entry.tolerated


@settings(
    max_examples=300,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # see test_machine.py
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(data=st.data(), documents=families(), given_input=inputs)
def test_a_family_ends_together(data: Any, documents: list[Workflow], given_input: dict[str, Any]) -> None:
    """Whatever is told twice, late or in another order."""
    family = Family(data, documents, given_input)
    for _ in range(HAPPENINGS):
        family.something_happens()
    for _ in range(1_000):
        if not family.live() and not family.mail:
            break
        family.help_on()
    assert not family.live(), f"they do not end: {[one.run for one in family.live()]}"
    family.check_effects()
    for one in family.runs.values():
        one.check_whole()

"""The saga machine under random workflows and whatever may happen to a run: its rules hold after every move.

What is right is judged by `tests/support/book`, which keeps accounts of its own, from what was delivered and
what was sent; it never looks at the machine's state.

Bugs that were planted in the machine, and noticed, most in one run of this test, the rarest in a few: undo
before quiescing, in any order, first batch first, of what a person gave up on, while paused; one item or
one attempt too many; batches without order or pause; a paused run that goes forward; the pivot, a timer or
the run's time limit forgotten; late and foreign results that count; an effect forgotten (killed,
`after_failure`, reset); a retry without proof or without its pause; a pool's member, or an agent made anew,
taken at its word; nothing cancelled; children not released, the parent not told; an event taken twice;
anybody's approval; a wrong end; any move to another version; command ids used twice; a run that stops with
more to do and is not woken, or is woken for nothing.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from orchestrator.core.answers import PROBED
from orchestrator.core.compiler import compile_definition
from orchestrator.core.inputs import (
    AdmitRun,
    ApproveTask,
    CancelRun,
    ChildEnded,
    CommandExpired,
    CommandReturned,
    EventArrived,
    Input,
    Limits,
    MoveRun,
    PauseRun,
    ReleaseRun,
    ResolveTask,
    ResumeRun,
    RetryFrom,
    RetryNow,
    UndoRun,
    Wake,
)
from orchestrator.core.model import ParentRef, RunHead, TraceContext, WaitOn
from schemas.messages import NOT_STOPPABLE, Command, ResultStatus
from schemas.workflow import Workflow
from tests.support.book.evidence import holder
from tests.support.one_run import START, OneRun, World
from tests.support.random_sagas import AWAITED, HOSTS, POOL, inputs, versions, workflows

Some = TypeVar("Some")

GOOD: Final = (*(ResultStatus.SUCCEEDED,) * 5, ResultStatus.STARTED, ResultStatus.PROGRESS)
BAD: Final = (
    *(ResultStatus.FAILED,) * 4, ResultStatus.TIMED_OUT, ResultStatus.TIMED_OUT, ResultStatus.CANCELLED,
    ResultStatus.UNKNOWN, ResultStatus.UNKNOWN, ResultStatus.NEVER_SEEN, ResultStatus.REJECTED,
)  # fmt: skip
CODES: Final = {ResultStatus.UNKNOWN: NOT_STOPPABLE, ResultStatus.NEVER_SEEN: PROBED}
HAPPENINGS: Final = 30


class Life:
    """One run, and everything that can happen to it; each happening draws what it needs."""

    def __init__(self, data: Any, document: Workflow, given_input: dict[str, Any]) -> None:
        self.data = data
        self.document = document
        self.world = World()
        self.world.limits = Limits(at_once=self.pick("at once", (500, 500, 1, 2, 3)))
        definition = compile_definition(document)
        child, queued = (
            self.pick("child", (False, False, False, True)),
            self.pick("queued", (*(False,) * 7, True)),
        )
        head = RunHead(
            id="run-1",
            workflow="random",
            version=definition.version,
            key="k",
            created_at=START,
            trace=TraceContext(trace_id="ab" * 16, span_id="cd" * 8),
            input=given_input,
            parent=ParentRef("parent", "call", 0, 1, depth=1) if child else None,
        )
        self.one = OneRun(definition, head, self.world, queued=queued)
        self.book = self.one.book

    def pick(self, what: str, options: Sequence[Some]) -> Some:
        """One of these, by chance."""
        found: Some = self.data.draw(st.sampled_from(options), label=what)
        return found

    def command(self, commands: list[Command]) -> Command:
        """One of these commands."""
        wanted = self.pick("command", [one.id for one in commands])
        return next(one for one in commands if one.id == wanted)

    def something_happens(self) -> None:
        """One of the happenings that can be now; the usual more often than the rare."""
        possible = [one for one, (times, can) in CHANCES.items() if can(self) for _ in range(times)]
        getattr(self, self.pick("happens", possible))()

    # What agents and the broker say

    def an_attempt_goes_well(self) -> None:
        """The agent that has a command says so."""
        more: dict[str, Any] = {} if self.pick("usable", (True,) * 5 + (False,)) else {"output": {}}
        status = self.pick("says", GOOD)
        agent = self.pick("agent", POOL) if status is not ResultStatus.SUCCEEDED else ""
        command = self.command(self.one.out())
        entry = self.book.entries[command.step][command.host_index]
        pool = entry.target.startswith("pool.") and not entry.taken_by
        self.one.answer(command, status, agent if pool else "", **more if status is GOOD[0] else {})

    def all_goes_well(self) -> None:
        """Whatever is out or awaited is done, and then what follows from it."""
        for _ in range(self.pick("times", (1, 2, 3))):
            for command in self.one.out():
                self.one.answer(command, ResultStatus.SUCCEEDED)
            for step, index in self.one.waiting(WaitOn.CHILD):
                self.child_says(step, index, self.book.entries[step][index].child)

    def an_attempt_fails(self) -> None:
        """In any of the ways in which attempts fail."""
        status = self.pick("says", BAD)
        code = CODES.get(status, "") if self.pick("odd", (False, False, True)) else ""
        self.one.answer(
            self.command(self.one.out()), status, code=code, started=self.pick("ran", (True, False))
        )

    def an_agent_is_asked(self) -> None:
        """It never saw the command, or lost it; it may have been made anew."""
        command = self.command(self.one.out())
        agent = holder(self.book.entries[command.step][command.host_index]) or self.pick("agent", POOL)
        if self.pick("made anew", (False, True)):
            self.world.instances[agent] = "i-2"
        status = self.pick("says", (ResultStatus.NEVER_SEEN, ResultStatus.NEVER_SEEN, ResultStatus.UNKNOWN))
        self.one.answer(command, status, agent, started=False)

    def a_stray_result_comes(self) -> None:
        """For any command ever sent: in time, late, again, or from the wrong host."""
        busy = {(command.step, command.host_index) for command in self.one.out()}
        old = [one for one in self.one.commands if (one.step, one.host_index) in busy]
        recent = self.pick("of what is busy", (True, False)) and old
        command = self.command(old if recent else self.one.commands)
        status = self.pick("says", (ResultStatus.SUCCEEDED, *ResultStatus))
        agent = self.pick("agent", ("", "", *HOSTS[:2], *POOL))
        self.one.answer(command, status, agent, started=self.pick("ran", (True, False)))

    def a_command_is_not_taken(self) -> None:
        """The broker gives a command back, or lets it expire."""
        how: Any = self.pick("how", (CommandReturned, CommandExpired))
        self.one.give(how(self.command(self.one.out() or self.one.commands)))

    def an_agent_comes_or_goes(self) -> None:
        """It stops, is there again, or was made anew."""
        agent, what = self.pick("agent", (*HOSTS, *POOL)), self.pick("what", ("stop", "come", "rebuild"))
        world = self.world
        world.stopped = world.stopped | {agent} if what == "stop" else world.stopped - {agent}
        if what == "rebuild":
            world.instances[agent] = "i-2"

    # What else happens

    def time_goes_on(self) -> None:
        """The clock moves, and what is due is looked at."""
        self.world.now += self.pick("seconds", (1, 0, 3, 60, 700, 3_000)) * 1_000_000
        self.one.give(Wake())

    def the_next_timer_fires(self) -> None:
        """Straight to whatever is due next."""
        self.one.wake()

    def an_event_arrives(self) -> None:
        """For whoever waits, and perhaps for one that does not."""
        tasks = self.one.waiting(WaitOn.EVENT)
        tasks += self.pick("stray", ([], [("s0", 0), ("nope", 7)]))
        data = {"ok": self.pick("ok", (True, True, False)), "order": 7}
        event = {"id": self.pick("id", "abc"), "source": "/shop", "type": AWAITED, "data": data}
        self.one.give(EventArrived(event, tasks))

    def somebody_approves(self) -> None:
        """Or rejects, or may not."""
        step, index = self.pick("step", self.one.waiting(WaitOn.APPROVAL))
        approved, who = self.pick("approved", (True, True, False)), self.pick("who", ("ann", "ann", "bob"))
        self.one.try_to(ApproveTask(step, approved=approved, who=who, host_index=index))

    def a_child_ends(self) -> None:
        """The child run that a task waits for, or one that it waited for before."""
        step, index = self.pick("step", self.one.waiting(WaitOn.CHILD))
        entry = self.book.entries[step][index]
        bad = ("given_up", "refused", "done") if entry.back else ("failed", "failed", "given_up")
        child = self.pick("child", (entry.child,) * 4 + tuple(sorted(self.book.children)))
        self.child_says(step, index, child, self.pick("outcome", ("", "", *bad)))

    def child_says(self, step: str, index: int, child: str, outcome: Any = "") -> None:
        """A child run says how it stands; well, if nothing else is said."""
        outcome = outcome or ("undone" if self.book.entries[step][index].back else "done")
        code = "child_failed" if outcome == "failed" else ""
        self.one.give(ChildEnded(step, index, child, outcome, code=code, output={"ok": True}))

    def the_parent_speaks(self) -> None:
        """A parent undoes or releases a child of which it heard that it is done."""
        words: tuple[Input, ...] = (UndoRun("the parent goes back"), ReleaseRun())
        self.one.give(self.pick("what", words))

    def there_is_room(self) -> None:
        """Its group has room."""
        self.one.give(AdmitRun())

    # What people do

    def somebody_cancels(self) -> None:
        """A cancel is refused, or it turns the run round."""
        by_parent = self.book.head.parent is not None and self.pick("by parent", (True, False))
        self.one.try_to(CancelRun(who="ops", reason="enough", by_parent=by_parent))

    def somebody_steers(self) -> None:
        """Pause, resume, retry now."""
        inputs: tuple[Input, ...] = (ResumeRun("ops"), ResumeRun("ops"), PauseRun("ops"), RetryNow("ops"))
        self.one.try_to(self.pick("what", inputs))

    def somebody_retries_from(self) -> None:
        """Some step and what depends on it again."""
        self.one.try_to(RetryFrom(self.pick("step", sorted(self.book.entries)), "ops"))

    def somebody_moves_it(self) -> None:
        """To another version, which has begun steps changed or not."""
        before, document = self.book.definition, self.data.draw(versions(self.document))
        self.one.try_to(MoveRun(compile_definition(document), "ops"))
        if self.book.definition is not before:
            self.document = document

    def somebody_decides(self) -> None:
        """A person resolves some task, mostly one that needs it."""
        every = [(step.id, index) for step, index, _ in self.book.each()]
        step, index = self.pick("task", self.one.in_question() or every or [("nope", 0)])
        decision = self.pick("decision", ("retry", "retry", "skip", "done", "perhaps"))
        self.one.try_to(ResolveTask(step, decision, "ops", host_index=index))

    # How it ends

    def help_on(self) -> None:
        """One of those who can moves the run on."""
        one, children = self.one, self.one.waiting(WaitOn.CHILD)
        stuck = one.in_question()
        if self.book.queued:
            self.there_is_room()
        elif self.book.held:
            one.give(ReleaseRun())
        elif self.book.paused:
            one.give(ResumeRun("ops"))
        elif one.out():
            one.answer(one.out()[0], ResultStatus.SUCCEEDED)
        elif children:
            step, index = children[0]
            self.child_says(step, index, self.book.entries[step][index].child)
        elif stuck:
            one.give(ResolveTask(stuck[0][0], "skip", "ops", host_index=stuck[0][1]))
        else:
            one.wake()


def _always(_: Life) -> bool:
    return True


def _live(life: Life) -> bool:
    return life.book.ended is None


CHANCES: Final[dict[str, tuple[int, Callable[[Life], Any]]]] = {
    "an_attempt_goes_well": (8, lambda life: life.one.out()),
    "all_goes_well": (4, lambda life: life.one.out() or life.one.waiting(WaitOn.CHILD)),
    "an_attempt_fails": (4, lambda life: life.one.out()),
    "an_agent_is_asked": (2, lambda life: life.one.out()),
    "a_stray_result_comes": (2, lambda life: life.one.commands),
    "a_command_is_not_taken": (1, lambda life: life.one.commands),
    "an_agent_comes_or_goes": (1, _always),
    "time_goes_on": (1, _always),
    "the_next_timer_fires": (4, _live),
    "an_event_arrives": (6, lambda life: life.one.waiting(WaitOn.EVENT)),
    "somebody_approves": (4, lambda life: life.one.waiting(WaitOn.APPROVAL)),
    "a_child_ends": (4, lambda life: life.one.waiting(WaitOn.CHILD)),
    "the_parent_speaks": (4, lambda life: life.book.held),
    "there_is_room": (4, lambda life: life.book.queued),
    "somebody_cancels": (1, lambda life: any(entry.effect for _, _, entry in life.book.each())),
    "somebody_steers": (2, _always),
    "somebody_retries_from": (1, lambda life: _live(life) and life.book.entries),
    "somebody_moves_it": (1, _live),
    "somebody_decides": (4, lambda life: life.one.in_question() or not life.book.ended),
}
"""What can happen, how often compared with the others, and when."""


@settings(
    max_examples=600,
    # Shrinking so long a story takes minutes and changes it; the draws tell it as it was.
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(data=st.data(), document=workflows(), given_input=inputs)
def test_the_rules_hold_whatever_happens(data: Any, document: Workflow, given_input: dict[str, Any]) -> None:
    """After every move; and when everybody answers and a person decides, the run ends within a bound."""
    life = Life(data, document, given_input)
    for _ in range(HAPPENINGS):
        life.something_happens()
    life.world.stopped = frozenset()
    for _ in range(300):
        if life.book.ended is not None:
            break
        life.help_on()
    assert life.book.ended is not None, f"the run does not end: {life.one.run}"
    life.one.check_whole()

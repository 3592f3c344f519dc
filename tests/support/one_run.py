"""One run of the machine in a property test: every move is judged by the book, and folded again."""

from contextlib import suppress
from typing import Any, Final

from msgspec.structs import replace

from orchestrator.core import machine
from orchestrator.core.definition import Definition
from orchestrator.core.evolution import evolve, fold
from orchestrator.core.facts import Fact
from orchestrator.core.inputs import (
    ChildEnded,
    CommandExpired,
    CommandReturned,
    Env,
    IllegalInput,
    Input,
    Limits,
    Move,
    ResultReceived,
    Wake,
)
from orchestrator.core.model import Run, RunHead, RunStatus, WaitOn
from orchestrator.store import rows
from schemas.codec import encode
from schemas.messages import Command, ErrorInfo, ResultStatus
from schemas.times import to_datetime
from tests.support.book.accounts import Book, Stand
from tests.support.book.claims import judge
from tests.support.book.evidence import holder, verdict_on
from tests.support.random_sagas import POOL, registry
from tests.support.results import result_of

__all__ = ["START", "OneRun", "World"]

START: Final = 1_700_000_000_000_000
_WORDS: Final = (ResultReceived, CommandReturned, CommandExpired, ChildEnded)


class World:
    """The clock and the agents, for one run or for several."""

    def __init__(self) -> None:
        self.now = START
        self.instances: dict[str, str] = {}
        self.stopped: frozenset[str] = frozenset()
        self.limits = Limits()

    def env(self) -> Env:
        """What a move is made in."""
        known = registry(self.now, instances=self.instances, stopped=self.stopped)
        return Env(now=self.now, jitter=0.5, epoch=1, registry=known, limits=self.limits)


class OneRun:
    """A run, its book, its history, and every command that it sent."""

    def __init__(self, definition: Definition, head: RunHead, world: World, *, queued: bool = False) -> None:
        self.world = world
        self.history: list[Fact] = []
        self.commands: list[Command] = []
        self.moves: list[Move] = []
        self.book = Book(definition, head)
        self.run = self._replayed = Run(head=head, steps={})
        self.book.env = world.env()
        self._take(machine.start(definition, head, self.book.env, queued=queued))

    def give(self, given: Input) -> Move:
        """Apply an input; the book judges what comes of it."""
        before, env, book = self.run, self.world.env(), self.book
        verdict = verdict_on(book, given, env)
        image = encode(before)
        try:
            move = machine.apply(book.definition, before, given, env)
        except IllegalInput:
            assert encode(before) == image, "an illegal input changes nothing"
            raise
        book.given, book.env, book.verdict = given, env, verdict
        self._take(move)
        is_due = before.wake_at is not None and before.wake_at <= env.now  # then any input may bring it about
        if verdict is None and isinstance(given, _WORDS) and not is_due:
            same = replace(self.run, seq=before.seq, ignored=before.ignored)
            assert same == before, "rule 8: a late, duplicate or foreign word changes nothing"
            follows = [*move.commands, *move.signals, *move.children]
            assert not follows, "rule 8: and nothing follows"
        return move

    def try_to(self, given: Input) -> None:
        """What makes no sense is refused."""
        with suppress(IllegalInput):
            self.give(given)

    def _take(self, move: Move) -> Move:
        """Judge a move, and see that its facts lead to its state, also through the stored form."""
        judge(self.book, move)
        self.moves.append(move)
        self.history += move.facts
        self.commands += [one.command for one in move.commands if "command_id" not in one.command.args]
        for fact in move.facts:
            *_, payload = rows.fact_row(1, "0", self.run.head.id, 1, fact)
            self._replayed = evolve(self._replayed, rows.fact_of(payload))
        assert self._replayed == move.run, "fold(history) is the state"
        assert move.run.seq == len(self.history), "without gaps"
        self.run = move.run
        self._check_status()
        return move

    def _check_status(self) -> None:
        """The run shows what the book says; and rule 12: something or somebody moves a live one on."""
        book, run = self.book, self.run
        assert run.ended is book.ended
        if run.ended is not None:
            assert run.wake_at is None
            assert not run.waits
            return
        movers = book.moves_on_by()
        assert movers, "rule 12: nothing moves it on"
        assert run.wake_at == book.wake_at(), "rule 12: what is due has its timer"
        assert (run.status is RunStatus.PAUSED) is book.paused
        for _, _, entry in book.each():
            failed = entry.back and entry.stand is Stand.FAILED and not entry.given_up
            if (failed or entry.parked) and not book.paused:
                assert run.status is RunStatus.ATTENTION, "rule 5: whoever must decide is called"
        if run.status is RunStatus.ATTENTION:
            assert any(entry.in_question for _, _, entry in book.each())

    def check_whole(self) -> None:
        """The whole history once more, and the state through its stored form."""
        assert fold(self.run.head, self.history) == self.run
        _, head = rows.head_row(1, self.run)
        *_, state = rows.run_row(1, self.run)
        assert rows.run_of(head, state) == self.run

    # Who may speak

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

    def in_question(self) -> list[tuple[str, int]]:
        """Tasks that a person may decide about."""
        return [(step.id, index) for step, index, entry in self.book.each() if entry.in_question]

    def answer(
        self, command: Command, status: ResultStatus, agent: str = "", *, code: str = "", **fields: Any
    ) -> None:
        """An agent says something of a command; the one that has it, if no other is named."""
        agent = agent or holder(self.book.entries[command.step][command.host_index]) or POOL[0]
        error = None
        if code:
            error = ErrorInfo(code=code, message="it says")
        elif status in (ResultStatus.FAILED, ResultStatus.REJECTED, ResultStatus.TIMED_OUT):
            again = status is not ResultStatus.REJECTED
            error = ErrorInfo(code="broken", message="it broke", retryable=again)
        ran = fields.pop("started", True) and status is not ResultStatus.REJECTED
        fields.setdefault("output", {"ok": True} if status is ResultStatus.SUCCEEDED else None)
        at = to_datetime(START) if ran else None
        result = result_of(command, status, agent, error=error, started_at=at, **fields)
        self.give(ResultReceived(replace(result, instance_id=self.world.instances.get(agent, "i-1"))))

    def wake(self) -> None:
        """Straight to whatever is due next."""
        if self.run.wake_at is not None:
            self.world.now = max(self.world.now, self.run.wake_at)
            before = self.run
            self.give(Wake())
            assert self.run.seq > before.seq, "a wake-up that is due moves something"

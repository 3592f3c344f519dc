"""Cases: the order forward and back, the pivot, and doubt."""

from orchestrator.core.inputs import CancelRun, CommandExpired, CommandReturned, ResolveTask, ResumeRun
from schemas.messages import NOT_STOPPABLE, ErrorInfo
from tests.golden.casebook import POOL, UNDO, WEB, case
from tests.golden.story import Recorded
from tests.support.machine import chain, step

LONG = 700
"""Seconds after which an attempt is past its time limits."""


# Going forward


@case
def linear() -> Recorded:
    """Three steps, one after another; outputs go on, and the run has one."""
    passed = step("b", **{"with": {"n": "${{ steps.a.output.n + input.n }}"}})
    run = Recorded(step("a"), passed, step("c"), given={"n": 1}, output="${{ steps.c.output.n }}")
    for name in ("a", "b", "c"):
        run.say(run.last(name), "succeeded", output={"n": 2})
    return run


@case
def diamond() -> Recorded:
    """Branches side by side, one slow, and a join."""
    run = Recorded(step("a"), step("b", needs=["a"]), step("c", needs=["a"]), step("d", needs=["b", "c"]))
    run.succeed("a")
    run.say(run.last("b"), "started")
    run.say(run.last("b"), "progress")
    run.succeed("c", "b", "d")
    return run


@case
def skipped() -> Recorded:
    """A step whose condition is false; what needs it runs."""
    run = Recorded(step("a", **{"if": "input.go"}), step("b"), given={"go": False})
    run.succeed("b")
    return run


@case
def retried() -> Recorded:
    """Failures with pauses between; a late result of the first attempt."""
    run = Recorded(step("a", idempotent=True, output={"x": "${{ steps.a.output.n }}"}))
    first = run.last("a")
    run.say(first, "failed")
    run.wait(1)
    run.say(first, "succeeded")
    run.say(run.last("a"), "timed_out")
    run.wait(60)
    run.say(run.last("a"), "succeeded", output={"n": 3})
    return run


@case
def not_taken() -> Recorded:
    """A command that expired in the queue, then one that no queue took."""
    run = Recorded(step("a", idempotent=True, priority=9, start_within="5s", timeout="1m"))
    run.give(CommandExpired(run.last("a")))
    run.wait(5)
    run.give(CommandReturned(run.last("a")))
    return run


@case
def not_sent() -> Recorded:
    """An expression that fails, after a step that is then undone."""
    run = Recorded(step("a"), step("b", **{"with": {"x": "${{ steps.a.output.nope }}"}}))
    run.succeed("a")
    run.undo("a")
    return run


@case
def labels() -> Recorded:
    """The least busy live agent with some labels, then none."""
    target = {"labels": {"role": "web"}}
    run = Recorded(step("a", target=target), step("b", target=target, retry={"attempts": 2}), hosts=WEB[:2])
    run.succeed("a")
    run.say(run.last("b"), "failed")
    run.registry.hosts.clear()
    run.wait(5)
    return run


# Going back


@case
def undo_of_a_diamond() -> Recorded:
    """In reverse: the join, both sides, the root; a step without undo in between."""
    run = Recorded(
        step("a"), step("b", needs=["a"]), step("c", needs=["a"], compensate=None),
        step("d", needs=["b", "c"]), step("e"),
    )  # fmt: skip
    run.succeed("a", "b", "c", "d")
    run.say(run.last("e"), "failed", code="no_space")
    run.undo("d", "b", "a")
    return run


@case
def quiesced() -> Recorded:
    """A branch is cancelled before anything is undone; it was killed after it had started."""
    run = Recorded(step("a"), step("b", needs=["a"]), step("c", needs=["a"]), step("d"))
    run.succeed("a")
    run.say(run.last("b"), "failed")
    run.say(run.last("c"), "cancelled")
    run.undo("c", "a")
    return run


@case
def failing_undo() -> Recorded:
    """An undo that fails for good, is retried by a person, fails again and is given up."""
    run = Recorded(step("a", compensate={"action": "u", "retry": {"attempts": 2}}), step("b"))
    run.succeed("a")
    run.say(run.last("b"), "failed")
    for _ in range(2):
        run.say(run.last("a", UNDO), "failed")
        run.wait(10)
    run.give(ResolveTask("a", "retry", "ann", why="the disk is back"))
    run.say(run.last("a", UNDO), "rejected", retryable=False)
    run.give(ResolveTask("a", "skip", "ann", why="it is gone anyway"))
    return run


@case
def after_failure() -> Recorded:
    """What reported failure is undone because the document says so; by another agent."""
    run = Recorded(step("a", compensate={"action": "u", "after_failure": True, "target": "host-2"}))
    run.say(run.last("a"), "failed")
    run.undo("a")
    return run


@case
def nothing_to_undo() -> Recorded:
    """The first step fails."""
    run = Recorded(*chain("a", "b"))
    run.say(run.last("a"), "failed")
    return run


@case
def cancelled() -> Recorded:
    """By a person, while a step of a pool runs that nobody is known to have."""
    run = Recorded(step("a"), step("b", target={"pool": "p"}), hosts=POOL)
    run.succeed("a")
    run.give(CancelRun("ann", "wrong version"))
    run.say(run.last("b"), "started", agent="p2")
    run.say(run.last("b"), "succeeded", agent="p2")
    run.undo("b", "a")
    return run


@case
def run_timed_out() -> Recorded:
    """Too slow as a whole."""
    run = Recorded(*chain("a", "b"), timeout="5m")
    run.succeed("a")
    run.wait(300)
    run.say(run.last("b"), "cancelled", started=False)
    run.undo("a")
    return run


@case
def output_fails() -> Recorded:
    """A run whose output cannot be computed; a step whose output cannot be used."""
    run = Recorded(step("a", output={"x": "${{ steps.a.output.n }}"}), output="${{ steps.a.output.nope }}")
    run.say(run.last("a"), "succeeded", output={"n": 1})
    run.undo("a")
    return run


# The pivot, and what failures lead to


@case
def past_the_pivot() -> Recorded:
    """A later step fails for good, and a person says that it is done."""
    run = Recorded(step("a"), step("p", pivot=True), step("c"))
    run.succeed("a", "p")
    run.say(run.last("c"), "failed")
    run.give(ResolveTask("c", "done", "ann", why="by hand", output={"n": 1}))
    return run


@case
def pivot_while_quiescing() -> Recorded:
    """Its success comes after a cancel: the run goes on, what was put aside is taken up."""
    run = Recorded(step("a"), step("p", pivot=True), step("c"), step("side", needs=["a"]))
    run.succeed("a")
    run.say(run.last("side"), "failed")
    run.succeed("p", "c")
    run.give(ResolveTask("side", "skip", "ann"))
    return run


@case
def tolerated() -> Recorded:
    """A step that may fail."""
    run = Recorded(step("a", on_failure="continue"), step("b"))
    run.say(run.last("a"), "failed")
    run.succeed("b")
    return run


@case
def paused_by_a_failure() -> Recorded:
    """A step whose failure pauses the run; a person retries it and lets it go on."""
    run = Recorded(step("a"), step("b", on_failure="pause"), step("c"))
    run.succeed("a")
    run.say(run.last("b"), "failed")
    run.give(ResolveTask("b", "retry", "ann"))
    run.give(ResumeRun("ann", "fixed"))
    run.wait(0)
    run.succeed("b", "c")
    return run


# In doubt


@case
def in_doubt() -> Recorded:
    """No answer; asked twice; then it says that it goes on, and ends."""
    run = Recorded(step("a"))
    run.wait(LONG)
    run.wait(60)
    run.say(run.last("a"), "progress")
    run.succeed("a")
    return run


@case
def never_seen() -> Recorded:
    """Proof from the agent that it was sent to, then no proof from one made anew."""
    run = Recorded(step("a", target="w0", retry={"attempts": 2}), hosts=WEB[:1])
    run.wait(LONG)
    run.say(run.last("a"), "never_seen", started=False, instance_id="i0")
    run.wait(5)
    run.wait(LONG)
    run.say(run.last("a"), "never_seen", started=False, instance_id="new")
    run.give(ResolveTask("a", "skip", "ann", why="nothing there"))
    return run


@case
def pool_in_doubt() -> Recorded:
    """Every member is asked; all deny it; the next attempt is done."""
    run = Recorded(step("a", target={"pool": "p"}, retry={"attempts": 2}), hosts=POOL)
    run.wait(LONG)
    for host in POOL:
        run.say(run.last("a"), "never_seen", agent=host.name, started=False, instance_id=host.instance_id)
    run.wait(5)
    run.say(run.last("a"), "succeeded", agent="p2")
    return run


@case
def lost() -> Recorded:
    """Started, then lost: repeated if harmless, else as the document says, else a person's."""
    run = Recorded(
        step("a", idempotent=True), step("b", on_unknown="retry", retry={"attempts": 2}), step("c"),
        step("d", on_unknown="compensate"),
    )  # fmt: skip
    for name in ("a", "b"):
        run.say(run.last(name), "unknown")
        run.wait(5)
        run.succeed(name)
    run.say(run.last("c"), "unknown")
    run.say(run.last("c"), "unknown")
    run.give(ResolveTask("c", "done", "ann"))
    run.say(run.last("d"), "unknown")
    run.undo("d", "c", "b", "a")
    return run


@case
def does_not_stop() -> Recorded:
    """An action that goes on although it was told to stop."""
    run = Recorded(step("a", idempotent=True, needs=[]), step("b", needs=[]))
    run.say(run.last("b"), "failed")
    run.say(run.last("a"), "unknown", error=ErrorInfo(code=NOT_STOPPABLE))
    run.wait(LONG)
    run.succeed("a")
    run.undo("a")
    return run

"""The heap of wake-ups: what is due, what comes next, and that nothing is forgotten."""

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.loop.timers import Timers


def test_a_new_wake_up_replaces_the_old_one() -> None:
    """Sooner or later than before: only the last one counts."""
    timers = Timers()
    timers.set("a", 10)
    timers.set("a", 30)
    assert (timers.next_at(), timers.due(20), len(timers)) == (30, [], 1)
    timers.set("a", 5)
    assert (timers.next_at(), timers.at("a"), timers.due(5)) == (5, 5, ["a"])


def test_what_is_due_stays_until_it_is_set_again() -> None:
    """A batch that is not committed must find it again."""
    timers = Timers()
    timers.set("a", 1)
    assert timers.due(1) == timers.due(1) == ["a"]
    timers.set("a", None)
    assert (timers.due(1), timers.next_at(), len(timers), timers.at("a")) == ([], None, 0, None)


def test_forgetting_what_is_not_there_is_nothing() -> None:
    """A run that ends may never have had a wake-up."""
    timers = Timers()
    timers.set("a", None)
    assert len(timers) == 0


def test_a_wake_up_set_back_to_an_earlier_time_is_there_once() -> None:
    """Stale entries of the heap that become true again do not show a run twice."""
    timers = Timers()
    for at in (1, 2, 1, 2, 1):
        timers.set("a", at)
    assert timers.due(2) == ["a"]


@given(
    moves=st.lists(st.tuples(st.sampled_from("abcde"), st.none() | st.integers(0, 20))),
    now=st.integers(0, 20),
)
def test_it_is_a_map_with_a_clock(moves: list[tuple[str, int | None]], now: int) -> None:
    """Whatever is set in whatever order: the same answers as from a plain dict."""
    timers, plain = Timers(), dict[str, int]()
    for run_id, at in moves:
        timers.set(run_id, at)
        plain.pop(run_id, None)
        if at is not None:
            plain[run_id] = at
        assert timers.next_at() == min(plain.values(), default=None)
    due = timers.due(now)
    assert sorted(due) == sorted(run_id for run_id, at in plain.items() if at <= now)
    assert [plain[run_id] for run_id in due] == sorted(plain[run_id] for run_id in due)
    assert len(timers) == len(plain)

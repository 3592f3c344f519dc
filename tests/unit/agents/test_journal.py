"""The journal: what it keeps, what it refuses to change, what it forgets."""

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agents.journal import Batch, Entry, Journal, Known
from agents.limits import Limits
from schemas.errors import BatonError

SECOND = 1_000_000


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    """An open journal."""
    made = Journal(tmp_path / "journal.db")
    await made.open()
    yield made
    await made.close()


def received(id_: str, at: int = 1) -> Entry:
    """A command that came."""
    return Entry(id_, "received", False, b"{}", "", "0", at)


async def states(journal: Journal) -> dict[str, str]:
    """What is not settled."""
    return {row.id: row.state for row in await journal.unsettled(0, 100)}


async def test_a_command_goes_through_its_states(journal: Journal) -> None:
    """received, started, finished, published; then a restart has nothing to do."""
    await journal.write(Batch(received=[received("c")]))
    assert await states(journal) == {"c": "received"}
    await journal.write(Batch(started=[(7, "c")]))
    (row,) = await journal.unsettled(0, 100)
    assert (row.state, row.started_at, row.command) == ("started", 7, b"{}")
    await journal.write(Batch(finished=[(b"done", "c")]))
    (row,) = await journal.unsettled(0, 100)
    assert (row.state, row.result, row.command, row.reply_to) == ("finished", b"done", None, "0")
    await journal.write(Batch(published=[("c",)]))
    assert await states(journal) == {}


async def test_one_batch_may_do_it_all(journal: Journal) -> None:
    """Everything in a batch is one transaction, in the order of a command's life."""
    batch = Batch([received("c")], [(1, "c")], [(b"r", "c")], [("c",)])
    assert await journal.write(batch) == {}
    assert await states(journal) == {}


async def test_a_known_command_is_left_as_it_was(journal: Journal) -> None:
    """A second arrival changes nothing and tells, by its place in the batch, what is known."""
    await journal.write(Batch(received=[received("c")], finished=[(b"r", "c")]))
    known = await journal.write(Batch(received=[received("new"), received("c")]))
    assert known == {1: Known("finished", False, b"r")}
    assert await states(journal) == {"c": "finished", "new": "received"}


async def test_a_result_is_never_replaced(journal: Journal) -> None:
    """The first end of a command is its end."""
    await journal.write(Batch(received=[received("c")], finished=[(b"first", "c")]))
    await journal.write(Batch(finished=[(b"second", "c")], started=[(1, "c")]))
    (row,) = await journal.unsettled(0, 100)
    assert (row.state, row.result) == ("finished", b"first")


async def test_a_tombstone_is_told_apart(journal: Journal) -> None:
    """A command that was asked about before it came is known as such when it comes."""
    stone = Entry("c", "finished", True, None, "", "0", 1, b"never")
    await journal.write(Batch(received=[stone]))
    assert await journal.write(Batch(received=[received("c")])) == {0: Known("finished", True, b"never")}


async def test_a_failed_batch_leaves_nothing(journal: Journal) -> None:
    """All of a batch or none of it."""
    broken = Entry("d", "finished", False, None, "", "0", 1, None)  # finished without a result
    with pytest.raises(sqlite3.IntegrityError):
        await journal.write(Batch(received=[received("c"), broken]))
    assert await states(journal) == {}


async def test_the_instance_lives_as_long_as_the_file(tmp_path: Path) -> None:
    """The same journal has the same instance id, another journal another one."""
    ids = []
    for name in ("one", "one", "two"):
        journal = Journal(tmp_path / name)
        await journal.open()
        ids.append(journal.instance_id)
        await journal.close()
    assert ids[0] == ids[1] != ids[2]


async def test_unsettled_commands_come_in_pages(journal: Journal) -> None:
    """In order, each once."""
    await journal.write(Batch(received=[received(str(n)) for n in range(5)]))
    first = await journal.unsettled(0, 3)
    rest = await journal.unsettled(first[-1].seq, 3)
    assert [row.id for row in first + rest] == ["0", "1", "2", "3", "4"]


async def test_old_answers_are_forgotten_and_nothing_else(journal: Journal) -> None:
    """Answered commands go by age; what is not answered stays however old it is."""
    rows = [received("old", 1), received("waiting", 1), received("new", 90 * SECOND)]
    await journal.write(Batch(rows, [], [(b"r", "old"), (b"r", "new")], [("old",), ("new",)]))
    limits = Limits(keep_published=60)
    assert await journal.prune(100 * SECOND, limits) == 1
    assert await journal.prune(100 * SECOND, limits) == 0
    assert set(await journal.write(Batch(received=[received(n) for n in ("old", "waiting", "new")]))) == {
        1,
        2,
    }


async def test_the_number_of_answers_is_bounded(journal: Journal) -> None:
    """The oldest go first, a batch at a time."""
    names = [str(n) for n in range(10)]
    await journal.write(Batch([received(n) for n in names], [], [(b"r", n) for n in names]))
    limits = Limits(keep_published=1e9, max_published=4, prune_batch=5)
    assert [await journal.prune(1, limits) for _ in range(3)] == [5, 1, 0]
    assert list(await states(journal)) == ["6", "7", "8", "9"]


async def test_a_coordinators_database_is_not_taken_for_a_journal(tmp_path: Path) -> None:
    """Opening it is refused before anything is written."""
    path = tmp_path / "baton.db"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE runs (id)")
    db.close()
    journal = Journal(path)
    with pytest.raises(BatonError, match="not one that Baton made"):
        await journal.open()

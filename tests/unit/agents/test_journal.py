"""The journal: what it keeps, what it refuses to change, what it forgets."""

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agents.journal import APPLICATION_ID, Batch, Entry, Journal, Known
from agents.limits import Limits
from schemas.errors import BatonError
from tests.support.processes import ROOT

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
    return Entry(id_, "received", False, b"{}", "", "0", at, at)


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
    batch = Batch(received=[received("c")], started=[(1, "c")], finished=[(b"r", "c")], published=[("c",)])
    assert await journal.write(batch) == {}
    assert await states(journal) == {}


async def test_a_known_command_is_left_as_it_was(journal: Journal) -> None:
    """A second arrival changes nothing and tells, by its place in the batch, what is known."""
    await journal.write(Batch(received=[received("c")], finished=[(b"r", "c")]))
    known = await journal.write(Batch(received=[received("new"), received("c")]))
    assert known == {1: Known("finished", False, b"r", None, "", None)}
    assert await states(journal) == {"c": "finished", "new": "received"}


async def test_a_result_is_never_replaced(journal: Journal) -> None:
    """The first end of a command is its end."""
    await journal.write(Batch(received=[received("c")], finished=[(b"first", "c")]))
    await journal.write(Batch(finished=[(b"second", "c")], started=[(1, "c")]))
    (row,) = await journal.unsettled(0, 100)
    assert (row.state, row.result) == ("finished", b"first")


async def test_a_tombstone_is_told_apart(journal: Journal) -> None:
    """A command that was asked about before it came is known as such when it comes."""
    stone = Entry("c", "finished", True, None, "", "0", 1, 1, b"never")
    await journal.write(Batch(received=[stone]))
    assert await journal.write(Batch(received=[received("c")])) == {0: Known("finished", True, b"never")}


async def test_a_failed_batch_leaves_nothing(journal: Journal) -> None:
    """All of a batch or none of it."""
    broken = Entry("d", "finished", False, None, "", "0", 1, 1, None)  # finished without a result
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


async def test_a_lost_command_is_kept_and_can_be_taken_up_again(journal: Journal) -> None:
    """Its result is that nobody knows; reopened, it is `started` once more, and its next end is its end."""
    await journal.write(Batch(received=[received("c")], started=[(7, "c")], lost=[(b"?", "c")]))
    await journal.write(Batch(published=[("c",)]))
    known = await journal.write(Batch(received=[received("c")]))
    assert known == {0: Known("published", False, b"?", b"{}", "", 7)}
    await journal.write(Batch(reopened=[("c",)]))
    (row,) = await journal.unsettled(0, 100)
    assert (row.state, row.started_at, row.command, row.result) == ("started", 7, b"{}", None)
    await journal.write(Batch(finished=[(b"done", "c")], reopened=[("c",)]))
    (row,) = await journal.unsettled(0, 100)
    assert (row.state, row.result, row.command) == ("finished", b"done", None)


async def test_only_what_was_lost_is_taken_up_again(journal: Journal) -> None:
    """A result that is an answer stays."""
    await journal.write(Batch(received=[received("c")], finished=[(b"done", "c")]))
    await journal.write(Batch(reopened=[("c",)]))
    (row,) = await journal.unsettled(0, 100)
    assert (row.state, row.result) == ("finished", b"done")


async def test_it_knows_how_much_it_has_forgotten(tmp_path: Path) -> None:
    """The youngest that was pruned, by when it was issued; also after a restart; nothing at first."""
    journal = Journal(tmp_path / "journal.db")
    await journal.open()
    names = ["a", "b", "c"]
    rows = [
        received(name, n)._replace(issued_at=at)
        for n, (name, at) in enumerate(zip(names, [30, 70, 50], strict=True))
    ]
    done = [(b"r", name) for name in names]
    await journal.write(Batch(received=rows, finished=done, published=[(name,) for name in names]))
    limits = Limits(keep_published=1)
    assert (await journal.prune(1, limits), journal.forgotten) == (0, 0)
    assert (await journal.prune(10 * SECOND, limits), journal.forgotten) == (3, 70)
    assert (await journal.prune(10 * SECOND, limits), journal.forgotten) == (0, 70)
    await journal.close()
    again = Journal(tmp_path / "journal.db")
    await again.open()
    assert again.forgotten == 70
    await again.close()


async def test_a_journal_of_the_version_before_is_brought_up_to_date(tmp_path: Path) -> None:
    """Its commands count as issued when they came."""
    path = tmp_path / "journal.db"
    with sqlite3.connect(path) as db:
        db.executescript((ROOT / "agents" / "migrations" / "0001_initial.sql").read_text())
        db.execute("INSERT INTO journal VALUES ('i')")
        db.execute(
            "INSERT INTO commands (id, state, reply_to, received_at, result)"
            " VALUES ('c', 'published', '0', 5, x'00')"
        )
        db.executescript(f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = 1")
    db.close()
    journal = Journal(path)
    await journal.open()
    assert journal.instance_id == "i"
    assert (await journal.prune(10 * SECOND, Limits(keep_published=1)), journal.forgotten) == (1, 5)
    await journal.close()


async def test_old_answers_are_forgotten_and_nothing_else(journal: Journal) -> None:
    """Answered commands go by age; one whose answer nobody has taken stays however old it is."""
    names = ("old", "waiting", "untaken", "new")
    rows = [received(name, 90 * SECOND if name == "new" else 1) for name in names]
    await journal.write(
        Batch(
            received=rows,
            finished=[(b"r", name) for name in ("old", "untaken", "new")],
            published=[("old",), ("new",)],
        )
    )
    limits = Limits(keep_published=60)
    assert await journal.prune(100 * SECOND, limits) == 1
    assert await journal.prune(100 * SECOND, limits) == 0
    known = await journal.write(Batch(received=[received(name) for name in names]))
    assert set(known) == {1, 2, 3}


async def test_the_number_of_answers_is_bounded(journal: Journal) -> None:
    """The oldest go first, a batch at a time."""
    names = [str(n) for n in range(10)]
    await journal.write(Batch(received=[received(n) for n in names], finished=[(b"r", n) for n in names]))
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

"""Concurrency groups: who begins, who queues, and in which order."""

from typing import Any, Literal

import pytest
from msgspec.structs import replace

from orchestrator.core.definition import ConcurrencyDef, Definition
from orchestrator.core.model import ParentRef, Run, RunHead, RunStatus, TraceContext
from orchestrator.core.templates import Template
from orchestrator.document import read_workflow
from orchestrator.starting.groups import (
    MAX_GROUP,
    GroupBusy,
    GroupCircle,
    GroupDeadlock,
    Groups,
    GroupsInBatch,
    group_of,
)
from orchestrator.store.starting import GroupMember
from schemas.errors import InvalidInput

LIMITS = {"v1": 1, "v2": 2, "v3": 3}


def head(run_id: str, group: str = "g", priority: int = 5, **more: Any) -> RunHead:
    """A run's head; its version is what says the limit."""
    given = {"version": "v1", "workflow": "w", "key": "", **more}
    trace = TraceContext(trace_id="1" * 32, span_id="2" * 16)
    return RunHead(id=run_id, created_at=0, trace=trace, group=group, priority=priority, **given)


def limits(limit: int = 1, on_conflict: Literal["queue", "reject"] = "queue") -> ConcurrencyDef:
    """A definition's `concurrency`; its group's name is not asked for here."""
    return ConcurrencyDef(Template.compile("g", frozenset()), limit, on_conflict)


class Stage:
    """Groups, and runs that come to them one batch after another."""

    def __init__(self) -> None:
        self.groups = Groups(LIMITS.__getitem__)
        self.runs: dict[str, Run] = {}

    def start(self, head: RunHead, batch: GroupsInBatch | None = None) -> bool:
        """A run comes; whether it queues. Its own batch is committed at once."""
        into = self.groups.begin() if batch is None else batch
        queued = into.must_queue(head, limits(LIMITS[head.version]))
        self.change(Run(head=head, steps={}, queued=queued), into if batch is not None else None)
        return queued

    def change(self, run: Run, batch: GroupsInBatch | None = None) -> None:
        """A run becomes this."""
        self.runs[run.head.id] = run
        into = self.groups.begin() if batch is None else batch
        into.note(run)
        if batch is None:
            self.groups.commit(into)

    def end(self, run_id: str, batch: GroupsInBatch | None = None) -> None:
        """A run ends."""
        self.change(replace(self.runs[run_id], ended=RunStatus.SUCCEEDED, queued=False), batch)

    def admit(self) -> list[str]:
        """All that have room begin; returns them."""
        admitted = self.groups.admissible()
        batch = self.groups.begin()
        for run_id in admitted:
            assert batch.may_begin(run_id)
            self.change(replace(self.runs[run_id], queued=False), batch)
        self.groups.commit(batch)
        return admitted


def test_as_many_as_the_limit_begin_and_the_others_queue() -> None:
    """The limit counts those under way, not those that queue."""
    stage = Stage()
    assert [stage.start(head(f"r{n}", version="v2")) for n in range(4)] == [False, False, True, True]
    assert stage.groups.queued == 2
    assert stage.admit() == []


def test_groups_do_not_know_of_each_other() -> None:
    """A full group keeps nobody out of another one."""
    stage = Stage()
    assert not stage.start(head("r1", group="a"))
    assert not stage.start(head("r2", group="b"))
    assert stage.start(head("r3", group="a"))


def test_an_end_lets_the_next_begin() -> None:
    """One ends, one begins; the first that came first."""
    stage = Stage()
    for name in ("r1", "r2", "r3"):
        stage.start(head(name))
    stage.end("r1")
    assert stage.admit() == ["r2"]
    assert stage.admit() == []
    stage.end("r2")
    assert stage.admit() == ["r3"]
    stage.end("r3")
    assert stage.admit() == []
    assert stage.groups.queued == 0


def test_higher_priority_begins_first_then_age() -> None:
    """Among equals the older; among unequals the higher."""
    stage = Stage()
    stage.start(head("first"))
    for name, priority in (("low", 1), ("old", 5), ("high", 9), ("young", 5)):
        assert stage.start(head(name, priority=priority))
    order = []
    last = "first"
    for _ in range(4):
        stage.end(last)
        (last,) = stage.admit()
        order.append(last)
    assert order == ["high", "old", "young", "low"]


def test_a_new_run_does_not_overtake_its_equals() -> None:
    """There is room, but somebody of the same priority has waited for it; a more urgent run takes it."""
    stage = Stage()
    stage.start(head("r1"))
    stage.start(head("waits"))
    stage.end("r1")
    assert stage.start(head("equal"))
    assert stage.start(head("lower", priority=4))
    assert not stage.start(head("urgent", priority=6))
    assert stage.admit() == [], "the urgent one has the slot now"
    stage.end("urgent")
    assert stage.admit() == ["waits"]


def test_nobody_is_passed_over_for_a_larger_limit() -> None:
    """The first in the queue asks for a free group; who would have room behind it waits for it to begin."""
    stage = Stage()
    stage.start(head("r1", version="v3"))
    stage.start(head("alone", version="v1"))
    assert stage.start(head("r2", version="v3"))
    assert stage.admit() == []
    stage.end("r1")
    assert stage.admit() == ["alone", "r2"]


def test_who_is_moved_to_another_version_keeps_its_place() -> None:
    """What changes is the limit that it waits for."""
    stage = Stage()
    for name in ("r1", "r2", "r3"):
        stage.start(head(name))
    stage.change(replace(stage.runs["r2"], moved_to="v2"))
    assert stage.groups.members("g") == (["r1"], ["r2", "r3"])
    assert stage.groups.queued == 2
    assert stage.admit() == ["r2"]
    assert stage.groups.queued == 1


def test_a_batch_sees_what_it_did_itself() -> None:
    """Starts and ends of one batch count for what comes after them in it."""
    stage = Stage()
    batch = stage.groups.begin()
    assert not stage.start(head("r1"), batch)
    assert stage.start(head("r2"), batch)
    stage.end("r1", batch)
    assert stage.start(head("r3"), batch), "r2 has waited"
    stage.end("r2", batch)
    stage.end("r3", batch)
    assert not stage.start(head("r4"), batch)
    assert batch.members("g") == ["r4"]
    stage.groups.commit(batch)
    assert stage.groups.members("g") == (["r4"], [])


def test_a_batch_that_fails_has_changed_nothing() -> None:
    """What is not committed is not so."""
    stage = Stage()
    stage.start(head("r1"))
    stage.end("r1", stage.groups.begin())
    assert stage.groups.members("g") == (["r1"], [])
    assert stage.start(head("r2"))


def test_room_that_was_taken_meanwhile_is_no_room() -> None:
    """An admission is looked at again when it is made."""
    stage = Stage()
    stage.start(head("r1"))
    stage.start(head("r2"))
    stage.end("r1")
    assert stage.groups.admissible() == ["r2"]
    batch = stage.groups.begin()
    assert batch.may_begin("r2")
    assert not stage.start(head("urgent", priority=9), batch)
    assert not batch.may_begin("r2")
    assert not batch.may_begin("urgent"), "it does not queue"
    assert not batch.may_begin("unknown")


def test_a_cancelled_run_leaves_the_queue() -> None:
    """It never begins."""
    stage = Stage()
    for name in ("r1", "r2", "r3"):
        stage.start(head(name))
    stage.end("r2")
    stage.end("r1")
    assert stage.admit() == ["r3"]


def test_a_run_that_waits_for_its_parent_gives_its_slot_up() -> None:
    """Else a parent could not run two such children one after the other."""
    stage = Stage()
    stage.start(head("r1"))
    stage.start(head("r2"))
    stage.change(replace(stage.runs["r1"], held=True))
    assert stage.admit() == ["r2"]
    stage.change(replace(stage.runs["r1"], held=False))
    assert stage.groups.members("g") == (["r2", "r1"], []), "an undo does not wait for room"


def test_reject_names_the_live_runs() -> None:
    """Who is refused is told by whom, also by those that queue."""
    stage = Stage()
    for name in ("r1", "r2"):
        stage.start(head(name))
    with pytest.raises(GroupBusy) as caught:
        stage.groups.begin().must_queue(head("r3"), limits(on_conflict="reject"))
    assert caught.value.details == {"group": "g", "runs": ["r1", "r2"]}
    assert "r1" in caught.value.message
    assert caught.value.hint


def test_a_child_of_who_holds_the_group_is_refused() -> None:
    """It would wait for its parent, which waits for it; also when more than one may be in the group."""
    stage = Stage()
    stage.start(head("parent"))
    parent = ParentRef("parent", "s", 0, 1, 1, groups=("other", "g"))
    for version in ("v1", "v3"):
        with pytest.raises(GroupDeadlock) as caught:
            stage.start(head("child", version=version, parent=parent))
        assert caught.value.code == "group_deadlock"
    assert not stage.start(head("child", group="free", parent=parent))


def below(*holders: str) -> ParentRef:
    """For a child of whom these runs wait; which groups they are in is not asked for here."""
    return ParentRef(holders[-1] if holders else "free", "s", 0, 1, 1, holders=holders)


def test_rule_12_a_child_that_would_close_a_circle_of_groups_is_refused() -> None:
    """Whoever would be the last to wait is told, by the names of the groups; in one batch or in several."""
    for together in (True, False):
        stage = Stage()
        batch = stage.groups.begin() if together else None
        assert not stage.start(head("p1", group="a"), batch)
        assert not stage.start(head("p2", group="b"), batch)
        assert stage.start(head("c1", group="b", parent=below("p1")), batch)
        with pytest.raises(GroupCircle, match="'a', 'b'") as caught:
            stage.start(head("c2", group="a", parent=below("p2")), batch)
        assert caught.value.code == "group_circle"
        assert stage.start(head("c3", group="a"), batch), "nobody waits for it: it may queue"
        assert stage.start(head("c4", group="b", parent=below()), batch)
        if batch is not None:
            stage.groups.commit(batch)
        assert stage.groups.stranded() == []


def test_rule_12_a_circle_may_be_of_many_groups_and_generations() -> None:
    """Also a run far above that holds a slot waits for the child."""
    stage = Stage()
    for name in ("a", "b", "c"):
        stage.start(head(f"in {name}", group=name))
    assert stage.start(head("to b", group="b", parent=below("in a")))
    assert stage.start(head("to c", group="c", parent=below("in b")))
    with pytest.raises(GroupCircle, match="'a', 'b', 'c'"):
        stage.start(head("to a", group="a", parent=below("none", "in c", "nobody")))


def test_rule_12_while_somebody_can_go_on_there_is_no_circle() -> None:
    """One slot is enough: its run ends, and the others follow."""
    stage = Stage()
    stage.start(head("p1", group="a", version="v2"))
    stage.start(head("other", group="a", version="v2"))
    stage.start(head("p2", group="b"))
    assert stage.start(head("c1", group="b", parent=below("p1")))
    assert stage.start(head("c2", group="a", version="v2", parent=below("p2")))
    stage.end("other")
    assert stage.admit() == ["c2"]
    assert stage.groups.stranded() == []


def test_rule_12_who_no_longer_queues_closes_no_circle() -> None:
    """A child that was cancelled, or began, is waited for by nobody in the queue."""
    stage = Stage()
    stage.start(head("p1", group="a"))
    stage.start(head("p2", group="b"))
    stage.start(head("c1", group="b", parent=below("p1")))
    batch = stage.groups.begin()
    stage.end("c1", batch)
    assert stage.start(head("c2", group="a", parent=below("p2")), batch)


def test_rule_12_a_circle_that_came_about_all_the_same_is_found() -> None:
    """As after a restart, or with limits that differ: all who queue in it are named."""
    groups = Groups(LIMITS.__getitem__)
    seats = (("p1", "a", False, ()), ("p2", "b", False, ()), ("c1", "b", True, ("p1",)))
    late = (("c2", "a", True, ("p2",)), ("behind", "a", True, ()), ("elsewhere", "d", True, ()))
    members = [GroupMember(run, name, queued, 5, "v1", above) for run, name, queued, above in (*seats, *late)]
    groups.load(members)
    assert groups.stranded() == ["c2", "behind", "c1"]
    groups = Groups(LIMITS.__getitem__)
    groups.load(members[:3])
    assert groups.stranded() == []
    with pytest.raises(GroupCircle):
        groups.begin().must_queue(head("c2", group="a", parent=below("p2")), limits())


def test_a_restart_finds_the_same_order() -> None:
    """What the database holds, oldest first, gives the groups as they were."""
    groups = Groups(LIMITS.__getitem__)
    groups.load(
        [
            GroupMember("old", "g", queued=True, priority=5, version="v1"),
            GroupMember("young", "g", queued=True, priority=5, version="v1"),
            GroupMember("high", "g", queued=True, priority=6, version="v1"),
            GroupMember("alone", "h", queued=True, priority=5, version="v2"),
        ]
    )
    assert groups.members("g") == ([], ["high", "old", "young"])
    assert groups.admissible() == ["high", "alone"]
    assert groups.admissible() == [], "nothing has changed since"
    groups.look_again()
    assert groups.admissible() == ["high", "alone"]


def workflow(group: str, more: str = "") -> Definition:
    """A workflow with a concurrency group."""
    return read_workflow(
        f"workflow: w\nconcurrency: {{group: {group}{more}}}\nsteps: [{{id: a, action: x.y, target: h}}]\n",
        "test.yaml",
    )


def test_the_name_of_a_group() -> None:
    """A template over event, input and run; numbers count as text."""
    given = head("r", group="", input={"host": "db1", "n": 7}, event={"type": "a.b"}, key="k")
    for template, name in (
        ("fixed", "fixed"),
        ('"db/${{ input.host }}"', "db/db1"),
        ('"${{ input.n }}"', "7"),
        ('"${{ run.key }} ${{ event.type }}"', "k a.b"),
    ):
        assert group_of(workflow(template), given) == name
    plain = read_workflow("workflow: w\nsteps: [{id: a, action: x.y, target: h}]\n", "test.yaml")
    assert group_of(plain, given) == ""


@pytest.mark.parametrize("value", ["", "x" * (MAX_GROUP + 1), True, None, ["a"], {}])
def test_what_is_no_name_is_refused(value: object) -> None:
    """A group is named by text of a bounded length."""
    with pytest.raises(InvalidInput, match=r"concurrency\.group"):
        group_of(workflow('"${{ input.name }}"'), head("r", group="", input={"name": value}))


def test_a_group_whose_expression_fails_is_refused() -> None:
    """As an input that does not fit would be."""
    with pytest.raises(InvalidInput, match=r"concurrency\.group"):
        group_of(workflow('"${{ input.name }}"'), head("r", group="", input={}))

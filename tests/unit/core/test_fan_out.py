"""Steps with many tasks: `foreach`, and every host with some labels, in batches."""

from typing import Any

import pytest

from orchestrator.core.evolution import fold
from orchestrator.core.inputs import CancelRun, ResolveTask, ResumeRun
from orchestrator.core.model import StepStatus
from orchestrator.core.registry import Host
from schemas.messages import CommandKind
from tests.support.machine import Saga, step

WEB = [Host(f"w{number}", "i", {"role": "web", "rack": str(number % 2)}) for number in range(5)]
ALL = {"labels": {"role": "web"}, "all": True}
UNDO = CommandKind.COMPENSATE


def rollout(hosts: Any = WEB, *more: dict[str, Any], **portions: Any) -> Saga:
    """A run whose one step `s` goes to every web host."""
    return Saga(step("s", target=ALL, rollout=portions or None), *more, hosts=hosts)


def hosts_of(saga: Saga, kind: CommandKind = CommandKind.EXECUTE) -> list[int]:
    """The tasks of `s` that got a command of this kind, in the order of sending."""
    return [command.host_index for command in saga.commands if command.step == "s" and command.kind is kind]


def answer(
    saga: Saga, *indices: int, status: str = "succeeded", kind: CommandKind = CommandKind.EXECUTE
) -> None:
    """These tasks' agents answer."""
    for index in indices:
        saga.say(saga.last("s", kind, index), status, output=index if status == "succeeded" else None)


# Hosts


def test_every_live_match_gets_a_command_and_others_see_the_outputs_by_host() -> None:
    """In the order of names; a host without the labels gets none."""
    other = Host("db", "i", {"role": "db"})
    saga = rollout([*WEB[:2], other], step("t", **{"with": {"o": "${{ steps.s.output }}"}}))
    assert [task.target for task in saga.run.steps["s"]] == ["agent.w0", "agent.w1"]
    answer(saga, 0, 1)
    assert saga.last("t").args == {"o": {"w0": 0, "w1": 1}}


def test_no_live_match_is_an_error() -> None:
    """Never a success; it is tried again as often as the step says, for an agent may be on its way back."""
    saga = Saga(step("s", target=ALL, retry={"attempts": 2}))
    assert saga.status == "running"
    saga.wait(5)
    assert saga.status == "failed"
    assert saga.run.failure is not None
    assert saga.run.failure.code == "no_live_agent"


def test_hosts_that_come_back_are_found_by_the_next_attempt() -> None:
    """The retry looks anew."""
    saga = Saga(step("s", target=ALL, retry={"attempts": 2}))
    for host in WEB[:2]:
        saga.registry.put(Host(host.name, "i", host.labels, seen_at=saga.now))
    saga.wait(5)
    assert hosts_of(saga) == [0, 1]


@pytest.mark.parametrize(
    ("batch", "first"), [(2, [0, 1]), ("25%", [0, 1]), ("100%", [0, 1, 2, 3, 4]), (9, [0, 1, 2, 3, 4])]
)
def test_a_batch_is_a_number_or_a_part_rounded_up(batch: Any, first: list[int]) -> None:
    """25 % of five hosts are two."""
    assert hosts_of(rollout(batch=batch)) == first


def test_batches_go_in_order_and_only_when_the_one_before_is_done() -> None:
    """One slow host holds up the next batch."""
    saga = rollout(batch=2)
    answer(saga, 1)
    assert hosts_of(saga) == [0, 1]
    answer(saga, 0)
    assert hosts_of(saga) == [0, 1, 2, 3]
    answer(saga, 2, 3)
    answer(saga, 4)
    assert saga.status == "succeeded"


def test_a_pause_between_batches_is_kept_by_a_timer() -> None:
    """Nothing starts before its end."""
    saga = rollout(batch=3, pause="5m")
    answer(saga, 0, 1, 2)
    saga.wait(299)
    assert hosts_of(saga) == [0, 1, 2]
    saga.wait(1)
    assert hosts_of(saga) == [0, 1, 2, 3, 4]
    assert fold(saga.run.head, saga.facts) == saga.run


def test_failures_within_the_limit_are_put_up_with() -> None:
    """The step is succeeded, its hosts say which failed, and the next batch goes on."""
    saga = rollout(batch=2, max_failures=1)
    answer(saga, 0, status="failed")
    answer(saga, 1)
    assert hosts_of(saga) == [0, 1, 2, 3]
    answer(saga, 2, 3)
    answer(saga, 4)
    assert saga.status == "succeeded"
    assert saga.step_status("s") is StepStatus.SUCCEEDED
    assert saga.run.steps["s"][0].status is StepStatus.FAILED


def test_one_failure_too_many_stops_the_rollout_and_undoes_only_the_hosts_that_were_done() -> None:
    """Last batch first; hosts that had not begun are cancelled and never heard of it."""
    saga = rollout(batch=2, max_failures=1)
    answer(saga, 0, 1)
    answer(saga, 2, status="failed")
    answer(saga, 3)
    answer(saga, 4, status="failed")
    assert saga.status == "compensating"
    assert hosts_of(saga, UNDO) == [3]
    answer(saga, 3, kind=UNDO)
    assert sorted(hosts_of(saga, UNDO)) == [0, 1, 3]
    answer(saga, 0, 1, kind=UNDO)
    assert saga.status == "compensated"


def test_a_failure_in_the_first_batch_leaves_later_hosts_alone() -> None:
    """They get no command at all."""
    saga = rollout(batch=2)
    answer(saga, 0, status="failed")
    answer(saga, 1, status="cancelled")
    assert hosts_of(saga) == [0, 1]
    assert [task.status for task in saga.run.steps["s"][2:]] == [StepStatus.CANCELLED] * 3


def test_an_undo_that_fails_holds_up_the_batches_before_it() -> None:
    """Rule 5 between batches, which depend on each other; a person's decision lets them go on."""
    saga = Saga(
        step("s", target=ALL, rollout={"batch": 1}, compensate={"action": "u", "retry": {"attempts": 1}}),
        step("t"),
        hosts=WEB[:2],
    )
    answer(saga, 0)
    answer(saga, 1)
    saga.say(saga.last("t"), "failed")
    answer(saga, 1, status="failed", kind=UNDO)
    assert saga.status == "attention"
    assert hosts_of(saga, UNDO) == [1]
    saga.give(ResolveTask(step="s", host_index=1, decision="done", who="ops"))
    assert hosts_of(saga, UNDO) == [1, 0]


def test_the_undo_of_a_host_sees_that_host() -> None:
    """`host.output` is what this very host answered."""
    undo = {"action": "u", "with": {"to": "${{ host.name }}", "was": "${{ host.output }}"}}
    saga = Saga(step("s", target=ALL, compensate=undo), step("t"), hosts=WEB[:2])
    answer(saga, 0, 1)
    saga.say(saga.last("t"), "failed")
    assert saga.last("s", UNDO, 1).args == {"to": "w1", "was": 1}


def test_labels_without_all_pick_the_least_busy_live_agent() -> None:
    """Of equals the first by name; within one move the picks count too."""
    target = {"labels": {"role": "web"}}
    saga = Saga(step("a", target=target), step("b", target=target, needs=[]), hosts=WEB[:2])
    assert [saga.task("a").target, saga.task("b").target] == ["agent.w0", "agent.w1"]
    saga.registry.busy["w0"] = 7
    again = Saga(step("a", target=target, needs=[]), hosts=WEB[:2])
    assert again.task("a").target == "agent.w0"


def test_a_label_may_be_computed_and_a_number_counts_as_its_text() -> None:
    """Agents announce text; a map or a list is no label."""
    target = {"labels": {"rack": "${{ input.rack }}"}, "all": True}
    assert len(Saga(step("s", target=target), given={"rack": 1}, hosts=WEB).run.steps["s"]) == 2
    wrong = Saga(step("s", target=target), given={"rack": [1]}, hosts=WEB)
    assert wrong.run.failure is not None
    assert wrong.run.failure.code == "bad_label"


# foreach


def test_foreach_does_the_step_for_each_item_a_few_at_a_time() -> None:
    """In the order of the list; others see the outputs in that order."""
    saga = Saga(
        step("s", foreach="input.list", max_parallel=2, **{"with": {"n": "${{ item }}"}}),
        step("t", **{"with": {"o": "${{ steps.s.output }}"}}),
        given={"list": ["x", "y", "z"]},
    )
    assert [command.args["n"] for command in saga.commands] == ["x", "y"]
    answer(saga, 1)
    assert hosts_of(saga) == [0, 1, 2]
    answer(saga, 0, 2)
    assert saga.last("t").args == {"o": [0, 1, 2]}


def test_foreach_over_nothing_is_done_at_once() -> None:
    """An empty list is not an error: there is nothing to do."""
    saga = Saga(step("s", foreach="input.list"), step("t"), given={"list": []})
    assert saga.sent() == ["t"]
    assert saga.step_status("s") is StepStatus.SUCCEEDED


@pytest.mark.parametrize("given", [{"list": {}}, {"list": "text"}, {"list": 3}, {}])
def test_foreach_over_what_is_no_list_fails_the_step(given: Any) -> None:
    """Once, with a code that says so, and nothing is sent."""
    saga = Saga(step("s", foreach="input.list"), given=given)
    assert saga.status == "failed"
    assert saga.run.failure is not None
    assert saga.run.failure.code in ("not_a_list", "expression_error")
    assert saga.commands == []


def test_a_fan_out_that_a_person_vouched_for_is_undone_as_one() -> None:
    """It never had its tasks; a retry of its undo is an undo."""
    failing = step("s", foreach="input.list", on_failure="pause")
    saga = Saga(failing, step("t"), given={"list": "text"})
    saga.give(ResolveTask(step="s", decision="done", who="ops"))
    saga.give(ResumeRun(who="ops"))
    saga.say(saga.last("t"), "failed")
    saga.say(saga.last("s", UNDO), "failed")
    saga.wait(10)
    assert hosts_of(saga, UNDO) == [0, 0]
    saga.undo("s")
    assert saga.status == "compensated"


def test_foreach_is_undone_in_reverse_order_as_many_at_a_time() -> None:
    """One at a time forward is one at a time back."""
    saga = Saga(step("s", foreach="input.list", max_parallel=1), step("t"), given={"list": [1, 2, 3]})
    for index in range(3):
        answer(saga, index)
    saga.say(saga.last("t"), "failed")
    for index in (2, 1, 0):
        assert hosts_of(saga, UNDO)[-1] == index
        answer(saga, index, kind=UNDO)
    assert hosts_of(saga, UNDO) == [2, 1, 0]
    assert saga.status == "compensated"


def test_one_failing_item_fails_the_step_and_the_others_are_undone() -> None:
    """The failed one had no effect; the one under way is cancelled first."""
    saga = Saga(step("s", foreach="input.list"), given={"list": [1, 2, 3]})
    answer(saga, 0)
    answer(saga, 1, status="failed")
    assert hosts_of(saga, CommandKind.CANCEL) == [2]
    assert hosts_of(saga, UNDO) == []
    answer(saga, 2, status="cancelled")
    assert sorted(hosts_of(saga, UNDO)) == [0, 2]


def test_a_cancel_in_the_middle_of_a_fan_out_quiesces_first() -> None:
    """Items that had not begun never begin."""
    saga = Saga(step("s", foreach="input.list", max_parallel=1), given={"list": [1, 2]})
    saga.give(CancelRun(who="ops", reason="enough"))
    answer(saga, 0)
    assert hosts_of(saga) == [0]
    assert hosts_of(saga, UNDO) == [0]


def test_a_list_wider_than_the_limit_fails_the_step() -> None:
    """With the limit and the setting in the error."""
    saga = Saga(step("s", foreach="input.list"), given={"list": list(range(10_001))})
    assert saga.run.failure is not None
    assert saga.run.failure.code == "too_wide"
    assert "10000" in saga.run.failure.message


def test_the_condition_is_asked_once_before_the_step_fans_out() -> None:
    """A false one skips the whole step."""
    saga = Saga(step("s", foreach="input.list", **{"if": "false"}), step("t"), given={"list": [1]})
    assert saga.sent() == ["t"]
    assert saga.step_status("s") is StepStatus.SKIPPED

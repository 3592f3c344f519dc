"""How runs are shown: what tasks wait for, why one is in doubt, many hosts, children."""

from typing import Any

import msgspec

from orchestrator.api.run_views import run_view
from orchestrator.core.model import (
    ParentRef,
    Run,
    StepStatus,
    Task,
    Wait,
    WaitOn,
)
from schemas.messages import ErrorInfo, ResultStatus
from tests.support.facts import head
from tests.support.office import HELLO, Office


def shown(*tasks: Task, hosts: int | None = None, **changes: Any) -> Any:
    """A run of one step with these tasks, as JSON."""
    run = msgspec.structs.replace(Run(head=head(), steps={"one": tasks}), **changes)
    return msgspec.to_builtins(run_view(run, hosts))


def test_what_a_task_waits_for_is_said() -> None:
    """An event with its type and value, an approval with its message, a time, a child with its id."""
    waits = [
        Wait(WaitOn.EVENT, topic="com.example.paid\nevent.data.order", value="7"),
        Wait(WaitOn.APPROVAL, message="go on?"),
        Wait(WaitOn.TIME),
        Wait(WaitOn.CHILD, child="r2"),
    ]
    run = shown(*(Task(status=StepStatus.RUNNING, part=True, wait=wait, due=2_000_000) for wait in waits))
    until = "1970-01-01T00:00:02.000000Z"
    assert [host["waiting"] for host in run["steps"]["one"]["hosts"]] == [
        {
            "on": "event",
            "until": until,
            "event": "com.example.paid",
            "correlate": "event.data.order",
            "value": "7",
        },
        {"on": "approval", "until": until, "message": "go on?"},
        {"on": "time", "until": until},
        {"on": "child", "until": until, "child": "r2"},
    ]


def test_the_output_of_a_fan_out_is_as_expressions_see_it() -> None:
    """By host, of those that succeeded; in order, of items; of a plain step the output itself."""
    done = Task(status=StepStatus.SUCCEEDED, output=1, part=True)
    replace = msgspec.structs.replace
    bad = Task(status=StepStatus.FAILED, part=True, host="b")
    assert shown(replace(done, host="a"), bad)["steps"]["one"]["output"] == {"a": 1}
    assert shown(replace(done, item="x"))["steps"]["one"]["output"] == [1]
    assert shown(replace(done, part=False))["steps"]["one"]["output"] == 1
    assert shown()["steps"]["one"]["output"] == []


def test_of_many_hosts_those_that_matter_are_shown() -> None:
    """The counts are of all; what failed or is in doubt comes first, with its index; no output."""
    tasks = [Task(status=StepStatus.SUCCEEDED, part=True, host=f"h{number}") for number in range(10_000)]
    tasks[7_000] = msgspec.structs.replace(tasks[7_000], status=StepStatus.FAILED)
    tasks[8_000] = msgspec.structs.replace(tasks[8_000], status=StepStatus.IN_DOUBT, queries=2, lost=True)
    step = shown(*tasks, hosts=3)["steps"]["one"]
    assert step["counts"] == {"succeeded": 9_998, "failed": 1, "in_doubt": 1}
    assert [host["index"] for host in step["hosts"]] == [8_000, 7_000, 0]
    assert step["hosts"][0]["doubt"] == {"why": "", "asked": 2, "lost": True, "denied": []}
    assert step["output"] is None
    assert len(shown(*tasks)["steps"]["one"]["hosts"]) == 10_000


def test_where_a_run_belongs_is_said() -> None:
    """Parent, retry, group, and the version it was moved from."""
    of = msgspec.structs.replace(
        head(), parent=ParentRef("p", "call", 0, 1, 1), retry_of="old", group="g", priority=7
    )
    run = shown(head=of, moved_to="v2hash", pivoted=True, held=True)
    assert (run["parent"], run["parent_step"], run["retry_of"], run["group"]) == ("p", "call", "old", "g")
    assert (run["version"], run["started_with"], run["priority"]) == ("v2hash", "v1hash", 7)
    assert (run["pivoted"], run["held"], run["paused"]) == (True, True, False)


async def test_a_doubt_says_why(desk: Office) -> None:
    """The run shows what its history says of the doubt, and whom it asked."""
    run_id = await desk.start()
    lost = ErrorInfo(code="lost", message="power failed")
    await desk.answer(await desk.command(1), ResultStatus.UNKNOWN, error=lost)
    run = await desk.until_status(run_id, "attention")
    [host] = run["steps"]["first"]["hosts"]
    assert host["status"] == "in_doubt"
    assert host["doubt"]["lost"]
    facts = (await desk.http.get(f"/api/runs/{run_id}/history")).json()["items"]
    assert host["doubt"]["why"] == next(fact["why"] for fact in facts if fact["fact"] == "task_in_doubt")
    assert host["doubt"]["why"]


async def test_few_hosts_can_be_asked_for(desk: Office) -> None:
    """`?hosts=` limits the tasks of each step; a number that cannot be is 400."""
    run_id = await desk.start()
    run = (await desk.http.get(f"/api/runs/{run_id}?hosts=0")).json()
    assert run["steps"]["first"]["hosts"] == []
    assert run["steps"]["first"]["counts"] == {"running": 1}
    assert (await desk.http.get(f"/api/runs/{run_id}?hosts=-1")).status_code == 400


ASK = """\
workflow: ask
steps:
  - id: may
    foreach: "['a', 'b']"
    approve: {by: [eva, max], message: "release ${{ item }}?", timeout: 1h}
"""


async def test_what_people_are_asked(desk: Office) -> None:
    """Every approval that is waited for, with its message, who may answer and until when."""
    await desk.apply(ASK)
    await desk.start()  # a payload that looks like one that waits is none
    run_id = (await desk.http.post("/api/runs", json={"workflow": "ask"})).json()["id"]
    other = '"on":"approval"'
    await desk.http.post("/api/runs", json={"workflow": "hello", "input": {"name": other}})
    items = (await desk.http.get("/api/approvals")).json()["items"]
    assert [(item["run"], item["step"], item["message"]) for item in items] == [
        (run_id, "may", "release a?"),
        (run_id, "may", "release b?"),
    ]
    assert (items[0]["by"], items[0]["on_timeout"], items[1]["item"]) == (["eva", "max"], "reject", '"b"')
    assert items[0]["since"] < items[0]["until"]
    body = {"step": "may", "who": "eva"}
    await desk.http.post(f"/api/runs/{run_id}/approve", json=body)
    left = (await desk.http.get("/api/approvals")).json()["items"]
    assert [item["index"] for item in left] == [1]


async def test_versions_are_listed_and_shown(desk: Office) -> None:
    """The latest first, which is current, how many live runs each has; one is shown by part of its hash."""
    old = (await desk.http.get("/api/workflows/hello")).json()["version"]
    await desk.start()
    new = (await desk.apply(HELLO.replace("do.second", "do.other")))["version"]
    items = (await desk.http.get("/api/workflows/hello/versions")).json()["items"]
    assert [(item["version"], item["current"], item["live_runs"]) for item in items] == [
        (new, True, 0),
        (old, False, 1),
    ]
    shown_old = (await desk.http.get(f"/api/workflows/hello?version={old[:8]}")).json()
    assert shown_old["version"] == old
    assert (await desk.http.get("/api/workflows/nope/versions")).status_code == 404

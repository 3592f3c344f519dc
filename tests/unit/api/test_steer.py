"""What a person can do to a run: pause, resume, approve, retry, move; and to which task of a step."""

from pathlib import Path
from typing import Any

import pytest

from schemas.messages import ErrorInfo, ResultStatus
from tests.support.office import HELLO, Office, office

ASK = """\
workflow: ask
steps:
  - id: may
    approve: {by: [eva], message: "release ${{ input.version }}?"}
  - id: each
    needs: []
    foreach: "['a', 'b']"
    action: do.each
    target: web-1
"""
BROKEN = ErrorInfo(code="broken", message="it broke", retryable=False)


async def post(desk: Office, run_id: str, action: str, **body: Any) -> Any:
    """Do something to a run; the answer, which must be a good one."""
    answer = await desk.http.post(f"/api/runs/{run_id}/{action}", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def refused(desk: Office, run_id: str, action: str, status: Any = 409, **body: Any) -> Any:
    """Do something that cannot be done to a run; the error."""
    answer = await desk.http.post(f"/api/runs/{run_id}/{action}", json=body)
    assert answer.status_code == status, answer.text
    return answer.json()["error"]


async def said(desk: Office, run_id: str, kind: str) -> Any:
    """The last fact of a kind in a run's history."""
    facts = (await desk.http.get(f"/api/runs/{run_id}/history?limit=1000")).json()["items"]
    return [fact for fact in facts if fact["fact"] == kind][-1]


async def failed_run(desk: Office, key: str = "k", commands: int = 0) -> str:
    """A run of `hello` whose first step succeeded without a way back, and whose second failed.

    `commands` went out before.
    """
    await desk.apply(
        HELLO.replace("compensate: {action: undo.first, retry: {attempts: 1}}", "idempotent: true")
    )
    run_id = await desk.start(key=key)
    await desk.answer(await desk.command(commands + 1), ResultStatus.SUCCEEDED, output={"n": 7})
    await desk.answer(await desk.command(commands + 2), ResultStatus.FAILED, error=BROKEN)
    assert (await desk.until_status(run_id, "failed"))["ended_at"]
    return run_id


async def test_a_paused_run_starts_nothing_until_it_is_resumed(desk: Office) -> None:
    """What is under way ends, the next step begins after `resume`; who and why are in the history."""
    run_id = await desk.start()
    first = await desk.command(1)
    assert (await post(desk, run_id, "pause", who="eva", why="wait"))["status"] == "paused"
    assert (await said(desk, run_id, "run_paused"))["who"] == "eva"
    await desk.answer(first, ResultStatus.SUCCEEDED)
    assert (await refused(desk, run_id, "pause"))["code"] == "cannot_pause"
    assert len(desk.commands) == 1
    assert (await post(desk, run_id, "resume", why="on"))["status"] == "running"
    assert (await said(desk, run_id, "run_resumed"))["why"] == "on"
    assert (await desk.command(2)).step == "second"
    assert (await refused(desk, run_id, "resume"))["code"] == "not_paused"


async def test_who_may_approve_is_kept_to(desk: Office) -> None:
    """Somebody else is refused with the names; the right person's answer is the step's output."""
    await desk.apply(ASK)
    started = await desk.http.post("/api/runs", json={"workflow": "ask", "input": {"version": "7"}})
    run_id = started.json()["id"]
    error = await refused(desk, run_id, "approve", step="may", who="max")
    assert error["code"] == "not_an_approver"
    assert "eva" in error["hint"]
    run = await post(desk, run_id, "approve", step="may", who="eva", why="fine")
    assert run["steps"]["may"]["output"]["by"] == "eva"
    assert (await refused(desk, run_id, "approve", step="may", who="eva"))["code"] == "not_waiting"


async def test_a_rejection_fails_the_step(desk: Office) -> None:
    """With `approved: false` the step fails, and says who said no and why."""
    await desk.apply(ASK)
    started = await desk.http.post("/api/runs", json={"workflow": "ask", "input": {"version": "7"}})
    run = await post(desk, started.json()["id"], "approve", step="may", who="eva", approved=False, why="bad")
    assert run["steps"]["may"]["error"]["code"] == "rejected_by_person"
    assert "bad" in run["steps"]["may"]["error"]["message"]


async def test_a_waiting_retry_can_be_made_now(desk: Office) -> None:
    """The next attempt goes out at once; where none waits, that is refused."""
    await desk.apply(
        HELLO.replace(
            "action: do.second", "action: do.second\n    retry: {attempts: 2, delay: 1h, max_delay: 1h}"
        )
    )
    run_id = await desk.start()
    assert (await refused(desk, run_id, "retry", now=True))["code"] == "nothing_to_retry"
    await desk.answer(await desk.command(1), ResultStatus.SUCCEEDED)
    await desk.answer(await desk.command(2), ResultStatus.FAILED, error=ErrorInfo(code="busy", message=""))
    await desk.until_step(run_id, "second", due=True)
    assert await post(desk, run_id, "retry", now=True, who="eva") == {"id": run_id}
    assert (await desk.command(3)).attempt == 2


@pytest.mark.parametrize(
    "body", [{}, {"now": True, "from": "second"}, {"from": ""}, {"from": "a", "version": "x"}]
)
async def test_a_retry_says_one_thing(desk: Office, body: Any) -> None:
    """Neither, both, an empty step or an unknown version is 400."""
    run_id = await desk.start()
    await refused(desk, run_id, "retry", status=400, **body)


async def test_a_failed_run_is_retried_from_a_step(desk: Office) -> None:
    """A new run keeps the results of the other steps, the input and the key, and names the old run."""
    run_id = await failed_run(desk)
    new = (await post(desk, run_id, "retry", **{"from": "second"}))["id"]
    assert new != run_id
    third = await desk.command(3)
    assert (third.step, third.run_id) == ("second", new)
    await desk.answer(third, ResultStatus.SUCCEEDED)
    run = await desk.until_status(new, "succeeded")
    assert (run["retry_of"], run["key"], run["input"]) == (run_id, "k", {"name": "you"})
    assert run["steps"]["first"]["output"] == {"n": 7}
    assert (await desk.run(run_id))["status"] == "failed"


async def test_a_retry_of_an_ended_run_is_refused_with_the_reason(desk: Office) -> None:
    """A step that is not there, a taken key, and a run that went back: each says so, and nothing starts."""
    run_id = await failed_run(desk)
    assert "nope" in (await refused(desk, run_id, "retry", status=404, **{"from": "nope"}))["message"]
    live = await desk.start(key="k")
    error = await refused(desk, run_id, "retry", **{"from": "second"})
    assert (error["code"], error["details"]) == ("key_taken", {"id": live})
    await post(desk, live, "cancel")
    await desk.answer(await desk.command(3), ResultStatus.SUCCEEDED)
    await desk.until_status(live, "cancelled")
    await desk.apply(HELLO)
    undone = await desk.start()
    await desk.answer(await desk.command(5), ResultStatus.SUCCEEDED)
    await desk.answer(await desk.command(6), ResultStatus.FAILED, error=BROKEN)
    await desk.answer(await desk.command(7), ResultStatus.SUCCEEDED)
    await desk.until_status(undone, "compensated")
    assert (await refused(desk, undone, "retry", **{"from": "second"}))["code"] == "not_retryable"


async def test_an_ended_run_has_one_retry_at_a_time(desk: Office) -> None:
    """Also without a key a second one is refused, with the first one's id, until that has ended."""
    run_id = await failed_run(desk, key="")
    new = (await post(desk, run_id, "retry", **{"from": "second"}))["id"]
    error = await refused(desk, run_id, "retry", **{"from": "second"})
    assert (error["code"], error["details"]) == ("being_retried", {"id": new})
    await desk.answer(await desk.command(3), ResultStatus.FAILED, error=BROKEN)
    await desk.until_status(new, "failed")
    assert (await post(desk, run_id, "retry", **{"from": "second"}))["id"] not in (run_id, new)


async def test_many_retries_keep_to_the_limit_of_active_runs(tmp_path: Path) -> None:
    """Those for which there is no room are refused, one by one; the others are made."""
    async with office(tmp_path, max_active_runs=2) as desk:
        for number in range(3):
            await failed_run(desk, key=f"k{number}", commands=2 * number)
        body = {"action": "retry", "filter": {"status": ["failed"]}, "arguments": {"from": "second"}}
        answer = (await desk.http.post("/api/runs/bulk", json=body)).json()
        assert (answer["matched"], answer["done"]) == (3, 2)
        assert [one["error"]["code"] for one in answer["refused"]] == ["too_many_runs"]


async def test_a_retry_with_the_current_version(desk: Office) -> None:
    """Its changed step is done as it says now; a kept step that it changes is refused."""
    run_id = await failed_run(desk)
    again = (await desk.http.get("/api/workflows/hello")).json()["document"]
    text = HELLO.replace("compensate: {action: undo.first, retry: {attempts: 1}}", "idempotent: true")
    await desk.apply(text.replace("do.first", "do.other"))
    body = {"from": "second", "version": "current"}
    assert (await refused(desk, run_id, "retry", **body))["code"] == "steps_changed"
    await desk.apply(text.replace("do.second", "do.better"))
    new = (await post(desk, run_id, "retry", **body))["id"]
    assert (await desk.command(3)).action == "do.better"
    assert (await desk.run(new))["version"] != (await desk.run(run_id))["version"]
    assert again["steps"][1]["action"] == "do.second"


async def test_a_live_run_moves_to_a_version_where_its_past_is_the_same(desk: Office) -> None:
    """A changed later step is fine, by the beginning of the hash; a changed begun one is refused, named."""
    run_id = await desk.start()
    await desk.command(1)
    bad = (await desk.apply(HELLO.replace("do.first", "do.other")))["version"]
    error = await refused(desk, run_id, "move", to=bad[:10])
    assert error["code"] == "cannot_move"
    assert "first" in error["message"]
    good = (await desk.apply(HELLO.replace("do.second", "do.better")))["version"]
    assert (await post(desk, run_id, "move", to="current", who="eva", why="mend"))["version"] == good
    assert (await said(desk, run_id, "run_moved"))["why"] == "mend"
    await desk.answer(await desk.command(1), ResultStatus.SUCCEEDED)
    assert (await desk.command(2)).action == "do.better"


@pytest.mark.parametrize(("to", "status"), [("0" * 12, 404), ("nope", 404), ("", 400)])
async def test_a_version_that_is_not_there(desk: Office, to: str, status: int) -> None:
    """Moving to no version is refused, with where the versions are listed."""
    run_id = await desk.start()
    await refused(desk, run_id, "move", status=status, to=to)


@pytest.mark.parametrize("action", ["pause", "resume", "approve", "retry", "move", "resolve", "cancel"])
async def test_no_such_run_is_404_and_unknown_fields_are_400(desk: Office, action: str) -> None:
    """Every action names the run that is not there, and takes nothing that it does not know."""
    known: dict[str, dict[str, Any]] = {
        "approve": {"step": "a"},
        "retry": {"now": True},
        "move": {"to": "current"},
        "resolve": {"step": "a", "decision": "skip", "why": "x"},
    }
    body = known.get(action, {})
    error = await refused(desk, "nope", action, status=404, **body)
    assert "nope" in error["message"]
    assert error["hint"]
    await refused(desk, "nope", action, status=400, **body, extra=1)
    await refused(desk, "nope", action, status=400, **{**body, "who": "x" * 257})


async def test_a_decision_names_its_task(desk: Office) -> None:
    """By index or host, not both; a host that has no task, or a step that is not there, is said."""
    await desk.apply(ASK)
    started = await desk.http.post("/api/runs", json={"workflow": "ask", "input": {"version": "7"}})
    run_id = started.json()["id"]
    second = await desk.command(2)
    await desk.answer(second, ResultStatus.UNKNOWN, error=BROKEN)
    await desk.until_status(run_id, "attention")
    body = {"step": "each", "decision": "done", "why": "seen"}
    assert (
        "exclude"
        in (await refused(desk, run_id, "resolve", 400, **body, host="web-1", host_index=1))["message"]
    )
    assert "no task" in (await refused(desk, run_id, "resolve", 400, **body, host="web-9"))["message"]
    assert (
        "no step"
        in (await refused(desk, run_id, "resolve", 404, **{**body, "step": "x"}, host="h"))["message"]
    )
    await post(desk, run_id, "resolve", **body, host_index=second.host_index, output=3)
    tasks = (await desk.run(run_id))["steps"]["each"]["hosts"]
    assert tasks[second.host_index]["output"] == 3

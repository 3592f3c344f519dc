"""Steering runs from the command line, as real processes."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.support.command import Baton
from tests.support.processes import Stage
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

CAREFUL = """\
workflow: careful
steps:
  - id: write
    action: file.write
    target: web-1
    with: {path: "DIRECTORY/${{ run.id }}.txt", content: hello}
  - id: may
    approve: {by: [eva], message: "go on with ${{ run.key }}?"}
  - id: last
    action: exec.run
    target: web-1
    with: {argv: [ARGV]}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def baton(amqp_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Baton]:
    """The command, where a coordinator and an agent run."""
    namespace = f"test-{secrets.token_hex(5)}"
    async with Stage(amqp_url, namespace, tmp_path_factory.mktemp("steer")) as stage:
        yield await Baton.on(stage)


async def apply(baton: Baton, argv: str) -> str:
    """Apply the workflow with this program in its last step; the version."""
    directory = baton.stage.directory
    text = CAREFUL.replace("DIRECTORY", str(directory)).replace("ARGV", argv)
    (directory / "careful.yaml").write_text(text)
    applied = (await baton("apply", "careful.yaml", "--json")).json["items"][0]
    return str(applied["version"])


async def asking(baton: Baton, key: str) -> str:
    """Start a run; its id, once it waits for the approval."""
    run_id = (await baton("start", "careful", "--key", key)).out.strip()

    async def look() -> bool | None:
        waiting = (await baton.coordinator.run(run_id))["steps"]["may"]["hosts"][0]["waiting"]
        return True if waiting else None

    await eventually(look, 30, what="a question")
    return run_id


async def test_a_run_is_asked_moved_approved_and_retried(baton: Baton) -> None:
    """The question is listed and shown; a mended version takes over; a failed run goes on from its step."""
    broken = await apply(baton, '"false"')
    run_id, other = await asyncio.gather(asking(baton, "a"), asking(baton, "b"))
    listed = (await baton("approvals", "list")).out
    assert run_id in listed
    assert "go on with a?" in listed
    shown = (await baton("runs", "show", run_id)).out
    assert f"baton runs approve|reject {run_id} may" in shown
    refused = await baton("runs", "approve", run_id, "may", "--who", "max")
    assert (refused.code, "one of these may: eva" in refused.err) == (1, True)

    mended = await apply(baton, '"true"')
    differs = await baton("workflows", "diff", "careful")
    assert (differs.code, "@@ step last (changed) @@" in differs.out) == (1, True)
    assert "have not begun: last" in differs.out
    assert "a run that is moved keeps" not in differs.out
    (baton.stage.directory / "longer.yaml").write_text(CAREFUL.replace("steps:", "timeout: 3h\nsteps:"))
    longer = await baton("workflows", "diff", "careful", "longer.yaml")
    assert "a run that is moved keeps what it started with: timeout" in longer.out
    versions = (await baton("workflows", "versions", "careful", "--json")).json["items"]
    assert [(one["version"], one["live_runs"]) for one in versions] == [(mended, 0), (broken, 2)]
    moved = await baton("runs", "move", run_id, "--to", mended[:10], "--why", "mended", "--json")
    assert (moved.json["version"], moved.json["started_with"]) == (mended, broken)
    for one in (run_id, other):
        assert (await baton("runs", "approve", one, "may", "--who", "eva", "--why", "fine")).code == 0
    assert (await baton("runs", "watch", run_id)).code == 0
    assert (await baton("runs", "watch", other)).code == 1
    history = (await baton("runs", "history", run_id)).out
    assert f"moved to version {mended[:12]}" in history
    assert "done by eva: fine" in history

    again = await baton("runs", "retry", other, "--from", "last", "--version", "current")
    assert (await baton("runs", "watch", again.out.strip())).code == 0
    run: Any = await baton.coordinator.run(again.out.strip())
    assert (run["retry_of"], run["steps"]["may"]["output"]["by"]) == (other, "eva")


async def test_many_runs_at_once(baton: Baton) -> None:
    """A dry run counts, nothing happens without --yes, and then all that fit are steered."""
    await apply(baton, '"true"')
    ids = await asyncio.gather(*(asking(baton, f"many{number}") for number in range(3)))
    choice = ("--workflow", "careful", "--started-after", "1h")
    counted = (await baton("runs", "pause", *choice, "--dry-run", "--json")).json
    assert counted["counts"] == [{"workflow": "careful", "status": "running", "count": 3}]
    unsure = await baton("runs", "pause", *choice)
    assert (unsure.code, "--yes" in unsure.err) == (2, True)
    assert (await baton("runs", "pause", *choice, "--yes")).out.strip() == "pause: 3 of 3 runs"
    paused = (await baton("runs", "list", "--status", "paused", "--json")).json["items"]
    assert {run["id"] for run in paused} == set(ids)
    assert (await baton("runs", "resume", *choice, "--yes")).code == 0
    done = await baton("runs", "cancel", *choice, "--yes", "--why", "over")
    assert (done.code, done.out.strip()) == (0, "cancel: 3 of 3 runs")
    ended = [await baton.coordinator.ended(key=f"many{number}") for number in range(3)]
    assert {run["status"] for run in ended} == {"cancelled"}
    assert "no runs" in (await baton("runs", "list", "--workflow", "careful", "--status", "running")).out


async def test_what_is_told_of_a_wide_run_is_cut(baton: Baton) -> None:
    """Who cancels a run of 50 items is shown the tasks that matter and counts, not every task."""
    wide = "workflow: wide\nsteps: [{id: naps, foreach: input.items, sleep: 5m}]\n"
    (baton.stage.directory / "wide.yaml").write_text(wide)
    await baton("apply", "wide.yaml")
    given = f'{{"items": {list(range(50))}}}'
    run_id = (await baton("start", "wide", "--input", given)).out.strip()
    cancelled = await baton("runs", "cancel", run_id, "--why", "enough")
    assert cancelled.code == 0
    assert "50 cancelled" in cancelled.out
    assert len(cancelled.out.splitlines()) < 30

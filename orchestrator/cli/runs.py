"""`baton start`, `baton emit`, and `baton runs list|show|watch|history`."""

import sys
from typing import Annotated, Any

from cyclopts import App, Parameter

from orchestrator.cli.bulk import moment_of
from orchestrator.cli.client import ApiClient, segment
from orchestrator.cli.output import json_text, moment, named_runs, printable, say, show_json, show_table
from orchestrator.cli.remote import Remote, data_argument, remote_of
from orchestrator.cli.steer import register
from orchestrator.cli.timeline import FEW, follow, timeline
from orchestrator.cli.words import in_words

__all__ = ["emit", "runs", "start"]

runs = App(name="runs", help="List, show, watch and steer runs.")
register(runs)

Run = Annotated[str, Parameter(help="the run's id")]


def start(
    workflow: Annotated[str, Parameter(help="the workflow's name")],
    *,
    input: Annotated[str | None, Parameter(help="the run's input: JSON, @file or @-")] = None,  # noqa: A002
    key: Annotated[str, Parameter(help="business key: one live run per key")] = "",
    wait: Annotated[
        bool, Parameter(negative="", help="follow the run to its end; exit 1 unless it succeeds")
    ] = False,
    timeout: Annotated[float | None, Parameter(help="seconds to wait at most")] = None,
    remote: Remote | None = None,
) -> int:
    """Start a run of a workflow."""
    options = remote_of(remote)
    client = options.client()
    body = {"workflow": workflow, "input": data_argument(input, "--input"), "key": key}
    started = client.post("/api/runs", body)
    if wait:
        if not options.json:
            say(f"run {started['id']}")
        return _follow(client, started["id"], options, timeout)
    if options.json:
        show_json(started)
    else:
        say(started["id"])
    return 0


def emit(
    type: Annotated[str, Parameter(help="the event's type, such as com.example.order.placed")],  # noqa: A002
    *,
    data: Annotated[str | None, Parameter(help="the event's data: JSON, @file or @-")] = None,
    source: Annotated[str, Parameter(help="who sends it")] = "/baton/cli",
    id: Annotated[  # noqa: A002
        str | None, Parameter(help="its id: the same (source, id) counts once (default: new)")
    ] = None,
    subject: Annotated[str | None, Parameter(help="what it is about")] = None,
    remote: Remote | None = None,
) -> int:
    """Send an event (a CloudEvent) and say what came of it."""
    import time
    import uuid

    from msgspec import UNSET

    from schemas.events import CONTENT_TYPE, new_event, write_event

    options = remote_of(remote)
    event = new_event(
        id=id or str(uuid.uuid4()),
        source=source,
        type=type,
        at=time.time_ns() // 1_000,
        subject=subject,
        data=UNSET if data is None else data_argument(data, "--data"),
    )
    answer = options.client().call("POST", "/api/events", body=write_event(event), content_type=CONTENT_TYPE)
    if options.json:
        show_json(answer)
    else:
        say(printable("\n".join([_outcome(answer), *named_runs(answer)])))
    return 1 if answer["outcome"] == "rejected" else 0


def _outcome(answer: dict[str, str]) -> str:
    words = {
        "started": "started",
        "delivered": "given to runs that waited for it",
        "debounced": "started nothing yet: it waits for later events",
        "throttled": "started nothing: its trigger has started as many runs as it may",
        "duplicate": "started nothing: a live run has that key",
        "no_trigger": "started nothing: no workflow has a trigger for it",
        "rejected": "started nothing: it was rejected",
    }
    reason = f" ({answer['reason']})" if answer["reason"] else ""
    return words.get(answer["outcome"], answer["outcome"]) + reason


@runs.command(name="list")
def list_runs(  # noqa: PLR0913  each is an option of the command
    *,
    workflow: str | None = None,
    status: Annotated[list[str] | None, Parameter(negative="", help="may be given several times")] = None,
    key: str | None = None,
    version: Annotated[
        str | None, Parameter(help="the beginning of its hash, or: current; with --workflow")
    ] = None,
    parent: Annotated[str | None, Parameter(help="child runs of this run")] = None,
    started_after: Annotated[str | None, Parameter(help="RFC 3339, or how long ago (2h)")] = None,
    started_before: Annotated[str | None, Parameter(help="as --started-after")] = None,
    limit: Annotated[int, Parameter(help="most runs of one page, 1 to 1000")] = 50,
    cursor: Annotated[str | None, Parameter(help="`next` of the page before")] = None,
    remote: Remote | None = None,
) -> None:
    """Runs, newest first."""
    options = remote_of(remote)
    page = options.client().get(
        "/api/runs",
        workflow=workflow,
        status=status,
        key=key,
        version=version,
        parent=parent,
        started_after=moment_of(started_after, "--started-after"),
        started_before=moment_of(started_before, "--started-before"),
        limit=limit,
        cursor=cursor,
    )
    if options.json:
        show_json(page)
        return
    rows = (
        (run["id"], run["workflow"], run["key"], run["status"], moment(run["started_at"]), run["reason"][:80])
        for run in page["items"]
    )
    show_table(page["items"], rows, ("id", "workflow", "key", "status", "started", "reason"), "no runs")
    if page["next"]:
        sys.stderr.write(f"there are more: --cursor {page['next']}\n")


@runs.command(name="show")
def show_run(
    run: Run,
    *,
    all_hosts: Annotated[
        bool, Parameter(negative="", help=f"every task of a step, not only {FEW} that matter most")
    ] = False,
    remote: Remote | None = None,
) -> None:
    """One run: its timeline, its input and output, and what it waits for."""
    options = remote_of(remote)
    few = None if all_hosts or options.json else FEW
    found = options.client().get(f"/api/runs/{segment(run)}", hosts=few)
    if options.json:
        show_json(found)
        return
    say(timeline(found))
    say(f"\nversion  {found['version']}\ntrace    {found['trace_id']}")
    for name in ("parent", "retry_of", "started_with", "group"):
        if found[name] is not None:
            say(printable(f"{name:8} {found[name]}"))
    if found["pivoted"]:
        say("pivoted  nothing is undone any more")
    for name in ("input", "output"):
        if found[name] is not None:
            say(printable(f"{name}:\n{json_text(found[name])}"))


@runs.command(name="watch")
def watch_run(
    run: Run,
    *,
    timeout: Annotated[float | None, Parameter(help="seconds to watch at most")] = None,
    remote: Remote | None = None,
) -> int:
    """Follow a run to its end; exit code 1 unless it succeeds."""
    options = remote_of(remote)
    return _follow(options.client(), run, options, timeout)


@runs.command(name="history")
def show_history(run: Run, *, remote: Remote | None = None) -> None:
    """Everything that happened to a run, oldest first."""
    options = remote_of(remote)
    client = options.client()
    items: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        page = client.get(f"/api/runs/{segment(run)}/history", cursor=cursor, limit=1000)
        items += page["items"]
        cursor = page["next"]
        if cursor is None:
            break
    if options.json:
        show_json({"items": items, "next": None})
        return
    rows = ((item["seq"], item["at"], item["fact"], in_words(item)) for item in items)
    show_table(items, rows, ("seq", "at", "fact", "about"), "nothing has happened")


def _follow(client: ApiClient, run_id: str, options: Remote, timeout: float | None) -> int:
    path = f"/api/runs/{segment(run_id)}"
    run = follow(lambda: client.get(path, hosts=FEW), quiet=options.json, limit=timeout)
    if options.json:
        show_json(client.get(path))
    return 0 if run["status"] == "succeeded" else 1

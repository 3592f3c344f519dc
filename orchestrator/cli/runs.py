"""`baton start`, `baton emit` and `baton runs …`."""

import sys
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from orchestrator.cli.client import ApiClient, segment
from orchestrator.cli.output import json_text, moment, printable, say, show_json, show_table
from orchestrator.cli.remote import Remote, data_argument, person, remote_of
from orchestrator.cli.timeline import FINAL, follow, timeline

__all__ = ["emit", "runs", "start"]

runs = App(name="runs", help="List, show, watch and steer runs.")

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
        say(printable("\n".join([_outcome(answer), *answer["runs"]])))
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
def list_runs(
    *,
    workflow: str | None = None,
    status: Annotated[list[str] | None, Parameter(negative="", help="may be given several times")] = None,
    key: str | None = None,
    limit: Annotated[int, Parameter(help="most runs of one page, 1 to 1000")] = 50,
    cursor: Annotated[str | None, Parameter(help="`next` of the page before")] = None,
    remote: Remote | None = None,
) -> None:
    """Runs, newest first."""
    options = remote_of(remote)
    page = options.client().get(
        "/api/runs", workflow=workflow, status=status, key=key, limit=limit, cursor=cursor
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
def show_run(run: Run, *, remote: Remote | None = None) -> None:
    """One run: its timeline, its input and output."""
    options = remote_of(remote)
    found = options.client().get(f"/api/runs/{segment(run)}")
    if options.json:
        show_json(found)
        return
    say(timeline(found))
    say(f"\nversion  {found['version']}\ntrace    {found['trace_id']}")
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
    rows = ((item["seq"], item["at"], item["fact"], _about(item)) for item in items)
    show_table(items, rows, ("seq", "at", "fact", "about"), "nothing has happened")


def _about(fact: dict[str, Any]) -> str:
    """What a fact says besides its kind, in one line."""
    known = {"seq", "at", "fact", "command_id", "host_index"}
    told = (
        (name, value) for name, value in fact.items() if name not in known and value not in (None, "", False)
    )
    return " ".join(
        f"{name}={value if isinstance(value, str | int) else json_line(value)}" for name, value in told
    )


def json_line(value: Any) -> str:
    """A value in short, on one line."""
    text = " ".join(json_text(value).split())
    return text if len(text) <= 120 else f"{text[:119]}…"  # noqa: PLR2004  characters


@runs.command(name="cancel")
def cancel_run(
    run: Run,
    *,
    reason: Annotated[str, Parameter(help="why, for the history")] = "cancelled by a person",
    who: Annotated[str | None, Parameter(help="who, for the history (default: the user's name)")] = None,
    wait: Annotated[bool, Parameter(negative="", help="follow the run to its end")] = False,
    remote: Remote | None = None,
) -> int:
    """Stop a run and undo what it did."""
    options = remote_of(remote)
    client = options.client()
    body = {"reason": reason, "who": who or person()}
    found = client.post(f"/api/runs/{segment(run)}/cancel", body)
    if wait:
        found = follow(lambda: client.get(f"/api/runs/{segment(run)}"), quiet=options.json)
    if options.json:
        show_json(found)
    elif not wait:
        say(timeline(found))
    return 1 if found["status"] in FINAL - {"cancelled"} else 0


@runs.command(name="resolve")
def resolve_step(  # noqa: PLR0913  each is an option of the command
    run: Run,
    step: Annotated[str, Parameter(help="the step that waits for a decision")],
    *,
    decision: Annotated[
        Literal["retry", "skip", "done"], Parameter(help="do it again, leave it, or it was done")
    ],
    why: Annotated[str, Parameter(help="for the history")],
    host_index: Annotated[int, Parameter(help="which host of the step, from 0")] = 0,
    output: Annotated[
        str | None, Parameter(help="with done: the step's output, as JSON, @file or @-")
    ] = None,
    who: Annotated[str | None, Parameter(help="for the history (default: the user's name)")] = None,
    remote: Remote | None = None,
) -> None:
    """Decide about a step in doubt or an undo that failed."""
    options = remote_of(remote)
    body = {
        "step": step,
        "decision": decision,
        "why": why,
        "host_index": host_index,
        "output": data_argument(output, "--output"),
        "who": who or person(),
    }
    found = options.client().post(f"/api/runs/{segment(run)}/resolve", body)
    if options.json:
        show_json(found)
    else:
        say(timeline(found))


def _follow(client: ApiClient, run_id: str, options: Remote, timeout: float | None) -> int:
    run = follow(lambda: client.get(f"/api/runs/{segment(run_id)}"), quiet=options.json, limit=timeout)
    if options.json:
        show_json(run)
    return 0 if run["status"] == "succeeded" else 1

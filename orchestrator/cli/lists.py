"""`baton agents`, `baton inbox` and `baton dead`."""

import sys
from typing import Annotated

from cyclopts import App, Parameter

from orchestrator.cli.client import segment
from orchestrator.cli.output import moment, named_runs, printable, say, show_json, show_table
from orchestrator.cli.remote import Remote, UsageError, remote_of

__all__ = ["agents", "dead", "inbox"]

agents = App(name="agents", help="Agents that announced themselves.")
inbox = App(name="inbox", help="What became of events and refused results.")
dead = App(name="dead", help="Dead letters: messages that nobody could handle.")


@agents.command(name="list")
def list_agents(
    *,
    pool: Annotated[str | None, Parameter(help="only those that serve this pool")] = None,
    label: Annotated[
        list[str] | None, Parameter(negative="", help="k=v; only those that have it; repeatable")
    ] = None,
    live: Annotated[bool, Parameter(negative="", help="only those that are live")] = False,
    remote: Remote | None = None,
) -> None:
    """Agents by name: whether they are live, when they were last heard, and what they offer."""
    options = remote_of(remote)
    page = options.client().get("/api/agents", pool=pool, label=label, live="true" if live else None)
    if options.json:
        show_json(page)
        return
    rows = (
        (
            one["name"],
            "yes" if one["live"] else "stopped" if one["stopping"] else "no",
            moment(one["seen_at"]),
            one["version"],
            ",".join(one["pools"]),
            ",".join(f"{name}={value}" for name, value in one["labels"].items()),
            " ".join(action["name"] for action in one["actions"]),
        )
        for one in page["items"]
    )
    headers = ("name", "live", "last seen", "version", "pools", "labels", "actions")
    show_table(page["items"], rows, headers, "no such agent has announced itself")


@inbox.command(name="list")
def list_inbox(
    *,
    outcome: Annotated[str | None, Parameter(help="only these: started, rejected, duplicate, …")] = None,
    limit: Annotated[int, Parameter(help="most of one page, 1 to 1000")] = 50,
    cursor: Annotated[str | None, Parameter(help="`next` of the page before")] = None,
    remote: Remote | None = None,
) -> None:
    """Events with their outcome and why, and results that were refused; newest first."""
    options = remote_of(remote)
    page = options.client().get("/api/inbox", outcome=outcome, limit=limit, cursor=cursor)
    if options.json:
        show_json(page)
        return
    rows = (
        (
            moment(one["at"]),
            one["kind"],
            one["source"],
            one["id"],
            one["type"],
            one["outcome"],
            one["reason"][:100] or " ".join(named_runs(one)),
        )
        for one in page["items"]
    )
    headers = ("at", "kind", "source", "id", "type", "outcome", "reason or runs")
    show_table(page["items"], rows, headers, "nothing has come in")
    if page["next"]:
        sys.stderr.write(f"there are more: --cursor {page['next']}\n")


@dead.command(name="list")
def list_dead(
    *,
    preview: Annotated[
        bool, Parameter(negative="", help="show the beginning of each body (with --json)")
    ] = False,
    remote: Remote | None = None,
) -> None:
    """Dead letters, oldest first."""
    options = remote_of(remote)
    found = options.client().get("/api/dead", preview="true" if preview else None)
    if options.json:
        show_json(found)
        return
    rows = (
        (one["id"], moment(one["at"]), one["queue"], one["routing_key"], one["size"], one["reason"][:100])
        for one in found["items"]
    )
    show_table(
        found["items"], rows, ("id", "at", "queue", "routing key", "bytes", "reason"), "no dead letters"
    )
    if found["more"]:
        sys.stderr.write(f"only the first {found['looked_at']} were looked at; there are more\n")


@dead.command(name="show")
def show_dead(
    letter: Annotated[str, Parameter(help="the letter's id")], *, remote: Remote | None = None
) -> None:
    """One dead letter, with the beginning of its body."""
    options = remote_of(remote)
    found = options.client().get(f"/api/dead/{segment(letter)}")
    if options.json:
        show_json(found)
        return
    for name, value in found.items():
        if name != "preview":
            say(printable(f"{name:12} {value}"))
    say(f"\n{printable(found['preview'])}")


@dead.command(name="replay")
def replay_dead(
    letters: Annotated[list[str] | None, Parameter(negative="", help="ids of the letters")] = None,
    /,
    *,
    all: Annotated[bool, Parameter(negative="", help="all that baton dead list shows")] = False,  # noqa: A002
    remote: Remote | None = None,
) -> int:
    """Send dead letters to where they first went. Exit code 1 when one could not be sent."""
    options = remote_of(remote)
    if all == bool(letters):
        raise UsageError("name the letters, or say --all", hint="baton dead list shows their ids")
    answer = options.client().post("/api/dead/replay", {"ids": letters or [], "all": all})
    if options.json:
        show_json(answer)
    else:
        say(f"{len(answer['replayed'])} sent again, {len(answer['failed'])} not")
        for one in answer["failed"]:
            say(printable(f"{one['id']}: {one['message']}"))
        if answer["more"]:
            sys.stderr.write("there are more: run it again\n")
    return 1 if answer["failed"] else 0

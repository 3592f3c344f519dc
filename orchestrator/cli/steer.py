"""`baton runs cancel|pause|resume|approve|reject|resolve|retry|move`, one run or many; `baton approvals`."""

from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from orchestrator.cli.bulk import Many, steer_many
from orchestrator.cli.client import segment
from orchestrator.cli.output import moment, printable, say, show_json, show_table
from orchestrator.cli.remote import Remote, UsageError, data_argument, person, remote_of
from orchestrator.cli.timeline import FEW, FINAL, follow, timeline

__all__ = ["approvals", "register"]

approvals = App(name="approvals", help="What people are asked to approve.")

Run = Annotated[str | None, Parameter(help="the run's id; or say which by --workflow, --status, …")]
Step = Annotated[str | None, Parameter(help="the step")]
Why = Annotated[str, Parameter(help="why, for the history")]
Who = Annotated[str | None, Parameter(help="who, for the history (default: the user's name)")]
Host = Annotated[str | None, Parameter(help="of several: a host's name, or an index from 0")]
Item = Annotated[int, Parameter(name="--host", help="of a foreach: which item, from 0")]


def register(runs: App) -> None:
    """Add the commands to `baton runs`."""
    for name, command in (
        ("cancel", cancel_run),
        ("pause", pause_run),
        ("resume", resume_run),
        ("approve", approve_step),
        ("reject", reject_step),
        ("resolve", resolve_step),
        ("retry", retry_run),
        ("move", move_run),
    ):
        runs.command(command, name=name)


def cancel_run(
    run: Run = None,
    *,
    why: Annotated[str, Parameter(name=["--why", "--reason"], help="why, for the history")] = "",
    who: Who = None,
    wait: Annotated[bool, Parameter(negative="", help="follow the run to its end")] = False,
    many: Many | None = None,
    remote: Remote | None = None,
) -> int:
    """Stop a run and undo what it did."""
    options = remote_of(remote)
    if not wait:
        return _steer(options, run, many, "cancel", _said(who, why))
    if run is None:
        raise UsageError("--wait is for one run")
    client = options.client()
    client.post(f"/api/runs/{segment(run)}/cancel", _said(who, why))
    path = f"/api/runs/{segment(run)}"
    found = follow(lambda: client.get(path, hosts=FEW), quiet=options.json)
    if options.json:
        show_json(client.get(path))
    return 1 if found["status"] in FINAL - {"cancelled"} else 0


def pause_run(
    run: Run = None, *, why: Why = "", who: Who = None, many: Many | None = None, remote: Remote | None = None
) -> int:
    """Let nothing new start, neither a step nor an undo; what is under way goes on."""
    return _steer(remote_of(remote), run, many, "pause", _said(who, why))


def resume_run(
    run: Run = None, *, why: Why = "", who: Who = None, many: Many | None = None, remote: Remote | None = None
) -> int:
    """Let a paused run go on."""
    return _steer(remote_of(remote), run, many, "resume", _said(who, why))


def approve_step(
    run: Run = None,
    step: Step = None,
    *,
    host: Item = 0,
    why: Why = "",
    who: Who = None,
    many: Many | None = None,
    remote: Remote | None = None,
) -> int:
    """Approve what an approve step asks."""
    given = _answer(step, host, who, why, approved=True)
    return _steer(remote_of(remote), run, many, "approve", given)


def reject_step(
    run: Run = None,
    step: Step = None,
    *,
    host: Item = 0,
    why: Why = "",
    who: Who = None,
    many: Many | None = None,
    remote: Remote | None = None,
) -> int:
    """Reject what an approve step asks: the step fails."""
    given = _answer(step, host, who, why, approved=False)
    return _steer(remote_of(remote), run, many, "approve", given)


def resolve_step(  # noqa: PLR0913  each is an option of the command
    run: Run = None,
    step: Step = None,
    *,
    decision: Annotated[
        Literal["retry", "skip", "done"], Parameter(help="do it again, leave it, or it was done")
    ],
    why: Annotated[str, Parameter(help="for the history")],
    host: Host = None,
    output: Annotated[
        str | None, Parameter(help="with done: the step's output, as JSON, @file or @-")
    ] = None,
    who: Who = None,
    many: Many | None = None,
    remote: Remote | None = None,
) -> int:
    """Decide about a step in doubt, an undo that failed, or a step that failed and waits for a person."""
    given = {
        **_said(who, why),
        "step": _needed(step),
        "decision": decision,
        "output": data_argument(output, "--output"),
    }
    if host is not None:
        given |= {"host_index": int(host)} if host.isdecimal() else {"host": host}
    return _steer(remote_of(remote), run, many, "resolve", given)


def retry_run(  # noqa: PLR0913  each is an option of the command
    run: Run = None,
    *,
    now: Annotated[
        bool, Parameter(negative="", help="make attempts that wait for their turn at once")
    ] = False,
    from_: Annotated[
        str | None, Parameter(name="--from", help="do this step and what depends on it again")
    ] = None,
    version: Annotated[
        Literal["same", "current"], Parameter(help="of a run that has ended: which version the new run takes")
    ] = "same",
    why: Why = "",
    who: Who = None,
    many: Many | None = None,
    remote: Remote | None = None,
) -> int:
    """Try again: waiting attempts now, or from a step on. Of a run that has ended a new one is made."""
    if now == (from_ is not None):
        raise UsageError("say either --now or --from STEP")
    given: dict[str, Any] = {"now": True} if now else {"from": from_, "version": version}
    return _steer(remote_of(remote), run, many, "retry", {**_said(who, why), **given})


def move_run(
    run: Run = None,
    *,
    to: Annotated[str, Parameter(help="the beginning of a version's hash, or: current")],
    why: Why = "",
    who: Who = None,
    many: Many | None = None,
    remote: Remote | None = None,
) -> int:
    """Let a live run keep to another version, where what it has begun is unchanged."""
    return _steer(remote_of(remote), run, many, "move", {**_said(who, why), "to": to})


@approvals.command(name="list")
def list_approvals(
    *,
    limit: Annotated[int, Parameter(help="most runs of one page, 1 to 1000")] = 100,
    cursor: Annotated[str | None, Parameter(help="`next` of the page before")] = None,
    remote: Remote | None = None,
) -> None:
    """Steps that wait for a person's approval."""
    options = remote_of(remote)
    page = options.client().get("/api/approvals", limit=limit, cursor=cursor)
    if options.json:
        show_json(page)
        return
    rows = (
        (
            one["run"],
            one["workflow"],
            one["key"],
            f"{one['step']}[{one['index']}]" if one["item"] else one["step"],
            ", ".join(one["by"]) or "anybody",
            moment(one["until"]),
            one["message"][:100],
        )
        for one in page["items"]
    )
    headers = ("run", "workflow", "key", "step", "by", "until", "message")
    show_table(page["items"], rows, headers, "nobody is asked for anything")


def _steer(options: Remote, run: str | None, many: Many | None, action: str, given: dict[str, Any]) -> int:
    """Do it to the one run, or to all that are meant."""
    chosen = Many() if many is None else many
    if run is None:
        if not chosen.filter:
            raise UsageError(
                "which run? give its id, or say which runs", hint="--workflow, --status, --key, --parent, …"
            )
        return steer_many(options, chosen, action, given)
    if chosen != Many():
        raise UsageError("a run's id and a choice of many exclude each other")
    client, path = options.client(), f"/api/runs/{segment(run)}"
    answer = client.post(f"{path}/{action}", given)
    if options.json:
        show_json(answer)
    elif action == "retry":
        say(printable(answer["id"]))
    else:
        say(timeline(client.get(path, hosts=FEW)))  # the answer has every task of the run
    return 1 if action == "cancel" and answer["status"] in FINAL - {"cancelled"} else 0


def _answer(step: str | None, host: int, who: str | None, why: str, *, approved: bool) -> dict[str, Any]:
    return {**_said(who, why), "step": _needed(step), "host_index": host, "approved": approved}


def _said(who: str | None, why: str) -> dict[str, Any]:
    return {"who": who or person(), "why": why}


def _needed(step: str | None) -> str:
    if step is None:
        raise UsageError("which step? name it after the run, or with --step")
    return step

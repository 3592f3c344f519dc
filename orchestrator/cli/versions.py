"""`baton workflows versions|diff`: which versions there are, and what differs between two."""

from pathlib import Path
from typing import Annotated, Any, Final

from cyclopts import App, Parameter

from orchestrator.cli.client import ApiClient, segment
from orchestrator.cli.output import moment, printable, say, show_json, show_table
from orchestrator.cli.remote import Remote, UsageError, remote_of
from schemas.errors import NotFound
from schemas.workflow import Workflow

__all__ = ["register"]

CURRENT: Final = "current"
SHORT: Final = 12
_FILES: Final = (".yaml", ".yml", ".json")

Name = Annotated[str, Parameter(help="the workflow's name")]


def register(workflows: App) -> None:
    """Add the commands to `baton workflows`."""
    workflows.command(list_versions, name="versions")
    workflows.command(diff_versions, name="diff")


def list_versions(name: Name, *, remote: Remote | None = None) -> None:
    """Every version that was ever applied, the latest first, and how many live runs keep to it."""
    options = remote_of(remote)
    page = options.client().get(f"/api/workflows/{segment(name)}/versions")
    if options.json:
        show_json(page)
        return
    rows = (
        (
            one["version"][:SHORT],
            "current" if one["current"] else "",
            moment(one["applied_at"]),
            one["live_runs"],
        )
        for one in page["items"]
    )
    show_table(page["items"], rows, ("version", "", "applied", "live runs"), "no versions")


def diff_versions(
    name: Name,
    old: Annotated[
        str | None,
        Parameter(help="the beginning of a hash, `current`, or a file (default: the one before)"),
    ] = None,
    new: Annotated[str | None, Parameter(help="likewise (default: current)")] = None,
    /,
    *,
    remote: Remote | None = None,
) -> int:
    """What differs between two versions, step by step; 1 when something does.

    With one file and nothing else: what applying it would change.
    """
    from orchestrator.definition_diff import diff_definitions, diff_text

    options = remote_of(remote)
    client = options.client()
    if old is not None and new is None and _is_file(old):
        old, new = CURRENT, old
    first = _take(client, name, old or _before(client, name))
    second = _take(client, name, new or CURRENT)
    found = diff_definitions(first[1], second[1])
    if options.json:
        import msgspec

        show_json({"old": first[0], "new": second[0], **msgspec.to_builtins(found)})
    elif found.is_empty:
        say("no difference")
    else:
        say(printable(diff_text(first[1], second[1], (f"{name} {first[0]}", f"{name} {second[0]}"))))
        say(f"\n{_movable(found.fixed)}")
        if found.kept:
            say(f"a run that is moved keeps what it started with: {', '.join(found.kept)}")
    return 0 if found.is_empty else 1


def _movable(fixed: list[str]) -> str:
    """Which live runs could be moved."""
    if not fixed:
        return "every live run can be moved: baton runs move RUN --to VERSION"
    return printable(f"live runs can be moved as long as they have not begun: {', '.join(fixed)}")


def _take(client: ApiClient, name: str, which: str) -> tuple[str, Workflow]:
    """How a version is called, and its document; raises what is wrong with a file."""
    if _is_file(which):
        from orchestrator.document import read_workflow

        try:
            definition = read_workflow(Path(which).read_bytes(), which)
        except OSError as error:
            raise UsageError(f"cannot read {which}: {error.strerror}") from None
        return which, definition.document
    import msgspec

    version = None if which == CURRENT else which
    found: dict[str, Any] = client.get(f"/api/workflows/{segment(name)}", version=version)
    return found["version"][:SHORT], msgspec.convert(found["document"], Workflow)


def _before(client: ApiClient, name: str) -> str:
    """The version that was applied before the current one."""
    versions = client.get(f"/api/workflows/{segment(name)}/versions")["items"]
    others = [one["version"] for one in versions if not one["current"]]
    if not others:
        raise NotFound(
            f"workflow '{name}' has only one version",
            hint=f"baton workflows diff {name} FILE compares a file",
        )
    return str(others[0])


def _is_file(which: str) -> bool:
    return which.endswith(_FILES) or "/" in which

"""Secrets at the agent: where it finds them, what becomes of commands that name some, what it never says."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agents import ActionError, Agent, Context, Probed
from agents.answers import Identity
from agents.intake import Workshop
from agents.journal import Batch, Entry, Journal, Unsettled
from agents.processes import Processes
from agents.recovery import recover
from agents.secrets import NoSecret, Secrets
from runtime.bus.port import Message
from schemas.codec import decode, encode
from schemas.messages import Command, CommandKind, Result, ResultStatus
from schemas.names import AGAIN_HEADER
from schemas.secrets import SecretName, SecretRef
from schemas.times import from_datetime
from tests.support.actions import QUICK
from tests.support.agents import Desk, about, command, serving

CANARY = "canary-7e1b-password"
PASSWORD = [SecretRef(["password"], [SecretName("db-password")])]


def asking(action: str, args: dict[str, Any] | None = None, **changes: Any) -> Command:
    """A command whose argument `password` is the secret `db-password`."""
    return command(action, {"password": None, **(args or {})}, **{"secrets": PASSWORD, **changes})


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A directory with the secret `db-password`."""
    made = tmp_path / "secrets"
    made.mkdir()
    (made / "db-password").write_text(f"{CANARY}\n")
    return made


def value(secrets: Secrets, name: str = "db-password") -> str:
    """The value of a secret."""
    args, _ = secrets.resolve(command("x", {"a": None}, secrets=[SecretRef(["a"], [SecretName(name)])]))
    return str(args["a"])


# where they are


@pytest.mark.parametrize(
    ("content", "wanted"),
    [("x\n", "x"), ("x\r\n", "x"), ("x\n\n", "x\n"), (" x ", " x "), ("a\nb\n", "a\nb")],
)
def test_a_file_holds_a_secret(store: Path, content: str, wanted: str) -> None:
    """As it is, but for one line end; read anew each time."""
    secrets = Secrets(store, {})
    assert value(secrets) == CANARY
    (store / "db-password").write_bytes(content.encode())
    assert value(secrets) == wanted


def test_else_a_variable_does(store: Path) -> None:
    """In capitals, with `_` for `-` and `.`; a file goes first."""
    environ = {"BATON_SECRET_DB_PASSWORD": "other", "BATON_SECRET_A_B_C": "abc"}
    assert value(Secrets(store, environ)) == CANARY
    assert value(Secrets(store, environ), "a.b-c") == "abc"
    assert value(Secrets(None, environ)) == "other"


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "empty"), (b"\n", "empty"), (b"\xff\xfe", "UTF-8"), (b"x" * (64 * 1024 + 1), "larger")],
)
def test_a_secret_must_be_of_use(store: Path, content: bytes, says: str) -> None:
    """Else it is as good as none; what it is, is not said."""
    (store / "bad").write_bytes(content)
    with pytest.raises(NoSecret, match=f"'bad': .*{says}"):
        value(Secrets(store, {}), "bad")


def test_only_plain_files_are_read(store: Path) -> None:
    """No directory, no pipe on whose other end nobody is, nothing outside; a link is the file it leads to."""
    (store / "folder").mkdir()
    os.mkfifo(store / "pipe")
    (store / "link").symlink_to(store / "db-password")
    for name in ("folder", "pipe"):
        with pytest.raises(NoSecret, match="not a plain file"):
            value(Secrets(store, {}), name)
    assert value(Secrets(store, {}), "link") == CANARY
    with pytest.raises(NoSecret, match="does not have it"):
        value(Secrets(store, {}), "none")


# what becomes of commands


def forgetful() -> Agent:
    """Actions that give their secret away in every way there is."""
    agent = Agent()

    @agent.action("tell")
    async def tell(ctx: Context, password: str, how: str) -> Any:
        ctx.log(f"connecting with {password}")
        if how == "error":
            raise ActionError(f"no {password}", f"refused {password}", details={password: [password]})
        if how == "exception":
            raise ValueError(password)
        if how == "deep":
            nested: Any = password
            for _ in range(80):
                nested = [nested]
            return nested
        return {"url": f"pg://u:{password}@h", password: 1}

    @agent.action("hold")
    async def hold(ctx: Context, password: str) -> None:
        ctx.progress({"with": password})
        ctx.log(password)
        await ctx.run(["sleep", "600"])

    @agent.action("count")
    async def count(ctx: Context, password: int) -> None:
        raise AssertionError("it was checked before")

    @agent.action("choose", idempotent=True)
    async def choose(ctx: Context, password: str) -> str:
        return "chosen"

    return agent


def journal_of(directory: Path) -> bytes:
    """All that the agent has on disk of its own."""
    return b"".join(path.read_bytes() for path in directory.glob("journal*"))


def said(desk: Desk, directory: Path) -> str:
    """Everything the agent said; asserts that neither it nor the journal has the value."""
    text = encode(desk.results).decode()
    assert CANARY not in text
    assert CANARY.encode() not in journal_of(directory)
    return text


@pytest.mark.parametrize(
    ("how", "code"),
    [("output", None), ("error", "no ***"), ("exception", "exception"), ("deep", "bad_output")],
)
async def test_a_value_comes_back_as_stars(store: Path, tmp_path: Path, how: str, code: str | None) -> None:
    """From the output, the error with its details, the traceback and the log; the journal never has it."""
    async with serving(tmp_path, forgetful(), secrets=Secrets(store, {})) as (desk, _):
        asked = asking("tell", {"how": how})
        await desk.send(asked)
        result = await desk.final(asked)
        assert "***" in said(desk, tmp_path)
        assert result.log.startswith("connecting with ***\n")
        assert (result.error.code if result.error else None) == code
        if how == "output":
            assert result.output == {"url": "pg://u:***@h", "***": 1}
        if how == "error":
            assert result.error is not None
            assert (result.error.message, result.error.details) == ("refused ***", {"***": ["***"]})


async def test_a_command_without_secrets_is_left_alone(store: Path, tmp_path: Path) -> None:
    """What it gives is not searched, even for a value that the agent knows."""
    async with serving(tmp_path, forgetful(), secrets=Secrets(store, {})) as (desk, _):
        asked = command("tell", {"password": CANARY, "how": "output"})
        await desk.send(asked)
        assert (await desk.final(asked)).output == {"url": f"pg://u:{CANARY}@h", CANARY: 1}


async def test_progress_and_what_is_killed_hide_it(store: Path, tmp_path: Path) -> None:
    """Also an attempt that is stopped tells its log."""
    async with serving(tmp_path, forgetful(), limits=QUICK, secrets=Secrets(store, {})) as (desk, _):
        asked = asking("hold", timeout=0.4)
        await desk.send(asked)
        result = await desk.final(asked)
        assert result.status is ResultStatus.TIMED_OUT
        assert result.log == "***\n"
        assert {"with": "***"} in [each.output for each in desk.results]
        said(desk, tmp_path)


async def test_a_program_gets_it_on_its_input_and_not_in_its_environment(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Resolved like any argument; the variables that hold secrets are not passed on."""
    monkeypatch.setenv("BATON_SECRET_OTHER", "other-value")
    async with serving(tmp_path, secrets=Secrets(store)) as (desk, _):
        script = "cat; env; grep -c . /proc/self/cmdline >&2; cat /proc/$PPID/cmdline >&2; exit 3"
        secrets = [SecretRef(["stdin"], ["it is ", SecretName("db-password"), "!"])]
        asked = command("exec.run", {"argv": ["sh", "-c", script], "stdin": None}, secrets=secrets)
        await desk.send(asked)
        result = await desk.final(asked)
        text = said(desk, tmp_path)
        assert result.error is not None
        assert result.error.details["stdout"].startswith("it is ***!")
        assert "other-value" not in text
        assert "BATON_SECRET" not in text


async def test_a_value_that_a_limit_cuts_through_does_not_show(store: Path, tmp_path: Path) -> None:
    """Of output that is longer than what is kept, the first piece may be the rest of a secret."""
    code = "import sys; sys.stdout.write(sys.stdin.read() * 1500); sys.exit(1)"
    async with serving(tmp_path, secrets=Secrets(store, {})) as (desk, _):
        for dashes in range(4, 24, 3):
            secrets = [SecretRef(["stdin"], [SecretName("db-password"), "-" * dashes])]
            args = {"argv": ["python3", "-c", code], "stdin": None}
            asked = command("exec.run", args, secrets=secrets, attempt=dashes)
            await desk.send(asked)
            result = await desk.final(asked)
            assert result.error is not None
            assert result.error.details["stdout"].count("***") > 20
        text = said(desk, tmp_path)
        assert all(CANARY[i : i + 4] not in text for i in range(len(CANARY) - 3))


@pytest.mark.parametrize(
    ("changes", "code", "says"),
    [
        ({"secrets": [SecretRef(["password"], [SecretName("none")])]}, "no_secret", "'none'"),
        ({"secrets": [SecretRef(["nowhere"], [SecretName("db-password")])]}, "bad_reference", "args.nowhere"),
        ({"secrets": PASSWORD * 2}, "bad_reference", "args.password"),
        ({"action": "count"}, "bad_arguments", "password"),
    ],
)
async def test_what_cannot_be_resolved_is_rejected(
    store: Path, tmp_path: Path, changes: dict[str, Any], code: str, says: str
) -> None:
    """For good, before it starts, and in words that do not give the value away."""
    async with serving(tmp_path, forgetful(), secrets=Secrets(store, {})) as (desk, _):
        asked = asking(**{"action": "choose", **changes})
        await desk.send(asked)
        result = await desk.final(asked)
        assert (result.status, result.started_at) == (ResultStatus.REJECTED, None)
        assert result.error is not None
        assert (result.error.code, result.error.retryable) == (code, False)
        assert says in encode(result.error).decode()
        said(desk, tmp_path)


async def test_data_that_looks_like_a_reference_is_data(store: Path, tmp_path: Path) -> None:
    """Only `secrets` of a command names some."""
    agent = Agent()

    @agent.action("echo")
    async def echo(ctx: Context, what: Any) -> Any:
        return what

    looks = {
        "$secret": "db-password",
        "parts": [{"name": "db-password"}],
        "t": '${{ secret("db-password") }}',
    }
    async with serving(tmp_path, agent, secrets=Secrets(store, {})) as (desk, _):
        asked = command("echo", {"what": looks})
        await desk.send(asked)
        assert (await desk.final(asked)).output == looks


# rule 7


async def test_a_copy_denies_nothing_for_want_of_a_secret(tmp_path: Path) -> None:
    """Another agent of the pool may have the secret and have run it (rule 7)."""
    async with serving(tmp_path, forgetful(), pools=("p",), secrets=Secrets(None, {})) as (desk, _):
        asked = asking("choose")
        key = desk.topology.pool_key("p")
        again = Message(desk.topology.commands, key, encode(asked), {AGAIN_HEADER: True}, mandatory=True)
        await desk.bus.publish([again])
        assert (await desk.final(asked)).status is ResultStatus.UNKNOWN


@pytest.mark.parametrize(("action", "status"), [("tell", "rejected"), ("choose", "unknown")])
def test_a_restart_without_the_secret(tmp_path: Path, action: str, status: str) -> None:
    """What is idempotent may have run before, when it was there; anything else certainly did not start."""
    workshop = Workshop(Identity("a", "i"), forgetful().actions, tmp_path, Processes(), Secrets(None, {}))
    asked = asking(action, {"how": "output"} if action == "tell" else {})
    now = datetime.now(UTC)
    plan = recover([Unsettled(1, asked.id, "received", encode(asked), "", "0", None, None)], workshop, now)
    ((_, _, body),) = plan.finished
    assert decode(body, Result).status == status


async def test_a_probe_gets_the_secret_and_hides_it(store: Path, tmp_path: Path) -> None:
    """With the same arguments as the action; without the secret nobody knows more than before."""
    agent = Agent()

    async def look(ctx: Context, password: str) -> Probed:
        ctx.log(password)
        assert password == CANARY
        return Probed.done({"was": password})

    @agent.action("charge", probe=look)
    async def charge(ctx: Context, password: str) -> None:
        raise AssertionError("never run again")

    asked = asking("charge")
    at = from_datetime(datetime.now(UTC) - timedelta(seconds=5))
    journal = Journal(tmp_path / "journal.db")
    await journal.open()
    row = Entry(asked.id, "received", False, encode(asked), "", "0", at, at)
    await journal.write(Batch(received=[row], started=[(at, asked.id)]))
    await journal.close()
    async with serving(tmp_path, agent, secrets=Secrets(None, {})) as (desk, _):
        assert (await desk.final(asked)).status is ResultStatus.UNKNOWN
    async with serving(tmp_path, agent, secrets=Secrets(store, {})) as (desk, _):
        await desk.send(about(CommandKind.QUERY, asked))
        result = await desk.final(asked)
        assert (result.status, result.output, result.log) == (ResultStatus.SUCCEEDED, {"was": "***"}, "***\n")
        said(desk, tmp_path)

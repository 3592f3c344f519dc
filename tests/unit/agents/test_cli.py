"""The agent's command line: what it refuses, and how it says so."""

import os
import socket
from pathlib import Path

import pytest

from agents import cli


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings from outside, a directory of its own, and the log as the tests have it."""
    agent = ("AGENT_NAME", "AGENT_QUEUE_TYPE", "AGENT_CONCURRENCY", "AGENT_SECRETS")
    for name in ("AMQP_URL", "STATE_DIR", "NAMESPACE", *agent):
        monkeypatch.delenv(f"BATON_{name}", raising=False)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "set_up_logging", lambda: None)


def run(*arguments: str) -> int:
    """The exit code of `baton-agent` with these arguments."""
    try:
        return cli.main(arguments)
    except SystemExit as ended:  # argparse's own way out
        return int(ended.code or 0)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--name", "no spaces"], "agent's name"),
        (["--pool", ""], "pool's name"),
        (["--label", "role"], "--label role"),
        (["--concurrency", "0"], "concurrency"),
        (["--module", "none.py"], "none.py"),
        (["--program", "x"], "--program x"),
        (["--program", "app.x=/no/such"], "/no/such"),
        (["--program", "exec.run=/bin/true"], "exec.run"),
        (["--probe", "x"], "--probe x"),
        (["--probe", "app.x=/bin/true"], "--program app.x=PATH"),
        (["--probe", "exec.run=/bin/true"], "no --program is the action 'exec.run'"),
        (["--program", "app.x=/bin/true", "--probe", "app.x=/no/such"], "/no/such"),
        (["--amqp", "http://x"], "amqp://"),
        (["--namespace", "a b"], "namespace"),
        (["--agent-queue-type", "mirrored"], "mirrored"),
        (["--state-dir", "/dev/null/x"], "/dev/null/x"),
        (["--secrets", "/no/such"], "--secrets /no/such"),
        (["--nonsense"], "--nonsense"),
    ],
)
def test_a_bad_flag_is_said_clearly(
    capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    """Exit code 2, naming it, without a traceback."""
    assert run(*arguments) == 2
    told = capsys.readouterr().err
    assert says in told
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BATON_AGENT_NAME", "no spaces"),
        ("BATON_AGENT_CONCURRENCY", "x"),
        ("BATON_NAMESPACE", "a b"),
        ("CREDENTIALS_DIRECTORY", "/no/such"),
    ],
)
def test_the_environment_is_checked_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """As a flag would be."""
    monkeypatch.setenv(name, value)
    assert run() == 2
    assert value in capsys.readouterr().err


def test_flags_and_environment_make_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flag wins over the environment, which wins over the default."""
    monkeypatch.setenv("BATON_NAMESPACE", "acme")
    monkeypatch.setenv("BATON_AGENT_NAME", "other")
    arguments = ["--name", "web-1", "--label", "role=web", "--label", "site=", "--pool", "p", "--pool", "p"]
    settings = cli._settings(cli._parser(os.environ).parse_args(arguments))
    assert (settings.name, settings.topology.namespace) == ("web-1", "acme")
    assert (settings.labels, settings.pools) == ({"role": "web", "site": ""}, ("p",))
    assert (settings.concurrency, settings.queue_type) == (16, "quorum")
    assert settings.state_dir == Path(".baton/agents/web-1")


def test_the_name_is_the_hosts_by_default() -> None:
    """So that one agent for each host needs no flag."""
    assert cli._parser({}).parse_args([]).name == socket.gethostname()


def test_secrets_are_where_systemd_puts_credentials(tmp_path: Path) -> None:
    """Unless the environment or a flag says otherwise; else there is no directory."""

    def directory(environ: dict[str, str], *arguments: str) -> Path | None:
        return cli._settings(cli._parser(environ).parse_args(arguments)).secrets._directory

    for name in ("systemd", "own", "flag"):
        (tmp_path / name).mkdir()
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path / "systemd")}
    assert directory({}) is None
    assert directory(environ) == tmp_path / "systemd"
    environ["BATON_AGENT_SECRETS"] = str(tmp_path / "own")
    assert directory(environ) == tmp_path / "own"
    assert directory(environ, "--secrets", str(tmp_path / "flag")) == tmp_path / "flag"


def test_help_names_every_flag(capsys: pytest.CaptureFixture[str]) -> None:
    """And ends well."""
    assert run("--help") == 0
    told = capsys.readouterr().out
    for flag in ("--amqp", "--name", "--state-dir", "--label", "--pool", "--module", "--program"):
        assert flag in told

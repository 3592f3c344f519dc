"""Commands that need no coordinator: `check`, usage errors, and what happens when nobody answers."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from orchestrator.cli import main
from tests.support.office import HELLO

NOBODY = "http://127.0.0.1:1"


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A directory without settings, and an environment without any."""
    for name in ("BATON_URL", "BATON_TOKEN", "BATON_AMQP_URL", "BATON_LOG_LEVEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_check_finds_everything(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each mistake of each file is a line with its place, and the exit code is 1."""
    (elsewhere / "good.yaml").write_text(HELLO)
    (elsewhere / "bad.yaml").write_text("workflow: bad\nsteps:\n  - id: a\n    target: x\n    foo: 1\n")
    assert main(["check", "good.yaml", "bad.yaml"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("good.yaml: ok, workflow hello")
    assert [line.split(": ")[0] for line in lines[1:]] == ["bad.yaml:3:5", "bad.yaml:5:5"]
    assert main(["check", "good.yaml"]) == 0


def test_check_finds_circles(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Workflows that start each other are good one by one, and wrong together."""
    for one, other in (("a", "b"), ("b", "a")):
        (elsewhere / f"{one}.yaml").write_text(f"workflow: {one}\nsteps: [{{id: s, workflow: {other}}}]\n")
        assert main(["check", f"{one}.yaml"]) == 0
    capsys.readouterr()
    assert main(["check", "a.yaml", "b.yaml"]) == 1
    circle, good = capsys.readouterr().out.splitlines()
    assert circle.startswith("a.yaml:2:27: workflows start each other in a circle: a -> b -> a")
    assert good.startswith("b.yaml: ok")


def test_check_as_json(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With `--json` there is one object with a report for each file."""
    (elsewhere / "bad.yaml").write_text("workflow: bad\n")
    assert main(["check", "--json", "bad.yaml"]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer["ok"] is False
    [report] = answer["files"]
    assert (report["file"], report["workflow"]) == ("bad.yaml", None)
    assert report["diagnostics"][0]["line"] == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["nope"],
        ["runs", "nope"],
        ["check"],
        ["check", "no-such-file.yaml"],
        ["start"],
        ["start", "w", "--nope"],
        ["start", "w", "--input", "{bad"],
        ["start", "w", "--input", "@no-such-file"],
        ["emit", "t", "--data", "NaN"],
        ["runs", "resolve", "r", "s", "--decision", "perhaps", "--why", "x"],
        ["dead", "replay"],
        ["dead", "replay", "x", "--all"],
    ],
)
def test_a_command_that_makes_no_sense_is_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Usage errors are told on stderr, without a traceback, and nothing is asked of anybody."""
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert said.err
    assert "Traceback" not in said.err + said.out


@pytest.mark.parametrize(
    "arguments",
    [
        ["runs", "list"],
        ["start", "w"],
        ["emit", "t"],
        ["workflows", "list"],
        ["agents", "list"],
        ["inbox", "list"],
        ["dead", "list"],
        ["dead", "replay", "--all"],
        ["runs", "cancel", "r"],
    ],
)
def test_nobody_there_is_3(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """When nobody answers, the error names the address and what to do; with `--json` it is JSON on stdout."""
    assert main([*arguments, "--url", NOBODY]) == 3
    assert NOBODY in capsys.readouterr().err
    assert main([*arguments, "--url", NOBODY, "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "unreachable"


def test_settings_of_the_file_and_the_environment_count(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`baton.toml` is read, the environment wins over it, a flag over both; a bad one is named."""
    (elsewhere / "baton.toml").write_text('url = "http://127.0.0.1:2"\n')
    main(["runs", "list"])
    assert "127.0.0.1:2" in capsys.readouterr().err
    monkeypatch.setenv("BATON_URL", "http://127.0.0.1:3")
    main(["runs", "list"])
    assert "127.0.0.1:3" in capsys.readouterr().err
    (elsewhere / "baton.toml").write_text("nope = 1\n")
    assert main(["runs", "list"]) == 1
    assert "nope" in capsys.readouterr().err


@pytest.mark.parametrize("url", ["ftp://x", "nonsense", "http://"])
def test_what_is_no_url_is_said(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A URL that cannot be one is refused with an example."""
    assert main(["runs", "list", "--url", url]) == 1
    assert "no URL" in capsys.readouterr().err


class _Stranger(BaseHTTPRequestHandler):
    """A web server that is not Baton."""

    def do_GET(self) -> None:
        """Answer with a page."""
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>hello</html>")

    def log_message(self, *_: object) -> None:
        """Be quiet."""


@pytest.fixture
def stranger() -> Iterator[str]:
    """Where a stranger answers."""
    with HTTPServer(("127.0.0.1", 0), _Stranger) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_stranger_at_the_address_is_said(stranger: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What answers but is not Baton is named as such."""
    assert main(["runs", "list", "--url", stranger]) == 1
    assert "is not Baton" in capsys.readouterr().err


def test_a_proxy_setting_is_not_obeyed(
    stranger: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The API is asked directly, whatever the environment says of proxies."""
    monkeypatch.setenv("http_proxy", NOBODY)
    main(["runs", "list", "--url", stranger])
    assert "is not Baton" in capsys.readouterr().err


def test_help_needs_nothing_heavy() -> None:
    """`baton --help` imports neither the API, the broker's library, expressions nor the HTTP client."""
    heavy = (
        "litestar",
        "uvicorn",
        "aio_pika",
        "aiosqlite",
        "httpx",
        "cel_expr_python",
        "jsonschema",
        "ruamel",
        "opentelemetry",
    )
    code = (
        "import sys; from orchestrator.cli import main; status = main(['--help'])\n"
        f"sys.stderr.write(' '.join(name for name in {heavy!r} if name in sys.modules)); sys.exit(status)"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "coordinator" in done.stdout


def test_a_fault_of_ours_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An exception that nobody foresaw shows no traceback, and says how to see more."""

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("orchestrator.cli.client.ApiClient._exchange", broken)
    assert main(["runs", "list"]) == 1
    said = capsys.readouterr().err
    assert "ZeroDivisionError: oops" in said
    assert "Traceback" not in said


def test_ctrl_c_is_quiet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Ctrl-C ends a command with 130 and says nothing."""

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("orchestrator.cli.client.ApiClient._exchange", interrupted)
    assert main(["runs", "list"]) == 130
    assert capsys.readouterr().err == ""

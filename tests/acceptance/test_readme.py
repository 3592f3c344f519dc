"""The README's own commands do what the README says: they are taken from it, and run as a new user would.

Everything happens in a directory that looks like a fresh clone: `baton up` in one process, the blocks of
commands in others. What a `text` block shows must be what the block before it prints, but for ids and times.
"""

import asyncio
import os
import re
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio

from agents.loading import load_actions
from orchestrator.document import check_text, read_workflow
from orchestrator.local.launch import docker_runs, find_server
from schemas.workflow import STEP_KINDS
from tests.support.processes import free_port
from tests.support.waiting import eventually, until

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
HELLO = Path("examples") / "hello" / "welcome.yaml"
RELEASE = Path("examples") / "release_web" / "release.yaml"
LANGUAGE = "The language in one example, and how to try it out"
API = "http://127.0.0.1:8040"
NOTES = "/tmp/baton-welcome"

pytestmark = [
    pytest.mark.skipif(
        find_server() is None and not docker_runs(), reason="there is no RabbitMQ to start a node of"
    ),
    pytest.mark.timeout(300),
]
of_module = pytest.mark.asyncio(loop_scope="module")

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_RUN = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
_DIFFERS = (
    (_RUN, "RUN"),
    (re.compile(r"\b[0-9a-f]{64}\b|\b[0-9a-f]{32}\b|\b[0-9a-f]{12}\b"), "HASH"),
    (re.compile(r"\b\d+\.\d\d ?s"), "0s"),
    (re.compile("[\u2018\u2019]"), "'"),  # programs quote as the locale says
    (re.compile(r"[ \t]+"), " "),
)


def blocks(section: str) -> list[tuple[str, str]]:
    """Language and text of each block of code in a section of the README."""
    (text,) = re.findall(rf"^## {re.escape(section)}\n(.*?)(?=^## |\Z)", README, re.MULTILINE | re.DOTALL)
    return _BLOCK.findall(text)


def alike(text: str) -> str:
    """The text without what differs from run to run: ids, hashes, durations, the width of columns."""
    for pattern, instead in _DIFFERS:
        text = pattern.sub(instead, text)
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


@dataclass
class Clone:
    """A directory that looks like a clone in which `./run setup` was run."""

    directory: Path
    url: str
    known: dict[str, str] = field(default_factory=dict)
    """Ids of runs: in the README, and here."""

    def here(self, text: str) -> str:
        """A text of the README with this clone's address, directory and ids."""
        text = text.replace(API, self.url).replace(NOTES, str(self.directory / "notes"))
        return _RUN.sub(lambda found: self.known.get(found[0], found[0]), text)

    @property
    def environment(self) -> dict[str, str]:
        """What a terminal has, with a port of our own."""
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(("BATON_", "OTEL_"))
        }
        return inherited | {
            "PATH": f"{self.directory / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "BATON_LISTEN": self.url.removeprefix("http://"),
            "BATON_URL": self.url,
        }

    async def spawn(self, script: str, output: int) -> asyncio.subprocess.Process:
        """Start a script of the shell, in a process group of its own."""
        return await asyncio.create_subprocess_exec(
            *("sh", "-e", "-c", self.here(script)),
            cwd=self.directory,
            env=self.environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )

    async def sh(self, script: str) -> tuple[int, str]:
        """Run a script to its end: its exit code and what it printed."""
        process = await self.spawn(script, asyncio.subprocess.PIPE)
        async with asyncio.timeout(60):
            out, _ = await process.communicate()
        assert process.returncode is not None
        return process.returncode, out.decode()

    async def shows(self, script: str, expected: str) -> None:
        """Run a block until it prints what the README shows; one that changes something runs once."""
        once = "baton runs show" not in script
        last = ""

        async def look() -> bool | None:
            nonlocal last
            code, last = await self.sh(script)
            good = code == 0 and alike(last) == alike(self.here(expected))
            assert good or not once, f"{script}\nprinted\n{last}\nbut the README shows\n{expected}"
            return good or None

        try:
            await eventually(look, 30)
        except AssertionError:
            raise AssertionError(f"{script}\nprinted\n{last}\nbut the README shows\n{expected}") from None
        self.known |= dict(zip(_RUN.findall(expected), _RUN.findall(last), strict=True))

    async def one_more(self, script: str) -> str:
        """Run a script that publishes; what it printed, once the one run that it starts has ended."""
        before = await self._ended()
        code, printed = await self.sh(script)
        assert code == 0, printed

        async def look() -> bool | None:
            return True if len(await self._ended()) == len(before) + 1 else None

        await eventually(look, 30, what=f"the run that this starts: {script}")
        return printed

    async def _ended(self) -> list[str]:
        _, listed = await self.sh("baton runs list --status succeeded --key root")
        return _RUN.findall(listed)


def make_clone(directory: Path) -> Clone:
    """Copy what the commands need, and put commands into `.venv` that run this very code."""
    port = free_port()
    clone = Clone(directory, f"http://127.0.0.1:{port}")
    shutil.copytree(ROOT / "examples", directory / "examples")
    text = (directory / HELLO).read_text(encoding="utf-8")
    (directory / HELLO).write_text(clone.here(text), encoding="utf-8")
    programs = directory / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "activate").write_text("# PATH is set already\n", encoding="utf-8")
    for name, arguments in (("baton", "-m orchestrator.cli"), ("python", "")):
        (programs / name).write_text(
            f'#!/bin/sh\nexec "{sys.executable}" {arguments} "$@"\n', encoding="utf-8"
        )
        (programs / name).chmod(0o755)
    return clone


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def clone(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Clone]:
    """A clone in whose first terminal the README's `baton up` runs; Ctrl-C there ends it well."""
    made = make_clone(tmp_path_factory.mktemp("clone"))
    language, first = blocks("A first workflow of your own")[0]
    assert language == "sh"
    log = made.directory / "up.log"
    with log.open("wb") as output:
        up = await made.spawn(first, output.fileno())
    try:
        await until(lambda: up.returncode is not None or "Ctrl-C stops everything." in log.read_text(), 120)
        assert up.returncode is None, log.read_text()
        yield made
        os.killpg(up.pid, signal.SIGINT)
        async with asyncio.timeout(60):
            await up.wait()
        assert "everything is stopped; the data stays in .baton" in log.read_text()
    finally:
        if up.returncode is None:
            os.killpg(up.pid, signal.SIGKILL)
            await up.wait()


@of_module
async def test_the_first_workflow(clone: Clone) -> None:
    """Check, apply, publish, look; make it fail, and see it undone: all as the README shows it."""
    (_, first), *rest = blocks("A first workflow of your own")
    assert "baton up" in first
    script = ""
    for language, text in rest:
        if language == "yaml":
            document = (ROOT / HELLO).read_text(encoding="utf-8")
            assert text == document[document.index("workflow:") :]
        elif language == "sh":
            assert script == "", f"nothing is shown of {script}"
            script = text
        else:
            await clone.shows(script, text)
            script = ""
    assert clone.known, "no run was started"


@of_module
async def test_trying_out_and_drawing(clone: Clone) -> None:
    """`baton test` and `baton graph` print what the README shows of it; `…` stands for lines left out."""
    shown = [(language, text) for language, text in blocks(LANGUAGE) if language != "yaml"]
    assert [language for language, _ in shown] == ["sh", "text"] * 2
    for (_, script), (_, expected) in zip(shown[::2], shown[1::2], strict=True):
        code, printed = await clone.sh(script)
        assert code == 0, printed
        pattern = re.escape(alike(expected)).replace("…", ".*")
        assert re.fullmatch(pattern, alike(printed), re.DOTALL), f"{script} printed\n{printed}"


@of_module
async def test_publishing_from_python(clone: Clone) -> None:
    """The README's few lines with pika start a run, and so does the script in examples/."""
    await clone.sh(f"baton apply {HELLO}")
    parts = blocks("Publish an event")
    (lines,) = [text for language, text in parts if language == "python"]
    (export,) = [text for _, text in parts if text.startswith("export BATON_AMQP_URL")]
    (clone.directory / "publisher.py").write_text(lines, encoding="utf-8")
    await clone.one_more(f"{export}\npython publisher.py")
    script = 'python examples/publish/publish_with_pika.py com.example.user.joined \'{"name": "root"}\''
    printed = await clone.one_more(f"{export}\n{script}")
    assert printed.startswith("published event ")


@of_module
async def test_publishing_from_the_command_line(clone: Clone) -> None:
    """`baton emit` starts a run; sent again with the same source and id it starts nothing more."""
    await clone.sh(f"baton apply {HELLO}")
    (emit,) = [text for _, text in blocks("Publish an event") if text.startswith("baton emit")]
    first = await clone.one_more(emit)
    code, again = await clone.sh(emit)
    assert (code, again) == (0, first)


@of_module
@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl on this machine")
async def test_publishing_with_curl(clone: Clone) -> None:
    """The README's curl starts a run, and prints what the README shows."""
    await clone.sh(f"baton apply {HELLO}")
    parts = blocks("Publish an event")
    (place,) = [i for i, (_, text) in enumerate(parts) if text.startswith("curl ")]
    printed = await clone.one_more(parts[place][1].replace("curl ", "curl -sS ", 1))
    assert alike(printed) == alike(parts[place + 1][1])


def test_the_example_of_the_language_is_good() -> None:
    """`baton check` takes the README's example; it shows every kind of step, and every kind of target."""
    documents = [text for language, text in blocks(LANGUAGE) if language == "yaml"]
    assert check_text(documents[0], "README.md") == []
    for word in (*STEP_KINDS, "pool", "labels", "foreach", "rollout", "pivot", "on_failure", "concurrency"):
        assert f"{word}:" in documents[0], word
    assert documents[1] in (ROOT / RELEASE).with_name("release-test.yaml").read_text(encoding="utf-8")


def test_the_actions_of_ones_own_load(tmp_path: Path) -> None:
    """The README's module of actions is one that an agent loads, with its undo."""
    ((_, text),) = [block for block in blocks("Actions of your own") if block[0] == "python"]
    module = tmp_path / "shop_actions.py"
    module.write_text(text, encoding="utf-8")
    action = load_actions([module], [])["payments.charge"]
    assert not action.is_idempotent({})
    assert action.undo is not None


def test_the_versions_in_the_readme_are_those_of_the_files() -> None:
    """The hashes that the README shows are the examples' own."""
    hello, release = (
        read_workflow((ROOT / path).read_bytes(), str(path)).version for path in (HELLO, RELEASE)
    )
    assert set(re.findall(r"version +([0-9a-f]{64})", README)) == {hello}
    assert set(re.findall(r"version ([0-9a-f]{12})$", README, re.MULTILINE)) == {hello[:12], release[:12]}

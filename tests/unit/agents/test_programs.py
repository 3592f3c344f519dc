"""Programs: `exec.run`, program actions, and what becomes of their children."""

import asyncio
import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agents import ActionError, Context, Probed
from agents.builtins import exec_run
from agents.limits import MAX_OUTPUT_BYTES, MAX_STREAM_BYTES
from agents.loading import load_actions
from agents.processes import Processes, Tail
from agents.sdk import TimedOut
from schemas.codec import encode
from schemas.errors import InvalidInput
from schemas.messages import CommandKind
from tests.support.agents import command, context
from tests.support.waiting import until


@pytest.fixture
def ctx(tmp_path: Path) -> Iterator[Context]:
    """A context outside any agent, of a command that no other test has."""
    made = context(tmp_path, command("x", run_id=tmp_path.name))
    yield made
    made._processes.close()


def python(code: str, *arguments: str) -> list[str]:
    """Arguments that run Python code."""
    return [sys.executable, "-c", code, *arguments]


def alive(pid: int) -> bool:
    """Whether a process is there and not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def mentioning(text: str) -> list[str]:
    """The command lines of live processes that contain this text."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # ended while we looked
            lines.append(path.read_text(errors="replace"))
    return [line for line in lines if text in line]


async def failing(call: Any, code: str) -> ActionError:
    """The error that `call` ends with."""
    with pytest.raises(ActionError) as caught:
        await call
    assert caught.value.code == code, caught.value
    return caught.value


async def test_a_program_runs(ctx: Context, tmp_path: Path) -> None:
    """Its arguments reach it as they are, with input, directory and environment; both streams come back."""
    code = "import os, sys; print(sys.argv[1:], sys.stdin.read(), os.getcwd(), os.environ['A'])"
    code += "; print(1, file=sys.stderr)"
    ran = await exec_run.run(
        ctx, python(code, "$HOME; *", "b c"), cwd=str(tmp_path), env={"A": "ü"}, stdin="given"
    )
    assert ran.stdout == f"['$HOME; *', 'b c'] given {tmp_path} ü\n"
    assert (ran.exit_code, ran.stderr, ran.truncated) == (0, "1\n", False)
    assert ctx.log_tail() == ran.stdout + ran.stderr


async def test_a_program_is_told_what_it_runs_for(ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run, step, attempt and trace; the agent's own secrets it does not see."""
    monkeypatch.setenv("BATON_AMQP_URL", "amqp://user:secret@host/")
    ctx.traceparent = "00-aa-bb-01"
    ran = await exec_run.run(ctx, ["env"])
    seen = dict(line.partition("=")[::2] for line in ran.stdout.splitlines())
    assert (seen["BATON_RUN_ID"], seen["BATON_STEP"], seen["BATON_ATTEMPT"]) == (ctx.run_id, "s", "1")
    assert seen["BATON_COMMAND_ID"] == ctx.command_id
    assert seen["TRACEPARENT"] == "00-aa-bb-01"
    assert "secret" not in ran.stdout


async def test_an_exit_code_counts(ctx: Context) -> None:
    """0 is good, others fail with what was said last, unless `ok_codes` has them; a signal is negative."""
    error = await failing(exec_run.run(ctx, ["sh", "-c", "echo no space >&2; exit 3"]), "exit_code")
    assert "no space" in error.message
    assert error.details == {"exit_code": 3, "stdout": "", "stderr": "no space\n"}
    assert (await exec_run.run(ctx, ["sh", "-c", "exit 3"], ok_codes=[0, 3])).exit_code == 3
    assert (await exec_run.run(ctx, ["sh", "-c", "kill -9 $$"], ok_codes=[-9])).exit_code == -9


async def test_what_cannot_be_started_fails_for_good(ctx: Context, tmp_path: Path) -> None:
    """No such program, no such directory, not executable, no name, a NUL in an argument."""
    (tmp_path / "text").write_text("text")
    (tmp_path / "text").chmod(0o755)
    for argv, cwd, code in (
        (["no-such-program"], None, "not_found"),
        (["true"], "/no/such/dir", "not_found"),
        ([str(tmp_path / "text")], None, "not_executable"),
        (["echo", "a\0b"], None, "not_executable"),
    ):
        error = await failing(exec_run.run(ctx, argv, cwd=cwd), code)
        assert not error.retryable
    assert (
        "/no/such/dir"
        in (await failing(exec_run.run(ctx, ["true"], cwd="/no/such/dir"), "not_found")).message
    )


async def test_much_output_is_cut_from_the_front(ctx: Context) -> None:
    """The tail is kept and it says so; the output fits whatever bytes there were."""
    ran = await exec_run.run(ctx, python("import sys; sys.stdout.buffer.write(b'\\0' * 5_000_000 + b'end')"))
    assert ran.truncated
    assert ran.stdout.endswith("end")
    assert len(ran.stdout) == MAX_STREAM_BYTES
    assert len(encode(ran)) < MAX_OUTPUT_BYTES


async def test_input_that_nobody_reads_is_no_trouble(ctx: Context) -> None:
    """A program may end without reading."""
    assert (await exec_run.run(ctx, ["true"], stdin="x" * 1_000_000)).exit_code == 0


async def test_a_tree_is_killed_on_timeout(ctx: Context, tmp_path: Path) -> None:
    """Children, grandchildren, and those that left the process group."""
    pids = tmp_path / "pids"
    script = f"""
        (trap '' TERM; echo $BASHPID >> {pids}; sleep 600) &
        setsid sh -c 'echo $$ >> {pids}; exec sleep 600' &
        echo $$ >> {pids}
        wait
    """
    running = asyncio.create_task(exec_run.run(ctx, ["bash", "-c", script], timeout=1.0))
    await until(lambda: pids.exists() and len(pids.read_text().split()) == 3)
    started = [int(pid) for pid in pids.read_text().split()]
    assert all(map(alive, started))
    with pytest.raises(TimedOut):
        await running
    await until(lambda: not any(map(alive, started)), within=2)


async def test_a_tree_is_killed_on_cancel(ctx: Context, tmp_path: Path) -> None:
    """When the cancellation gets through, nothing runs any more."""
    pid = tmp_path / "pid"
    running = asyncio.create_task(exec_run.run(ctx, ["sh", "-c", f"sleep 600 & echo $! > {pid}; wait"]))
    await until(lambda: pid.exists() and pid.read_text())
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not alive(int(pid.read_text()))


async def test_a_program_cancelled_while_it_starts_is_killed(ctx: Context, tmp_path: Path) -> None:
    """At whatever moment the cancellation comes, nothing of it is left once that is over."""
    for turns in range(12):
        running = asyncio.create_task(exec_run.run(ctx, ["sh", "-c", f"sleep 600; : {tmp_path}"]))
        for _ in range(turns):
            await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert not mentioning(str(tmp_path))


async def test_a_service_may_be_left_behind(ctx: Context, tmp_path: Path) -> None:
    """A program that ends well may leave a daemon, even one that holds its output open."""
    ran = await exec_run.run(ctx, ["sh", "-c", "setsid sleep 600 & echo $!"])
    pid = int(ran.stdout)
    try:
        assert alive(pid)
    finally:
        os.kill(pid, 9)


async def test_a_guard_that_was_killed_is_replaced(ctx: Context) -> None:
    """The next program has a guard again."""
    processes = ctx._processes
    await exec_run.run(ctx, ["true"])
    guard = processes._guard
    assert guard is not None
    guard.kill()
    guard.wait()
    await exec_run.run(ctx, ["true"])
    await exec_run.run(ctx, ["true"])
    assert processes._guard is not None
    assert processes._guard.pid != guard.pid
    processes.close()


def test_a_tail_keeps_the_end() -> None:
    """However it comes in."""
    tail = Tail(4)
    for chunk in (b"ab", b"cdefghij", b"", b"k"):
        tail.add(chunk)
    assert (tail.raw(), tail.total, tail.truncated) == (b"hijk", 11, True)
    assert Tail(4).text() == ""


def program(directory: Path, code: str) -> Path:
    """An executable Python file."""
    path = directory / "program"
    # A kernel's #! line takes no path with a space in it, so a shell hands this file to Python.
    start = f"#!/bin/sh\n'''exec' '{sys.executable}' \"$0\" # '''\n"
    path.write_text(f"{start}import json, sys\nrequest = json.load(sys.stdin)\n{code}\n")
    path.chmod(0o755)
    return path


async def call(ctx: Context, directory: Path, code: str, **args: Any) -> Any:
    """Call a program action."""
    action = load_actions([], [("app.x", program(directory, code))])["app.x"]
    return await action(ctx, **action.body.check(args))


async def test_a_program_can_be_an_action(ctx: Context, tmp_path: Path) -> None:
    """It gets arguments and context, its JSON is the output, its standard error the log."""
    code = "print(json.dumps(request)); print('working', file=sys.stderr)"
    output = await call(ctx, tmp_path, code, name="x", n=[1])
    assert output["args"] == {"name": "x", "n": [1]}
    assert output["context"]["run_id"] == ctx.run_id
    assert (output["context"]["kind"], output["context"]["attempt"]) == ("execute", 1)
    assert Path(output["context"]["workdir"]).is_dir()
    assert ctx.log_tail() == "working\n"
    ctx.clean_up()
    assert not Path(output["context"]["workdir"]).exists()


async def test_a_program_that_says_nothing_has_no_output(ctx: Context, tmp_path: Path) -> None:
    """Nothing is null."""
    assert await call(ctx, tmp_path, "") is None


async def test_a_program_action_fails_by_its_exit_code(ctx: Context, tmp_path: Path) -> None:
    """With what it said on standard error."""
    error = await failing(call(ctx, tmp_path, "sys.exit('out of paper')"), "exit_code")
    assert error.retryable
    assert "out of paper" in error.message


async def test_a_program_must_speak_json(ctx: Context, tmp_path: Path) -> None:
    """Anything else fails for good."""
    error = await failing(call(ctx, tmp_path, "print('hello')"), "bad_output")
    assert not error.retryable


async def test_a_program_that_talks_too_much_is_killed(ctx: Context, tmp_path: Path) -> None:
    """At the limit, not at the end."""
    code = "while True: print('x' * 10000)"
    await failing(call(ctx, tmp_path, code), "output_too_large")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("print(json.dumps({'said': 'done', 'output': request['args']}))", Probed.done({"n": 1})),
        ('print(\'{"said": "never"}\')', Probed.never()),
        ('print(\'{"said": "unknown", "why": "busy"}\')', Probed.unknown("busy")),
        ("", None),
        ('print(\'{"said": "perhaps"}\')', None),
    ],
)
async def test_a_program_can_be_a_probe(ctx: Context, tmp_path: Path, code: str, said: Probed | None) -> None:
    """It gets what the action's got, and prints what it found; anything else is no answer."""
    path = program(tmp_path, code)
    action = load_actions([], [("app.x", path)], [("app.x", path)])["app.x"]
    prober = action.probe_for(CommandKind.EXECUTE)
    assert prober is not None
    assert action.info().probe
    if said is None:
        await failing(prober.function(ctx, n=1), "bad_output")
    else:
        assert await prober.function(ctx, n=1) == said


def test_programs_and_modules_are_checked_at_the_start(tmp_path: Path) -> None:
    """What cannot be run, is no agent, breaks, or takes a name: one clear error each."""
    (tmp_path / "plain").write_text("x")
    modules = {
        "none.py": None,
        "text.txt": "agent = 1",
        "empty.py": "x = 1",
        "broken.py": "import nothing_of_that_name",
        "syntax.py": "def",
        "taken.py": "from agents import Agent\na = Agent()\n@a.action('exec.run')\ndef f(ctx): ...",
        "exits.py": "raise SystemExit(5)",
    }
    for name, text in modules.items():
        if text is not None:
            (tmp_path / name).write_text(text)
        with pytest.raises(InvalidInput) as caught:
            load_actions([tmp_path / name], [])
        assert name in caught.value.message
    for path in (tmp_path / "plain", tmp_path / "none", tmp_path):
        with pytest.raises(InvalidInput, match="cannot be executed"):
            load_actions([], [("a.b", path)])


def test_a_module_may_import_its_neighbours(tmp_path: Path) -> None:
    """And its `Agent` may have any name."""
    (tmp_path / "neighbour_of_test.py").write_text("NAME = 'app.hello'")
    (tmp_path / "m.py").write_text(
        "from __future__ import annotations\nfrom agents import Agent, Context\n"
        "import neighbour_of_test as n\n"
        "mine = Agent()\n@mine.action(n.NAME)\nasync def hello(ctx: Context, who: str) -> str: return who\n"
    )
    try:
        actions = load_actions([tmp_path / "m.py"], [])
    finally:
        sys.path.remove(str(tmp_path))
    assert "app.hello" in actions
    assert "exec.run" in actions


def test_closing_without_a_guard_is_fine() -> None:
    """Most agents never start a program."""
    Processes().close()

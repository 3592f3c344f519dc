"""The demo keeps its promise, and says so with its exit code."""

import asyncio
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from examples.release_web.demo import verify
from examples.release_web.stage import DemoFailed, Stage

ROOT = Path(__file__).parents[2]


@dataclass
class Played:
    """How a demo ended, and what it printed, without the times before the lines."""

    code: int
    lines: list[str]

    @property
    def text(self) -> str:
        """Everything it printed."""
        return "\n".join(self.lines)


async def play(directory: Path, amqp_url: str, **settings: str) -> Played:
    """Run the demo as `./run demo` does, on a broker that is there already."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("BATON_", "OTEL_"))
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "examples.release_web.demo"),
        cwd=directory,
        env={**inherited, "PYTHONPATH": str(ROOT), "BATON_AMQP_URL": amqp_url, **settings},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    text = out.decode()
    sys.stdout.write(text)  # pytest shows it if the test fails
    assert process.returncode is not None
    return Played(process.returncode, [line[9:].rstrip() for line in text.splitlines()])


def left_behind(directory: Path) -> list[str]:
    """The programs that still run below a directory: all that the demo starts, applications included."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink().is_relative_to(directory):
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue  # it has ended meanwhile, or is not ours to look at
    return found


@pytest.mark.timeout(400)
async def test_the_demo_does_what_it_promises(amqp_url: str, tmp_path: Path) -> None:
    """v1 goes out, v2 goes out across a killed coordinator, v3 is undone; exit code 0, nothing is left."""
    played = await play(tmp_path, amqp_url)
    assert played.code == 0, played.text
    assert [line for line in played.lines if line.startswith("asked over HTTP: ")] == [
        f"asked over HTTP: web-1 serves {version}, web-2 serves {version}, web-3 serves {version}"
        for version in ("v1", "v2", "v2")
    ]
    runs = [line.split() for line in played.lines if line.startswith("run ")]
    assert [(words[4], words[5]) for words in runs] == [
        ("v1", "succeeded"),
        ("v2", "succeeded"),
        ("v3", "compensated"),
    ]
    assert sum(line.startswith("kill -9 ") for line in played.lines) == 1
    assert sum(line.startswith("STEP ") for line in played.lines) == len(runs)
    undone = [line.split()[2:4] for line in played.lines if line.startswith("undo switch")]
    assert undone == [[f"web-{n}", "compensated"] for n in (3, 2, 1)]
    announced = [line.split()[1] for line in played.lines if line.startswith("announce ")]
    assert announced == ["succeeded", "succeeded", "cancelled"]
    assert played.lines[-2].startswith("All as promised: ")
    assert left_behind(tmp_path) == []
    assert list((tmp_path / ".baton").iterdir()) == []


@pytest.mark.timeout(200)
async def test_the_demo_fails_when_a_run_ends_otherwise(amqp_url: str, tmp_path: Path) -> None:
    """With a setting under which no command arrives in time: exit code 1, why, where the logs are."""
    played = await play(tmp_path, amqp_url, BATON_START_WITHIN="0.000001")
    assert played.code == 1, played.text
    assert "Traceback" not in played.text
    assert played.lines[-1].startswith("The demo failed: the run should have ended succeeded, but is failed")
    (kept,) = (tmp_path / ".baton").iterdir()
    assert f"logs are kept in {kept}" in played.lines
    assert (kept / "coordinator.log").exists()
    assert left_behind(tmp_path) == []


RUN: dict[str, Any] = {
    "id": "r",
    "workflow": "release-web",
    "key": "v2",
    "status": "succeeded",
    "started_at": None,
    "ended_at": None,
    "reason": "",
    "paused": False,
    "steps": {},
}


class Serving:
    """A stage of which only the applications are asked."""

    def __init__(self, **versions: str) -> None:
        self.versions = versions

    async def serving(self) -> dict[str, str]:
        """What each says."""
        return self.versions


async def test_one_host_that_serves_something_else_fails_the_demo() -> None:
    """What the applications say counts, not only what Baton says of itself."""
    stage = cast("Stage", Serving(web_1="v2", web_2="v2", web_3="v3"))
    with pytest.raises(DemoFailed, match="every host should serve v2"):
        await verify(stage, RUN, status="succeeded", version="v2")
    same = cast("Stage", Serving(web_1="v2", web_2="v2", web_3="v2"))
    await verify(same, RUN, status="succeeded", version="v2")


async def test_another_status_fails_the_demo() -> None:
    """A run that ends otherwise than promised fails the demo even if the applications look right."""
    stage = cast("Stage", Serving(web_1="v2"))
    with pytest.raises(DemoFailed, match="should have ended compensated, but is succeeded"):
        await verify(stage, RUN, status="compensated", version="v2")

"""The command line on a stage, for tests: what a command said and how it ended."""

import asyncio
import json
import sys
from dataclasses import dataclass
from typing import Any, Self

from tests.support.processes import CoordinatorProcess, Stage

__all__ = ["GREET", "Baton", "Done"]

GREET = """\
workflow: greet
triggers: [{event: com.example.greet, key: event.data.name, input: {name: "${{ event.data.name }}"}}]
input: {type: object, required: [name], properties: {name: {type: string}}}
steps:
  - id: note
    action: file.write
    target: web-1
    with: {path: "DIRECTORY/${{ input.name }}.txt", content: hello}
    compensate: {action: file.remove, with: {path: "DIRECTORY/${{ input.name }}.txt"}}
  - id: say
    action: exec.run
    target: web-1
    with: {argv: [sh, -c, "test ${{ input.name }} != bad && echo hello ${{ input.name }}"]}
output: {said: "${{ steps.say.output.stdout }}"}
"""


@dataclass
class Done:
    """What a command said and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its output as JSON."""
        return json.loads(self.out)


@dataclass
class Baton:
    """The command on a stage where a coordinator and the agent web-1 run."""

    stage: Stage
    coordinator: CoordinatorProcess

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        """Start a command."""
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "orchestrator.cli", *arguments),
            cwd=self.stage.directory,
            env=self.stage.environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def __call__(self, *arguments: str) -> Done:
        """Run a command to its end."""
        process = await self.start(*arguments)
        async with asyncio.timeout(60):
            out, err = await process.communicate()
        assert process.returncode is not None
        assert b"Traceback" not in out + err, err.decode()
        return Done(process.returncode, out.decode(), err.decode())

    @classmethod
    async def on(cls, stage: Stage) -> Self:
        """A coordinator with the workflow `greet`, and an agent that works in the stage's directory."""
        coordinator = await stage.coordinator()
        await stage.agent("web-1")
        baton = cls(stage, coordinator)
        (stage.directory / "greet.yaml").write_text(GREET.replace("DIRECTORY", str(stage.directory)))
        assert (await baton("apply", "greet.yaml")).code == 0
        return baton

"""Real agent processes and a desk that commands them, on a real broker."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from runtime.bus.amqp import AmqpBus
from tests.support.agents import Desk, desk_declarations
from tests.support.processes import AgentProcess, Stage

__all__ = ["COUNTING", "Counted", "agent_stage"]

COUNTING = '''
"""Actions that write down on disk what they do."""
import asyncio
from pathlib import Path
from agents import Agent, Context, Probed

agent = Agent()


def note(path: str, what: str) -> None:
    with open(path, "a") as stream:
        stream.write(what + "\\n")


async def work(ctx: Context, path: str, hold: bool = False) -> str:
    note(path, f"start {ctx.command_id}")
    while hold and not Path(path + ".go").exists():
        await asyncio.sleep(0.01)
    note(path, f"effect {ctx.command_id}")
    return "done"


agent.action("once")(work)
agent.action("again", idempotent=True)(work)


async def look(ctx: Context, path: str, hold: bool) -> Probed:
    note(path, f"probe {ctx.command_id}")
    happened = f"effect {ctx.command_id}" in Path(path).read_text().splitlines()
    return Probed.done("found") if happened else Probed.never()


agent.action("probed", probe=look)(work)
'''


class Counted:
    """The file in which the counting actions write, as it is on disk."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "counted"
        self.module = directory / "counting.py"
        self.module.write_text(COUNTING)

    def args(self, **more: Any) -> dict[str, Any]:
        """Arguments for a counting action."""
        return {"path": str(self.path), **more}

    def count(self, what: str, command_id: str = "") -> int:
        """How many starts or effects there were, of one command or of all."""
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        return sum(line.startswith(f"{what} {command_id}") for line in lines)

    def release(self) -> None:
        """Let those that hold go on."""
        Path(f"{self.path}.go").touch()


@asynccontextmanager
async def agent_stage(amqp_url: str, namespace: str, directory: Path) -> AsyncIterator[tuple[Stage, Desk]]:
    """A stage for agent processes, with a connected desk; everything is stopped and removed at the end."""
    async with Stage(amqp_url, namespace, directory) as stage:
        bus = AmqpBus(amqp_url, desk_declarations(stage.topology), name="desk")
        desk = await Desk(bus, stage.topology).open()
        try:
            yield stage, desk
        finally:
            await bus.stop()


async def counting_agent(stage: Stage, counted: Counted, **changes: Any) -> AgentProcess:
    """The agent `a` with the counting actions."""
    return await stage.agent("a", modules=[counted.module], **changes)

"""The action that Baton's agent runs: nothing."""

from agents import Agent

agent = Agent()


@agent.action("bench.nothing", idempotent=True)
async def nothing(ctx: object) -> None:
    """Do nothing, which may be done any number of times."""

"""The saga machine: pure. State and input (with the time in it) give new state, facts and commands.

Nothing here does I/O, reads a clock, draws a random number, logs, or knows asyncio: an import linter
holds that.
"""

"""What must hold, whatever goes wrong. Each invariant is one function, and its docstring says it in words.

`commits` look at every commit, `facts` at every fact in it, `hosts` at what is published and at every action
that starts on a host, `rest` at the whole when everything has come to rest; `wire` looks at the way of each
message, `once` at what may happen once only, `secrets` at everything that could show one, `pinned` at the
versions that runs keep to, `effects` at what is left on the hosts. A function that finds its rule broken
returns what it found; all is well when it returns nothing.
"""

from tests.simulation.invariants import commits, effects, facts, hosts, once, pinned, rest, secrets, wire
from tests.simulation.invariants.tables import (
    AT_ACKNOWLEDGE,
    AT_BATCH,
    AT_END,
    AT_FACT,
    AT_PUBLISH,
    AT_ROUTE,
    AT_START,
)

__all__ = [
    "AT_ACKNOWLEDGE",
    "AT_BATCH",
    "AT_END",
    "AT_FACT",
    "AT_PUBLISH",
    "AT_ROUTE",
    "AT_START",
    "commits",
    "effects",
    "facts",
    "hosts",
    "once",
    "pinned",
    "rest",
    "secrets",
    "wire",
]

"""The agents that the coordinator knows of: who is live, with which labels, and how busy.

The coordinator keeps it from what agents announce and what is outstanding; the machine only asks it.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from msgspec import Struct

from schemas.times import Micros

__all__ = ["Host", "Registry"]

NOBODY: Final[Mapping[str, int]] = {}
LIVE_FOR: Final[Micros] = 100_000_000
"""How long an agent counts as live after an announcement; agents announce themselves every 30 s."""


class Host(Struct, frozen=True):
    """An agent as it last announced itself, and when that was."""

    name: str
    instance_id: str
    labels: Mapping[str, str] = {}
    pools: tuple[str, ...] = ()
    stopping: bool = False
    seen_at: Micros = 0

    def has(self, labels: Mapping[str, str]) -> bool:
        """Whether it has all these labels."""
        return all(self.labels.get(key) == value for key, value in labels.items())


@dataclass(slots=True)
class Registry:
    """Agents by name, and how many commands each has outstanding."""

    live_for: Micros = LIVE_FOR
    hosts: dict[str, Host] = field(default_factory=dict)
    busy: Counter[str] = field(default_factory=Counter)

    def put(self, host: Host) -> None:
        """Take in an announcement."""
        self.hosts[host.name] = host

    def is_live(self, host: Host, now: Micros) -> bool:
        """Whether it announced itself lately, and not that it stops."""
        return not host.stopping and now - host.seen_at < self.live_for

    def live(self, labels: Mapping[str, str], now: Micros) -> list[Host]:
        """Live agents that have all these labels, by name."""
        found = (host for host in self.hosts.values() if host.has(labels) and self.is_live(host, now))
        return sorted(found, key=lambda host: host.name)

    def least_busy(
        self, labels: Mapping[str, str], now: Micros, more: Mapping[str, int] = NOBODY
    ) -> Host | None:
        """The live agent with these labels that has the fewest commands outstanding; of equals the first.

        `more`: commands that are about to be sent.
        """
        return min(
            self.live(labels, now),
            key=lambda host: self.busy[host.name] + more.get(host.name, 0),
            default=None,
        )

    def members(self, pool: str) -> list[str]:
        """Every agent that ever announced that it serves this pool, by name, live or not."""
        return sorted(host.name for host in self.hosts.values() if pool in host.pools)

    def instance(self, name: str) -> str:
        """The instance id that an agent announced last; empty when it never did."""
        host = self.hosts.get(name)
        return "" if host is None else host.instance_id

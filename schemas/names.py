"""Names on the bus: exchanges, queues, routing keys and queue arguments, all under one namespace."""

import re
from dataclasses import dataclass
from typing import Any, Final

from schemas.errors import InvalidInput

__all__ = ["AGAIN_HEADER", "REASON_HEADER", "Topology", "check_name"]

REASON_HEADER: Final = "x-baton-reason"
"""Header of a dead letter: why it was refused."""

AGAIN_HEADER: Final = "x-baton-again"
"""Header of a message that the coordinator may have published before; the body is the same."""

NAME_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$(?!\n)"
_NAME = re.compile(NAME_PATTERN)

_DELIVERY_LIMIT: Final = 100  # every lost connection counts, and a held message may live through many
_DEAD_DELIVERY_LIMIT: Final = 1_000_000  # listing dead letters puts them back, and each time counts


def check_name(name: str, what: str) -> str:
    """Return `name` when it may stand in a routing key, else raise `InvalidInput` naming it as `what`."""
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            f"'{name}' is not a valid {what}",
            code="bad_name",
            hint="use 1 to 63 letters, digits, '-', '_' or '.', beginning with a letter or digit",
        )
    return name


@dataclass(frozen=True)
class Topology:
    """Every name on the bus. `namespace` separates installations that share a broker."""

    namespace: str = "baton"

    def __post_init__(self) -> None:
        """Refuse a namespace that could not stand in a queue's name."""
        check_name(self.namespace, "namespace")

    # exchanges

    @property
    def events(self) -> str:
        """Topic exchange for CloudEvents; the routing key is the event's type."""
        return f"{self.namespace}.events"

    @property
    def commands(self) -> str:
        """Direct exchange from the coordinator to agents."""
        return f"{self.namespace}.commands"

    @property
    def results(self) -> str:
        """Topic exchange from agents to the coordinator."""
        return f"{self.namespace}.results"

    @property
    def lifecycle(self) -> str:
        """Topic exchange on which the coordinator tells what became of runs."""
        return f"{self.namespace}.lifecycle"

    @property
    def dead(self) -> str:
        """Fanout exchange, and the queue behind it, for what could not be handled."""
        return f"{self.namespace}.dead"

    # queues

    @property
    def events_inbox(self) -> str:
        """Queue from which the coordinator takes events."""
        return f"{self.namespace}.events.inbox"

    @property
    def presence(self) -> str:
        """Queue from which the coordinator takes the agents' announcements."""
        return f"{self.namespace}.presence"

    def results_queue(self, shard: str) -> str:
        """Queue of the results that belong to one shard's runs."""
        return f"{self.namespace}.results.{shard}"

    def expired_queue(self, shard: str) -> str:
        """Queue in which one shard learns of commands that the broker dead-lettered unconsumed."""
        return f"{self.namespace}.expired.{shard}"

    def agent_queue(self, agent: str) -> str:
        """Queue of the commands for one agent."""
        return f"{self.namespace}.agent.{agent}"

    def pool_queue(self, pool: str) -> str:
        """Queue of the commands for whichever agent of a pool takes them first."""
        return f"{self.namespace}.pool.{pool}"

    # routing keys

    @staticmethod
    def agent_key(agent: str) -> str:
        """Routing key of commands for one agent."""
        return f"agent.{agent}"

    @staticmethod
    def pool_key(pool: str) -> str:
        """Routing key of commands for a pool."""
        return f"pool.{pool}"

    @staticmethod
    def result_key(shard: str, agent: str) -> str:
        """Routing key of results; `shard` is the command's `reply_to`."""
        return f"result.{shard}.{agent}"

    @staticmethod
    def presence_key(agent: str) -> str:
        """Routing key of announcements."""
        return f"presence.{agent}"

    # arguments

    def work_arguments(self, queue_type: str = "quorum", *, single: bool = False) -> dict[str, Any]:
        """Arguments of a queue whose poison messages end in the dead-letter exchange.

        `single`: one consumer at a time, so that a second process under the same name takes nothing away.
        """
        arguments: dict[str, Any] = {"x-queue-type": queue_type, "x-dead-letter-exchange": self.dead}
        if queue_type == "quorum":
            arguments["x-delivery-limit"] = _DELIVERY_LIMIT
        if single:
            arguments["x-single-active-consumer"] = True
        return arguments

    def expired_arguments(self) -> dict[str, Any]:
        """Arguments of the queue of expired commands: not dead-lettered again, that would come back to it.

        It also sees every other dead letter, and is bounded because nobody may be there to empty it.
        """
        return {
            "x-queue-type": "quorum",
            "x-delivery-limit": _DELIVERY_LIMIT,
            "x-single-active-consumer": True,
            "x-max-length": 100_000,
            "x-overflow": "drop-head",
        }

    def dead_arguments(self) -> dict[str, Any]:
        """Arguments of the queue of dead letters, which has nowhere further to send them."""
        return {"x-queue-type": "quorum", "x-delivery-limit": _DEAD_DELIVERY_LIMIT}

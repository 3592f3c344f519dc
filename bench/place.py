"""Where one system works in one round: a broker, a directory and a namespace of its own."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

__all__ = ["Place"]


@dataclass(frozen=True)
class Place:
    """Handed to a system's processes in their environment."""

    amqp_url: str
    directory: Path
    namespace: str
    port: int
    """A free TCP port on loopback."""

    def environment(self) -> dict[str, str]:
        """This machine's environment with nothing of Baton's or Python's own settings, and the place."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("BATON_", "OTEL_", "CELERY", "DBOS_", "PYTHON"))
        }
        return kept | {
            "BENCH_AMQP_URL": self.amqp_url,
            "BENCH_DIRECTORY": str(self.directory),
            "BENCH_NAMESPACE": self.namespace,
            "BENCH_PORT": str(self.port),
        }

    @classmethod
    def here(cls) -> Self:
        """The place that this process was started for."""
        env = os.environ
        directory = Path(env["BENCH_DIRECTORY"])
        return cls(env["BENCH_AMQP_URL"], directory, env["BENCH_NAMESPACE"], int(env["BENCH_PORT"]))

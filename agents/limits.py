"""Every limit of an agent, by name. Sizes in bytes, durations in seconds."""

from dataclasses import dataclass
from typing import Final

from schemas.codec import MAX_OUTPUT_BYTES

__all__ = [
    "MAX_ARCHIVE_HEADER_BYTES",
    "MAX_BODY_BYTES",
    "MAX_DETAILS_BYTES",
    "MAX_DOWNLOAD_BYTES",
    "MAX_LOG_BYTES",
    "MAX_OUTPUT_BYTES",
    "MAX_STREAM_BYTES",
    "MAX_UNPACKED_BYTES",
    "MAX_UNPACKED_ENTRIES",
    "Limits",
]

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB

MAX_LOG_BYTES: Final = 16 * KIB
"""How much of the tail of what an action printed goes into its result."""

MAX_DETAILS_BYTES: Final = 16 * KIB
"""Largest `details` of an error, as JSON; larger ones are left out."""

MAX_STREAM_BYTES: Final = 32 * KIB
"""How much of the tail of a program's standard output and error `exec.run` answers with, each."""

MAX_BODY_BYTES: Final = 48 * KIB
"""How much of an HTTP answer's body `http.request` answers with."""

MAX_DOWNLOAD_BYTES: Final = 16 * GIB
MAX_UNPACKED_BYTES: Final = 8 * GIB
MAX_UNPACKED_ENTRIES: Final = 100_000
MAX_ARCHIVE_HEADER_BYTES: Final = MIB
"""Longest single header of an archive (a long name, a comment); more is an attack."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long an agent waits for what, and how much it takes on."""

    announce_after: float = 0.5
    """An action that ends sooner sends one result and nothing else."""
    heartbeat: float = 10.0
    """How often a long action sends `progress`."""
    progress_interval: float = 1.0
    """Progress that an action reports is sent at most this often."""
    presence_interval: float = 30.0
    stop_grace: float = 10.0
    """At shutdown, how long running actions may go on before they are killed."""
    kill_after: float = 15.0
    """How long a stopped action may take to end before its outcome is called `unknown`."""
    probe_timeout: float = 30.0
    """How long a probe may take to find out what became of a lost attempt."""
    probes: int = 4
    """How many are asked at once."""
    publish_on_stop: float = 5.0
    """At shutdown, how long to wait for the broker to take the last results."""
    retry_returned: float = 5.0
    """How soon a result that no queue took is published again."""
    prefetch: int = 512
    """Commands taken from the agent's own queue before the journal has them."""
    pool_prefetch: int = 1
    """The same for each pool's queue: what a busy agent holds, an idle one cannot take."""
    max_backlog: int = 10_000
    """Commands journaled but not started; beyond it, new ones wait unacknowledged."""
    publish_batch: int = 512
    keep_published: float = 7 * 86_400.0
    """How long an answered command stays in the journal to answer duplicates."""
    max_published: int = 1_000_000
    """How many answered commands stay at most."""
    prune_interval: float = 60.0
    prune_batch: int = 2_000

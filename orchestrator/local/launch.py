"""The ways to run a RabbitMQ node of one's own: an installed package, or a container."""

import contextlib
import hashlib
import os
import random
import shutil
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import Unreachable

__all__ = ["Launch", "docker_runs", "find_server", "in_container", "native"]

BOOT_TIMEOUT = 60.0  # seconds; a node needs about 6 on 2 cores
PULL_TIMEOUT = 600.0  # seconds for a container whose image may have to be fetched first
CONTAINER_IMAGE = "rabbitmq:4"

# Where packages put RabbitMQ's own start script. Debian's /usr/sbin/rabbitmq-server is not it: that wrapper
# insists on being root or the user rabbitmq.
SERVER_PLACES = (
    "/usr/lib/rabbitmq/bin/rabbitmq-server",  # Debian, Ubuntu
    "/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server",  # RPM
    "/opt/homebrew/opt/rabbitmq/sbin/rabbitmq-server",
    "/usr/local/opt/rabbitmq/sbin/rabbitmq-server",
    "/opt/rabbitmq/sbin/rabbitmq-server",  # the generic archive
)


@dataclass(frozen=True)
class Launch:
    """One way to run the node: the guard's arguments, its environment, what killing and removing need."""

    argv: list[str]
    env: dict[str, str]
    kill: tuple[str, ...] = ()
    forget: tuple[str, ...] = ()
    boot_timeout: float = BOOT_TIMEOUT


def find_server() -> Path | None:
    """The path of an installed RabbitMQ start script that any user can run, or None."""
    for pattern in SERVER_PLACES:
        for path in sorted(Path("/").glob(pattern[1:]), reverse=True):
            if os.access(path, os.X_OK):
                return path
    found = shutil.which("rabbitmq-server")
    return Path(found) if found and not found.startswith("/usr/sbin/") else None


def _find_epmd() -> str:
    """The path of Erlang's port mapper, from PATH or beside `erl`."""
    erl = shutil.which("erl")
    beside = Path(erl).resolve().parent / "epmd" if erl else None
    found = shutil.which("epmd") or (beside and beside.exists() and str(beside))
    if not found:
        raise Unreachable(
            "RabbitMQ is installed but Erlang's epmd is not to be found.", hint="Put epmd on PATH."
        )
    return found


def docker_runs() -> bool:
    """Whether a Docker engine answers."""
    if not shutil.which("docker"):
        return False
    with contextlib.suppress(subprocess.TimeoutExpired):
        return (
            subprocess.run(["docker", "info"], capture_output=True, timeout=20, check=False).returncode == 0
        )
    return False


def _free_ports(count: int) -> list[int]:
    """Distinct loopback ports that are free now, below the range the kernel hands to outgoing connections.

    A port from that range could be taken by anybody while a node restarts.
    """
    ports: list[int] = []
    while len(ports) < count:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with contextlib.closing(socket.socket()) as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            if port not in ports:
                ports.append(port)
    return ports


def native(server: Path, home: Path, password: str) -> tuple[Launch, int]:
    """The installed package's script with everything it would share with another node set apart."""
    amqp, dist, epmd = _free_ports(3)
    config = home / "rabbitmq.conf"
    config.write_text(
        f"listeners.tcp.1 = 127.0.0.1:{amqp}\n"
        f"default_user = baton\ndefault_pass = {password}\n"
        "log.console.level = warning\n"
        "raft.wal_max_size_bytes = 67108864\n"  # the default keeps half a gigabyte on disk per node
    )
    (home / "enabled_plugins").write_text("[].\n")
    env = {k: v for k, v in os.environ.items() if not k.startswith(("RABBITMQ_", "ERL_"))} | {
        "HOME": str(home),  # the Erlang cookie lives here
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_EPMD_PORT": str(epmd),
        "RABBITMQ_NODENAME": "baton@localhost",  # unique, as this node's epmd knows no other
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(amqp),
        "RABBITMQ_DIST_PORT": str(dist),
        "RABBITMQ_MNESIA_BASE": str(home / "data"),
        "RABBITMQ_LOG_BASE": str(home / "log"),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_SCHEMA_DIR": str(home / "schema"),
        "RABBITMQ_GENERATED_CONFIG_DIR": str(home / "config"),
        "RABBITMQ_CONFIG_FILE": str(config.with_suffix("")),
        "RABBITMQ_CONFIG_FILES": str(home / "conf.d"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(home / "advanced"),
        "RABBITMQ_CONF_ENV_FILE": str(home / "rabbitmq-env.conf"),  # not there: the machine's is not for us
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "enabled_plugins"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
            "-kernel inet_dist_use_interface {127,0,0,1} +S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none"
        ),
    }
    return Launch([_find_epmd(), str(epmd), str(server)], env), amqp


def in_container(home: Path, password: str) -> tuple[Launch, int]:
    """A container in the foreground: the client hands the guard's SIGTERM on and removes it afterwards.

    Not tried here, as no Docker engine runs where this was written.
    """
    port = _free_ports(1)[0]
    name = "baton-" + hashlib.sha256(str(home).encode()).hexdigest()[:12]
    env = os.environ | {"RABBITMQ_DEFAULT_USER": "baton", "RABBITMQ_DEFAULT_PASS": password}
    argv = ["docker", "run", "--rm", "--name", name, "--hostname", "baton"]
    argv += ["--publish", f"127.0.0.1:{port}:5672", "--volume", f"{name}:/var/lib/rabbitmq"]
    argv += ["--env", "RABBITMQ_DEFAULT_USER", "--env", "RABBITMQ_DEFAULT_PASS", CONTAINER_IMAGE]
    kill, forget = ("docker", "kill", name), ("docker", "volume", "rm", "--force", name)
    return Launch(["", "", *argv], env, kill, forget, boot_timeout=PULL_TIMEOUT), port

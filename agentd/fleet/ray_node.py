"""The command line and environment of a node of Ray: what a fleet needs of it, and nothing beside. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

NAMESPACE: Final = "agentd-fleet"
"""Of the actors, in Ray."""
DEFAULT_PORT: Final = 6379
"""Where the head listens."""

_OBJECT_STORE: Final = 80_000_000
"""Bytes; about the least that Ray takes. Nothing is shared by it."""

_ENVIRONMENT: Final = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
    "RAY_enable_metrics_collection": "false",
    # It would wait for half a minute for the actors to leave, which stay for as long as the node.
    "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
    # Its Python processes look for no modules in the folder that it is started in.
    "PYTHONSAFEPATH": "1",
    # A lost host is noticed after 3 to 4 s; Ray's own figures make it 5 to 15.
    "RAY_health_check_initial_delay_ms": "3000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
}


@dataclass(frozen=True, slots=True)
class RayNode:
    """A node of Ray that is to be started.

    Parameters
    ----------
    folder
        For its sockets and logs: absolute, and short.
    ip
        The address by which the others reach it.
    head
        ``HOST:PORT`` of the head; ``None`` for the head itself.
    port
        Where the head listens; its next one is for Ray's clients, which cannot be left out.
    """

    folder: Path
    ip: str
    head: str | None = None
    port: int = DEFAULT_PORT

    @property
    def address(self) -> str:
        """``HOST:PORT`` of the head."""
        return self.head or f"{self.ip}:{self.port}"

    def command(self, ray: str) -> list[str]:
        """Write the command line that runs it in the foreground."""
        role = (
            ["--head", f"--port={self.port}", f"--ray-client-server-port={self.port + 1}", "--include-dashboard=false"]
            if self.head is None
            else [f"--address={self.head}"]
        )
        return [
            *(ray, "start", *role),
            f"--node-ip-address={self.ip}",
            f"--temp-dir={self.folder}",
            # Agents are counted by ourselves: Ray runs two small actors a host, which take no CPU of its counting.
            *("--num-cpus=1", "--num-gpus=0", f"--object-store-memory={_OBJECT_STORE}"),
            *("--no-monitor", "--include-log-monitor=false", "--disable-usage-stats", "--block"),
        ]


def ray_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Give the environment of a node: what the user has set of Ray's settings wins."""
    return {**_ENVIRONMENT, **environ}

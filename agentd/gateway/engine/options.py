"""What the engine is told at the start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from agentd.model.spec import AgentType

DAY: Final = 86400.0


@dataclass(frozen=True, slots=True)
class ManagedOptions:
    """How the agents run that users make."""

    kind: AgentType | None = None
    """``None``: sandboxed where that can be talked to."""
    secrets: tuple[str, ...] | None = None
    """Names of the secrets that they get; ``None`` for those of the harness's own keys."""
    env: Mapping[str, str] = field(default_factory=dict)
    """What they have in their environment."""


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """Limits and places. Times are seconds, paths absolute."""

    config: Path
    """The jcard, by whose agents sessions work."""
    drop_in_folder: Path
    """Where agents are declared for sessions."""
    api_socket: Path
    """agentd's API; its turns socket stands beside it."""
    agent_user: str | None = None
    """As agentd's --agent-user."""
    data_dir: Path | None = None
    """As agentd's --data-dir."""
    state_dir: Path | None = None
    """Where the gateway keeps what is no database: logs, and secrets of channels."""
    managed: ManagedOptions = field(default_factory=ManagedOptions)
    """How managed agents run."""
    max_concurrency: int = 4
    max_queue: int = 1000
    turn_timeout: float | None = None
    """Of runs that name none themselves; ``None`` is no limit."""
    idle_timeout: float = 1800.0
    """After it a conversation's agent is withdrawn, until the next message."""
    retention: float = 30 * DAY
    """How long closed sessions are remembered, and the events of open ones."""
    workdirs: tuple[Path, ...] = ()
    """Folders in which ad-hoc sessions may work."""
    manager: str | None = None
    """Name of the agent that hires and messages others."""
    manager_has_token: bool = False
    """Whether the secret that clients show is a token here."""
    url: str = ""
    """Where agents reach the gateway."""

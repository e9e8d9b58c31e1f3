"""What a managed agent is to be, as it was asked for and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from agentd.gateway.model.objects import Json


@dataclass(frozen=True, slots=True)
class WantedTool:
    """A tool that is treated other than the rest of its server's."""

    name: str
    seek_confirm: bool
    timeout_ms: int
    default: bool


@dataclass(frozen=True, slots=True)
class WantedServer:
    """An MCP server: a program that is started, or a URL."""

    name: str
    command: str | None
    args: tuple[str, ...]
    env: Mapping[str, str] = field(repr=False)
    """May hold secrets."""
    url: str | None
    headers: Mapping[str, str] = field(repr=False)
    """May hold secrets."""
    sse: bool
    """Whether the URL speaks the older form of the protocol."""
    cwd: str | None
    tools: tuple[WantedTool, ...]

    @property
    def sought(self) -> tuple[str, ...]:
        """The tools that have to be confirmed."""
        return tuple(tool.name for tool in self.tools if tool.seek_confirm)


@dataclass(frozen=True, slots=True)
class WantedSubagent:
    """An agent that the managed one may hand work to."""

    name: str
    instruction: str
    servers: tuple[str, ...]
    model: str | None


@dataclass(frozen=True, slots=True)
class WantedAgent:
    """All of it."""

    username: str
    name: str
    harness: str
    subagents: tuple[WantedSubagent, ...]
    servers: tuple[WantedServer, ...]
    model: str | None
    initial_task: str | None
    definition: Mapping[str, Json]
    """As it was sent, without what may be secret."""
    secret_pubsub: Mapping[str, Json] = field(repr=False)
    """What of the channel's settings may be secret."""

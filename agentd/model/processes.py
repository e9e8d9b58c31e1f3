"""The processes of an agent by command, as the API shows them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Protocol

from agentd.model.json_schema import Count, JsonSchema, Positive


class ProcessKind(StrEnum):
    """What a process is to its agent."""

    AGENT = "agent"
    """The agent's own."""
    SERVER = "server"
    """One that it talks to by pipes: an MCP server, a language server."""
    TOOL = "tool"
    """Another below it."""
    ORPHAN = "orphan"
    """One that the agent started and that has lost its parents since, and what is below that."""


@dataclass(frozen=True, slots=True)
class CommandProcesses:
    """The processes of an agent that execute the same program."""

    command: str
    """Name of the program; of an interpreter also that of the script. No arguments: they may hold secrets."""
    kind: Annotated[str, JsonSchema({"enum": [*ProcessKind]})]
    """agent, server (it talks to it by pipes, as to an MCP server), tool, or orphan (its parents are gone)."""
    processes: Positive
    """How many there are."""
    memory_bytes: Count
    """Resident memory of all; shared pages count in each."""
    pids: list[int]
    """Their pids."""


@dataclass(frozen=True, slots=True)
class AgentProcesses:
    """The processes that an agent has now."""

    name: str
    """Name of the agent."""
    processes: Count
    """How many there are."""
    memory_bytes: Count
    """Resident memory of all; shared pages count in each."""
    commands: list[CommandProcesses]
    """By command and kind, those with the most memory first."""


class ProcessSource(Protocol):
    """Where the API gets the processes of agents."""

    async def processes(self, name: str) -> AgentProcesses | None:
        """Look at the processes of an agent, its name compared without regard to case; ``None`` if there is none.

        Raises
        ------
        OSError
            If they cannot be looked at.
        """
        ...

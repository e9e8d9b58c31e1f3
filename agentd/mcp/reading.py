"""Reading agents for the resources."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from agentd.mcp.agentctl import Agentctl, operand
from agentd.mcp.uris import Part

_LINES: Final = "200"
_EVENTS: Final = "50"


@dataclass(frozen=True, slots=True)
class AgentReader:
    """Reads by agentctl."""

    agentctl: Agentctl

    async def read(self, agent: str, part: Part) -> str:
        """Give a part of an agent.

        Raises
        ------
        ToolError
            If there is no such agent, or no answer.
        """
        name = operand(agent)
        match part:
            case "transcript":
                return await self.agentctl.text("logs", "--lines", _LINES, name)
            case "events":
                return await self.agentctl.text("events", "-n", _EVENTS, "--agent", name)
            case "screen":
                return await self.agentctl.text("screen", name)

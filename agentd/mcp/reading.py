"""Reading agents for the resources."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from agentd.mcp.agentctl import FAILED, Agentctl, operand
from agentd.mcp.errors import ToolError
from agentd.mcp.uris import Part
from agentd.text.quoting import quote

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
        try:
            return await self._read(name, part)
        except ToolError as error:
            if error.code != FAILED:
                raise
            # What agentctl says of it may quote the agent; the host's user is shown this outside of any fence.
            message = f"{quote(name)} has no {part} that can be read: there is no such agent, or it has not run"
            raise ToolError("not_found", message, quoted=error.quoted) from error

    async def _read(self, name: str, part: Part) -> str:
        match part:
            case "transcript":
                return await self.agentctl.text("logs", "--lines", _LINES, name)
            case "events":
                return await self.agentctl.text("events", "-n", _EVENTS, "--agent", name)
            case "screen":
                return await self.agentctl.text("screen", name)

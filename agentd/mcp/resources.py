"""Resources: how to begin, the skill, and what each agent wrote."""

from __future__ import annotations

from typing import Final, Protocol

from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, ReadResourceResult, Resource, ResourceTemplate, TextResourceContents

from agentd.mcp.errors import ToolError
from agentd.mcp.untrusted import Fence
from agentd.mcp.uris import AGENT_TEMPLATE, ONBOARDING, PARTS, SKILL, Part, agent_of

_MARKDOWN: Final = "text/markdown"
_PLAIN: Final = "text/plain"

_ABOUT: Final[dict[Part, str]] = {
    "transcript": "The last 200 lines that an agent printed",
    "events": "What happened to an agent, the newest last",
    "screen": "What an agent's terminal shows now",
}


class Agents(Protocol):
    """Where agents can be read."""

    async def read(self, agent: str, part: Part) -> str:
        """Give a part of an agent; raises `ToolError` if there is no such agent, or no answer."""
        ...


class Resources:
    """What can be read.

    Parameters
    ----------
    texts
        The fixed ones by their addresses, each with its title and its text.
    """

    def __init__(self, agents: Agents, onboarding: str, skill: str) -> None:
        self._agents = agents
        self._fixed = {ONBOARDING: ("How to hand work to workers", onboarding), SKILL: ("The skill", skill)}

    def listed(self) -> list[Resource]:
        """List the fixed ones."""
        return [
            Resource(uri=uri, name=uri.removeprefix("agentd://"), description=title, mime_type=_MARKDOWN)
            for uri, (title, _) in self._fixed.items()
        ]

    def templates(self) -> list[ResourceTemplate]:
        """List those of each agent."""
        return [
            ResourceTemplate(uri_template=AGENT_TEMPLATE + part, name=part, description=_ABOUT[part], mime_type=_PLAIN)
            for part in PARTS
        ]

    async def read(self, uri: str, fence: Fence | None) -> ReadResourceResult:
        """Read one.

        Raises
        ------
        MCPError
            If there is none of that address.
        """
        if (fixed := self._fixed.get(uri)) is not None:
            return _contents(uri, fixed[1], _MARKDOWN)
        found = agent_of(uri)
        if found is None:
            raise MCPError(INVALID_PARAMS, f"there is no resource {uri}", {"uri": uri})
        if fence is None:
            return _contents(uri, "locked down: what agents write is not shown here", _PLAIN)
        try:
            return _contents(uri, fence.around(await self._agents.read(*found)), _PLAIN)
        except ToolError as failure:
            raise MCPError(INVALID_PARAMS, str(failure), {"uri": uri}) from failure


def _contents(uri: str, text: str, media_type: str) -> ReadResourceResult:
    return ReadResourceResult(contents=[TextResourceContents(uri=uri, text=text, mime_type=media_type)])

"""Gemini CLI: servers in the project's ``.gemini/settings.json``, subagents as sections of what it reads first. Pure.

It trusts a server as a whole, or asks before each of its tools but those that are named.
"""

from __future__ import annotations

from agentd.gateway.model.wanted import WantedAgent, WantedServer
from agentd.gateway.render.rendered import INSTRUCTIONS, Rendered, json_text, refuse_tier, sections

_EXAMPLE = "gemini-2.5-pro"


def render(agent: WantedAgent) -> Rendered:
    """Render an agent."""
    model = refuse_tier(agent.model, "gemini-cli", _EXAMPLE)
    allowed = [
        f"mcp_{server.name}_{tool.name}"
        for server in agent.servers
        if server.sought
        for tool in server.tools
        if not tool.seek_confirm
    ]
    document: dict[str, object] = {"mcpServers": {server.name: _server(server) for server in agent.servers}}
    if allowed:
        document["tools"] = {"allowed": allowed}
    files = {".gemini/settings.json": json_text(document)}
    if agent.subagents:
        files[INSTRUCTIONS] = sections(agent, model or "")
    return Rendered(files, (), model)


def _server(server: WantedServer) -> dict[str, object]:
    trust = {"trust": not server.sought}
    if server.url is not None:
        return {"url" if server.sse else "httpUrl": server.url, "headers": dict(server.headers), **trust}
    cwd = {} if server.cwd is None else {"cwd": server.cwd}
    return {"command": server.command, "args": [*server.args], "env": dict(server.env), **cwd, **trust}

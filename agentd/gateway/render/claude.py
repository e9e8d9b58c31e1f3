"""Claude Code: subagents in ``.claude/agents``, MCP servers in a file of its own, permissions in ``.claude``. Pure.

A rule that asks counts before one that allows: all tools of the servers run, but those that have to be confirmed.
"""

from __future__ import annotations

import re

from agentd.gateway.model.wanted import WantedAgent, WantedServer, WantedSubagent
from agentd.gateway.render.rendered import Rendered, description, json_text, refuse_cwd, with_front_matter

_SERVERS = ".claude/mcp.json"


def render(agent: WantedAgent) -> Rendered:
    """Render an agent."""
    files = {
        ".claude/settings.json": json_text(_settings(agent)),
        _SERVERS: json_text({"mcpServers": {server.name: _server(server) for server in agent.servers}}),
    }
    for subagent in agent.subagents:
        files[f".claude/agents/{subagent.name}.md"] = _subagent(agent, subagent)
    return Rendered(files, ("--mcp-config", _SERVERS, "--strict-mcp-config"), _model(agent.model))


def _settings(agent: WantedAgent) -> dict[str, object]:
    ask = [f"{prefix(server.name)}__{clean(tool)}" for server in agent.servers for tool in server.sought]
    allow = [prefix(server.name) for server in agent.servers]
    return {"permissions": {"defaultMode": "default", "allow": allow, "ask": ask}}


def prefix(server: str) -> str:
    """Name a server as rules do: all of its tools."""
    return f"mcp__{clean(server)}"


def clean(name: str) -> str:
    """Write a name as Claude Code does in those of tools."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)


def _server(server: WantedServer) -> dict[str, object]:
    refuse_cwd(server, "claude-code")
    if server.url is not None:
        kind = "sse" if server.sse else "http"
        return {"type": kind, "url": server.url, **({"headers": dict(server.headers)} if server.headers else {})}
    return {"type": "stdio", "command": server.command, "args": [*server.args], "env": dict(server.env)}


def _subagent(agent: WantedAgent, subagent: WantedSubagent) -> str:
    others = [prefix(server.name) for server in agent.servers if server.name not in subagent.servers]
    model = _model(subagent.model)
    fields: dict[str, str | list[str]] = {
        "name": subagent.name,
        "description": description(subagent),
        **({"disallowedTools": ", ".join(others)} if others else {}),
        **({} if model is None else {"model": model}),
    }
    return with_front_matter(fields, subagent.instruction)


def _model(name: str | None) -> str | None:
    """Give Claude Code's name of a model: it knows the tiers; others write the provider before it."""
    return None if name is None else re.sub(r"^anthropic[./](?=.)", "", name)

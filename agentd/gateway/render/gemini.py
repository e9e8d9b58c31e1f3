"""Gemini CLI: servers in the project's ``.gemini/settings.json``, subagents as sections of what it reads first. Pure.

It asks before each tool of a server unless a rule of its policies says otherwise; it reads none of the folder's own, so
an option names the file.
"""

from __future__ import annotations

from typing import Final

from agentd.gateway.model.wanted import WantedAgent, WantedServer
from agentd.gateway.render.rendered import INSTRUCTIONS, Rendered, json_text, refuse_tier, sections
from agentd.jcard.edit.writing import TomlValue, write_pair

_EXAMPLE: Final = "gemini-2.5-pro"
_POLICY: Final = ".gemini/policy.toml"


_SERVERS_RUN: Final = 100
_TOOL_ASKS: Final = 200
"""Priorities of rules, of which the highest that fits counts."""


def render(agent: WantedAgent) -> Rendered:
    """Render an agent."""
    model = refuse_tier(agent.model, "gemini-cli", _EXAMPLE)
    document: dict[str, object] = {"mcpServers": {server.name: _server(server) for server in agent.servers}}
    files = {".gemini/settings.json": json_text(document)}
    args: tuple[str, ...] = ()
    if agent.servers:
        files[_POLICY] = write_pair(("rule",), [rule for server in agent.servers for rule in _rules(server)]) + "\n"
        args = ("--policy", _POLICY)
    if agent.subagents:
        files[INSTRUCTIONS] = sections(agent, model or "")
    return Rendered(files, args, model)


def _rules(server: WantedServer) -> list[TomlValue]:
    """Have all tools of a server run, but those that are to be confirmed."""
    rules: list[TomlValue] = [{"mcpName": server.name, "toolName": "*", "decision": "allow", "priority": _SERVERS_RUN}]
    rules += [
        {"mcpName": server.name, "toolName": tool, "decision": "ask_user", "priority": _TOOL_ASKS}
        for tool in server.sought
    ]
    return rules


def _server(server: WantedServer) -> dict[str, object]:
    if server.url is not None:
        return {"url" if server.sse else "httpUrl": server.url, "headers": dict(server.headers)}
    cwd = {} if server.cwd is None else {"cwd": server.cwd}
    return {"command": server.command, "args": [*server.args], "env": dict(server.env), **cwd}

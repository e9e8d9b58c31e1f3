"""Codex: MCP servers in the project's ``.codex/config.toml``, subagents as sections of ``AGENTS.md``. Pure.

Codex reads that file where it trusts the folder, which an option says: no secret stands on a command line.
"""

from __future__ import annotations

from pathlib import Path

from agentd.gateway.model.errors import InvalidRequestError
from agentd.gateway.model.wanted import WantedAgent, WantedServer
from agentd.gateway.render.rendered import INSTRUCTIONS, Rendered, refuse_tier, sections
from agentd.jcard.edit.writing import TomlValue, write_pair, write_value

_EXAMPLE = "gpt-5.1-codex"


def render(agent: WantedAgent, folder: Path) -> Rendered:
    """Render an agent.

    Parameters
    ----------
    folder
        Where the agent works.
    """
    model = refuse_tier(agent.model, "codex", _EXAMPLE)
    lines = []
    for server in agent.servers:
        for path, value in _server(server):
            lines.append(write_pair(("mcp_servers", server.name, *path), value))
    files = {".codex/config.toml": "\n".join([*lines, ""])}
    if agent.subagents:
        files[INSTRUCTIONS] = sections(agent, model or "")
    # The option's own key takes no quotes. Those for permissions alone would keep a conversation from being resumed.
    trust = f"projects={write_value({str(folder): {'trust_level': 'trusted'}})}"
    return Rendered(files, ("-c", trust, "-c", f"approval_policy={write_value('on-request')}"), model)


def _server(server: WantedServer) -> list[tuple[tuple[str, ...], TomlValue]]:
    if server.sse:
        raise InvalidRequestError(
            f"json_config.mcp.servers.{server.name}.transport", "found sse, which codex does not speak; expected http"
        )
    pairs: list[tuple[tuple[str, ...], TomlValue]]
    if server.url is not None:
        pairs = [(("url",), server.url)]
        pairs += [(("http_headers", name), value) for name, value in server.headers.items()]
    else:
        pairs = [(("command",), server.command or ""), (("args",), [*server.args])]
        pairs += [(("env", name), value) for name, value in server.env.items()]
        pairs += [] if server.cwd is None else [(("cwd",), server.cwd)]
    pairs += [(("required",), True), (("default_tools_approval_mode",), "approve")]
    return [*pairs, *((("tools", tool, "approval_mode"), "prompt") for tool in server.sought)]

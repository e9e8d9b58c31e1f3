"""OpenCode: servers, subagents and permissions in the project's ``opencode.json``. Pure.

Of its permissions the last that fits counts.
"""

from __future__ import annotations

import re

from agentd.gateway.model.errors import InvalidRequestError
from agentd.gateway.model.wanted import WantedAgent, WantedServer, WantedSubagent
from agentd.gateway.render.rendered import Rendered, description, json_text, refuse_cwd, refuse_tier

_EXAMPLE = "anthropic/claude-sonnet-4-5"


def render(agent: WantedAgent) -> Rendered:
    """Render an agent."""
    permission: dict[str, str] = {f"{clean(server.name)}_*": "allow" for server in agent.servers}
    permission |= {f"{clean(server.name)}_{clean(tool)}": "ask" for server in agent.servers for tool in server.sought}
    document: dict[str, object] = {
        "$schema": "https://opencode.ai/config.json",
        "mcp": {server.name: _server(server) for server in agent.servers},
        "permission": permission,
        "agent": {each.name: _subagent(agent, each, index) for index, each in enumerate(agent.subagents)},
    }
    return Rendered({"opencode.json": json_text(document)}, (), _model(agent.model, "json_config.default_model"))


def clean(name: str) -> str:
    """Write a name as OpenCode does in those of tools."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)


def _model(model: str | None, path: str) -> str | None:
    refuse_tier(model, "opencode", _EXAMPLE, path)
    if model is not None and not all(model.partition("/")):
        raise InvalidRequestError(path, f"found {model}, expected PROVIDER/MODEL, such as {_EXAMPLE}")
    return model


def _server(server: WantedServer) -> dict[str, object]:
    refuse_cwd(server, "opencode")
    if server.url is not None:
        return {"type": "remote", "url": server.url, "headers": dict(server.headers), "enabled": True}
    command = [server.command, *server.args]
    return {"type": "local", "command": command, "environment": dict(server.env), "enabled": True}


def _subagent(agent: WantedAgent, subagent: WantedSubagent, index: int) -> dict[str, object]:
    model = _model(subagent.model, f"subagents.{index}.model")
    denied = {f"{clean(server.name)}_*": False for server in agent.servers if server.name not in subagent.servers}
    return {
        "mode": "subagent",
        "description": description(subagent),
        "prompt": subagent.instruction,
        **({} if model is None else {"model": model}),
        **({"tools": denied} if denied else {}),
    }

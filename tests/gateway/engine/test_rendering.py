"""What a harness reads of a managed agent's definition, where the real one alone showed what it needs."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

from agentd.gateway.model.wanted import WantedAgent, WantedServer, WantedTool
from agentd.gateway.render.render import render


def server(name: str, *tools: WantedTool) -> WantedServer:
    return WantedServer(name, "toy", (), {}, None, {}, sse=False, cwd=None, tools=tools)


def test_gemini_runs_all_tools_of_a_server_but_those_to_be_confirmed() -> None:
    sought = WantedTool("delete", seek_confirm=True, timeout_ms=1, default=False)
    other = WantedTool("hello", seek_confirm=False, timeout_ms=1, default=False)
    servers = (server("toy", sought, other), server("rest"))
    rendered = render(WantedAgent("bob", "a", "gemini-cli", (), servers, None, None, {}, {}), Path("/x"))
    assert rendered.args == ("--policy", ".gemini/policy.toml")
    # 0.61.0 takes no rule without toolName, whatever its documentation says.
    assert tomllib.loads(rendered.files[".gemini/policy.toml"])["rule"] == [
        {"mcpName": "toy", "toolName": "*", "decision": "allow", "priority": 100},
        {"mcpName": "toy", "toolName": "delete", "decision": "ask_user", "priority": 200},
        {"mcpName": "rest", "toolName": "*", "decision": "allow", "priority": 100},
    ]
    settings = json.loads(rendered.files[".gemini/settings.json"])
    assert {name: each["command"] for name, each in settings["mcpServers"].items()} == {"toy": "toy", "rest": "toy"}

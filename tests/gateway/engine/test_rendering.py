"""What a harness reads of a managed agent's definition, where the real one alone showed what it needs."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from agentd.gateway.model.errors import InvalidRequestError
from agentd.gateway.model.wanted import WantedAgent, WantedServer, WantedSubagent, WantedTool
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


@pytest.mark.parametrize("model", ["gpt", "openai/", "/gpt"])
def test_opencode_takes_a_model_with_its_provider_alone(model: str) -> None:
    said = f"found {model}, expected PROVIDER/MODEL, such as anthropic/"
    with pytest.raises(InvalidRequestError, match=f"json_config.default_model: {said}"):
        render(WantedAgent("bob", "a", "opencode", (), (), model, None, {}, {}), Path("/x"))
    subagents = (WantedSubagent("finder", "Find it.", (), model),)
    with pytest.raises(InvalidRequestError, match=f"subagents.0.model: {said}"):
        render(WantedAgent("bob", "a", "opencode", subagents, (), "openai/gpt", None, {}, {}), Path("/x"))
    assert (
        render(WantedAgent("bob", "a", "opencode", (), (), "openai/gpt", None, {}, {}), Path("/x")).model
        == "openai/gpt"
    )

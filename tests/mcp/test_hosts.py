"""What hosts must be told to run the server: printed, and written into their settings."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from agentd.cli.agentctl.mcp_hosts import MCP_HOSTS, UnreadableError, merged, rendered, settings_file

COMMAND = ["agentctl", "mcp"]


@pytest.mark.parametrize("client", MCP_HOSTS)
def test_installing_keeps_what_is_there_and_may_be_repeated(client: str) -> None:
    host = MCP_HOSTS[client]
    other = '[mcp_servers.other]\ncommand = "x" # kept\n' if host.toml else '{"other": {"a": 1}}'
    once = merged(host, COMMAND, other)
    assert merged(host, COMMAND, once) == once
    document = tomllib.loads(once) if host.toml else json.loads(once)
    table = document
    for key in host.keys:
        table = table[key]
    assert table["agentd"] == host.entry(COMMAND)
    assert ("# kept" in once and table["other"]["command"] == "x") if host.toml else document["other"] == {"a": 1}


@pytest.mark.parametrize("client", MCP_HOSTS)
def test_settings_that_cannot_be_read_are_refused(client: str) -> None:
    with pytest.raises(UnreadableError, match="expected"):
        merged(MCP_HOSTS[client], COMMAND, "{ // a comment\n}")


def test_each_host_has_the_keys_that_it_needs() -> None:
    assert json.loads(rendered(MCP_HOSTS["claude-code"], COMMAND))["mcpServers"]["agentd"]["alwaysLoad"] is True
    codex = tomllib.loads(rendered(MCP_HOSTS["codex"], COMMAND))["mcp_servers"]["agentd"]
    assert codex["required"] is True
    assert codex["default_tools_approval_mode"] == "approve"
    assert codex["tool_timeout_sec"] >= 60
    gemini = json.loads(rendered(MCP_HOSTS["gemini-cli"], COMMAND))["mcpServers"]["agentd"]
    assert gemini["trust"] is True
    assert gemini["timeout"] >= 60_000


def test_the_file_is_the_projects_or_the_users() -> None:
    here, home = Path("/srv/project"), Path("/home/ann")
    assert settings_file(MCP_HOSTS["claude-code"], here, home, None) == here / ".mcp.json"
    assert settings_file(MCP_HOSTS["codex"], here, home, None) == home / ".codex/config.toml"
    assert settings_file(MCP_HOSTS["codex"], here, home, Path("/c")) == Path("/c/config.toml")

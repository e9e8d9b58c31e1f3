"""``agentctl mcp-config``: what a host must be told, printed and installed."""

from __future__ import annotations

import json
import tomllib

from tests.cli.support import Client


def test_it_prints_the_settings_and_where_they_go(client: Client) -> None:
    done = client("mcp-config", "--client", "claude-code", "--config", "jcard.toml", "--toolsets", "default,agents")
    assert done.status == 0
    entry = json.loads(done.out)["mcpServers"]["agentd"]
    assert entry["command"] == "agentctl"
    assert entry["args"] == ["mcp", f"--config={client.folder / 'jcard.toml'}", "--toolsets=default,agents"]
    assert str(client.folder / ".mcp.json") in done.err
    document = json.loads(client("mcp-config", "--client", "codex", "--absolute-command", "--json").out)
    codex = tomllib.loads(document["settings"])["mcp_servers"]["agentd"]
    assert codex["command"].endswith("/agentctl")
    # It hands on nothing else: neither where agentd is, nor that nothing is to be shown.
    assert {"AGENTD_AGENT", "AGENTD_API_SOCKET", "XDG_RUNTIME_DIR", "AGENTD_MCP_LOCKDOWN"} <= set(codex["env_vars"])


def test_installing_keeps_what_is_there(client: Client) -> None:
    file = client.folder / "codex" / "config.toml"
    file.parent.mkdir()
    file.write_text('model = "m" # mine\n')
    for _ in range(2):
        assert client("mcp-config", "--client", "codex", "--install", CODEX_HOME=str(file.parent)).status == 0
    assert file.read_text().startswith('model = "m" # mine\n')
    assert tomllib.loads(file.read_text())["mcp_servers"]["agentd"]["command"] == "agentctl"
    assert sorted(path.name for path in file.parent.iterdir()) == ["config.toml"]


def test_settings_that_it_cannot_read_are_left_as_they_are(client: Client) -> None:
    file = client.folder / ".mcp.json"
    file.write_text("{} // mine\n")
    done = client("mcp-config", "--client", "claude-code", "--install")
    assert done.status == 1
    assert f"{file} was left as it is: expected JSON without comments" in done.err
    assert file.read_text() == "{} // mine\n"

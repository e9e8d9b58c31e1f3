"""What each host of MCP servers must be told to run ours. Pure.

The keys beyond the command are what each was seen to need. Claude Code 2.1.328 hides a server's tools behind a search.
Codex 0.169 leaves them out of the first turn, refuses those that change something, and gives the server nothing of the
environment that it is not told to. Gemini CLI 0.61 asks before each call, and OpenCode cuts a call at its time-out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agentd.model.pool import LOCKDOWN_VARIABLE
from agentd.model.spec import AGENT_VARIABLE
from agentd.settings.flags import OPTIONS, SHARED_FIELDS
from agentd.settings.folders import FOLDER_VARIABLES

if TYPE_CHECKING:
    from tomlkit import TOMLDocument

SERVER: Final = "agentd"
"""The server's name in a host's settings."""

_CALL_SECONDS: Final = 60
"""A call may take: waits end after 50 s."""

JsonObject = dict[str, object]


class UnreadableError(Exception):
    """A host's settings cannot be read, and so not be changed."""


@dataclass(frozen=True, slots=True)
class McpHost:
    """A host, and where its settings stand."""

    file: str
    """Relative to the folder of the project, or with ``~`` to the user's."""
    keys: Sequence[str]
    """Where in its settings servers stand."""
    entry: Callable[[Sequence[str]], JsonObject]
    """Makes the server's settings of its command line."""
    toml: bool = False


_PASSED_ON: Final = (
    AGENT_VARIABLE,
    LOCKDOWN_VARIABLE,
    *(option.environment for option in OPTIONS if option.field in SHARED_FIELDS),
    *FOLDER_VARIABLES,
)
"""What says who calls, what is shown, and where agentd is."""


def _plain(command: Sequence[str]) -> JsonObject:
    return {"command": command[0], "args": list(command[1:])}


def _claude_code(command: Sequence[str]) -> JsonObject:
    return {"type": "stdio", **_plain(command), "alwaysLoad": True}


def _codex(command: Sequence[str]) -> JsonObject:
    return {
        **_plain(command),
        "required": True,
        "default_tools_approval_mode": "approve",
        "tool_timeout_sec": _CALL_SECONDS,
        "env_vars": list(_PASSED_ON),
    }


def _gemini(command: Sequence[str]) -> JsonObject:
    return {**_plain(command), "trust": True, "timeout": 1000 * _CALL_SECONDS}


def _opencode(command: Sequence[str]) -> JsonObject:
    return {"type": "local", "command": list(command), "enabled": True, "timeout": 1000 * _CALL_SECONDS}


def _stdio(command: Sequence[str]) -> JsonObject:
    return {"type": "stdio", **_plain(command)}


def _copilot(command: Sequence[str]) -> JsonObject:
    return {"type": "local", **_plain(command), "tools": ["*"]}


_SERVERS: Final = ("mcpServers",)

MCP_HOSTS: Final[Mapping[str, McpHost]] = {
    "claude-code": McpHost(".mcp.json", _SERVERS, _claude_code),
    "claude-desktop": McpHost("~/.config/Claude/claude_desktop_config.json", _SERVERS, _plain),
    "codex": McpHost("~/.codex/config.toml", ("mcp_servers",), _codex, toml=True),
    "gemini-cli": McpHost(".gemini/settings.json", _SERVERS, _gemini),
    "opencode": McpHost("opencode.json", ("mcp",), _opencode),
    "cursor": McpHost(".cursor/mcp.json", _SERVERS, _stdio),
    "vscode": McpHost(".vscode/mcp.json", ("servers",), _stdio),
    "copilot-cli": McpHost("~/.copilot/mcp-config.json", _SERVERS, _copilot),
    "generic": McpHost("mcp.json", _SERVERS, _plain),
}
"""By the name that ``--client`` takes."""


def settings_file(host: McpHost, project: Path, home: Path, codex_home: Path | None) -> Path:
    """Say which file a host reads."""
    if host.file.startswith("~/.codex/") and codex_home is not None:
        return codex_home / host.file.removeprefix("~/.codex/")
    return home / host.file[2:] if host.file.startswith("~/") else project / host.file


def rendered(host: McpHost, command: Sequence[str]) -> str:
    """Give the settings of a host that has no others."""
    return merged(host, command, "")


def merged(host: McpHost, command: Sequence[str], before: str) -> str:
    """Give a host's settings with the server in them; what else stands there is kept.

    Raises
    ------
    UnreadableError
        If they cannot be read: a comment in JSON, for one, which would be lost.
    """
    return _merged_toml(host, command, before) if host.toml else _merged_json(host, command, before)


def _merged_json(host: McpHost, command: Sequence[str], before: str) -> str:
    try:
        document: object = json.loads(before) if before.strip() else {}
    except ValueError as error:
        raise UnreadableError(f"expected JSON without comments: {error}") from error
    if not isinstance(document, dict):
        raise UnreadableError("expected an object of JSON")
    table = document
    for key in host.keys:
        inner = table.setdefault(key, {})
        if not isinstance(inner, dict):
            raise UnreadableError(f"expected an object as {key}")
        table = inner
    table[SERVER] = host.entry(command)
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _merged_toml(host: McpHost, command: Sequence[str], before: str) -> str:
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    try:
        document: TOMLDocument = tomlkit.parse(before)
        servers = document.setdefault(host.keys[0], tomlkit.table(is_super_table=True))
        servers[SERVER] = host.entry(command)
    except (TOMLKitError, TypeError) as error:
        raise UnreadableError(f"expected TOML: {error}") from error
    return tomlkit.dumps(document)

"""The server's process: what it works with, where it listens, its end."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final

import structlog
from mcp.server.stdio import stdio_server

from agentd.mcp.address import Address
from agentd.mcp.agentctl import Agentctl
from agentd.mcp.following import follow
from agentd.mcp.reading import AgentReader
from agentd.mcp.resources import Resources
from agentd.mcp.server import McpServer
from agentd.mcp.toolsets.all import Sources, chosen_tools
from agentd.mcp.updates import Updates
from agentd.pool.pool import Pool
from agentd.pool.skills.skills import skill
from agentd.settings.logs import Redactor, configure
from agentd.settings.settings import Settings

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

TOKEN: Final = "AGENTD_MCP_TOKEN"  # noqa: S105 (the variable's name)

_KEPT: Final = "mcp-token"
"""In the state directory, where no token is given."""


class StartError(Exception):
    """The server cannot start."""


@dataclass(frozen=True, slots=True)
class Serving:
    """What is served, and to whom."""

    flags: Sequence[str]
    """Say agentctl where agentd is."""
    toolsets: Sequence[str]
    tools: Sequence[str] | None
    lockdown: bool
    address: Address | None
    """``None`` is standard input and output."""
    token_file: Path | None
    without_token: bool


async def serve(settings: Settings, serving: Serving) -> None:
    """Serve until the host hangs up, or a signal.

    Raises
    ------
    StartError, ToolsetError
        If it cannot start.
    """
    # stdout is the host's; it shows its user what stands on stderr.
    configure(settings.log_format, debug=settings.debug, redactor=Redactor())
    agentctl = Agentctl(serving.flags)
    async with Pool(settings) as pool:
        tools = chosen_tools(Sources(pool, agentctl), serving.toolsets, serving.tools)
        onboarding = (resources.files("agentd.mcp") / "onboarding.md").read_text(encoding="utf-8")
        readable = Resources(AgentReader(agentctl), onboarding, skill("workers").text or "")
        updates = Updates(lambda tell: follow(pool.api.socket, tell))
        served = McpServer(tools, readable, updates, lockdown=serving.lockdown)
        if serving.address is None:
            async with stdio_server() as (incoming, outgoing):
                await served.server.run(incoming, outgoing, served.server.create_initialization_options())
            return
        from agentd.mcp.http import listen, serve_http, url_of  # noqa: PLC0415 (uvicorn takes 50 ms of CPU to import)

        token = None if serving.without_token else _token(serving.token_file, settings.state_dir, os.environ)
        try:
            listening = listen(serving.address)
        except OSError as error:
            raise StartError(f"cannot listen on {serving.address.host}:{serving.address.port}: {error}") from error
        whom = "to every user of this machine: --no-token" if token is None else "to callers that have the token"
        sys.stderr.write(f"agentctl mcp: serving {url_of(listening)} {whom}\n")
        await serve_http(served.server, listening, token)


def _token(file: Path | None, state_dir: Path, environ: Mapping[str, str]) -> str:
    """Find the token of HTTP; where none is given, one is made and kept."""
    try:
        if file is not None:
            token = file.read_text().strip()
        elif TOKEN in environ:
            token = environ[TOKEN].strip()
        else:
            return _kept_token(state_dir / _KEPT)
    except (OSError, UnicodeDecodeError) as error:
        raise StartError(f"no token can be had: {error}; --token-file names a file that holds one") from error
    if not token:
        raise StartError(f"the token is empty: write one into {file or TOKEN}")
    return token


def _kept_token(path: Path) -> str:
    sys.stderr.write(f"agentctl mcp: the token stands in {path}\n")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        return path.read_text().strip()
    token = secrets.token_urlsafe(32)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(token + "\n")
    return token

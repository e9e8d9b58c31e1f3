"""A host of our server, by the SDK's own client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import pytest
from mcp.client.client import Client
from mcp.client.session import MessageHandlerFnT
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp_types import CallToolResult, TextContent
from pydantic import JsonValue

from tests.pool.conftest import world
from tests.support.daemon import Daemon, program

__all__ = ["world"]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave all of it to ``-m mcp``: the SDK's imports take 1.5 s of CPU in each process that runs tests."""
    here = Path(__file__).parent
    for item in items:
        if item.path.parent == here:
            item.add_marker("mcp")


Era = Literal["auto", "legacy"]
"""The protocol's newest version, or the ones before it."""


@asynccontextmanager
async def hosted(
    daemon: Daemon,
    *flags: str,
    era: Era = "auto",
    env: Mapping[str, str] | None = None,
    hear: MessageHandlerFnT | None = None,
) -> AsyncIterator[Client]:
    """Run ``agentctl mcp`` as a host does."""
    command, *arguments = mcp_command(daemon, *flags)
    with (daemon.folder / "mcp.log").open("a") as log:
        parameters = StdioServerParameters(command=command, args=arguments, env={**daemon.environment(), **(env or {})})
        async with Client(stdio_client(parameters, errlog=log), mode=era, message_handler=hear) as client:
            yield client


def mcp_command(daemon: Daemon, *flags: str) -> list[str]:
    """Write the command line."""
    return [
        program("agentctl"),
        "mcp",
        f"--config={daemon.jcard}",
        f"--secret-dir={daemon.secrets}",
        f"--tmux-socket={daemon.tmux_socket}",
        f"--api-socket={daemon.api_socket}",
        f"--state-dir={daemon.state}",
        f"--data-dir={daemon.data}",
        *flags,
    ]


async def called(client: Client, tool: str, **arguments: JsonValue) -> dict[str, JsonValue]:
    """Call a tool that succeeds; what it gives as text is what it gives as an object."""
    result = await client.call_tool(tool, arguments)
    assert isinstance(result, CallToolResult)
    assert not result.is_error, result.content
    assert isinstance(result.structured_content, dict)
    return result.structured_content


async def refused(client: Client, tool: str, **arguments: JsonValue) -> str:
    """Call a tool that fails, and give what it says."""
    result = await client.call_tool(tool, arguments)
    assert isinstance(result, CallToolResult)
    assert result.is_error
    [said] = result.content
    assert isinstance(said, TextContent)
    return said.text

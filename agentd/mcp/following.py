"""Following what happens to agents, over agentd's restarts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from agentd.api.client.socket import Json, RefusedError, Socket, UnreachableError

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

_AGAIN: Final = 2.0
"""Seconds between two attempts to reach an agentd that does not answer."""

_DATA: Final = b"data:"

_QUIET: Final = frozenset({"turn_usage", "turn_quota", "turn_tool_started", "turn_tool_completed"})
"""Kinds of events of which nobody needs to be told."""


async def follow(api: Socket, tell: Callable[[str], Awaitable[None]]) -> None:
    """Tell the name of each agent to which something happens, for ever; over agentd's restarts, none is left out."""
    start, away = {"tail": "0"}, False
    while True:
        try:
            async with api.stream("/v1/events", {"follow": "1", **start}) as content:
                away = False
                async for line in content:
                    event = _event(line)
                    if event is None:
                        continue
                    number, agent, kind = event
                    start = {"since": str(number)}
                    if agent and kind not in _QUIET:
                        await tell(agent)
        except (UnreachableError, RefusedError) as error:
            if not away:
                log.warning("mcp_events_not_followed", reason=str(error))
            away = True
        await asyncio.sleep(_AGAIN)


def _event(line: bytes) -> tuple[int, str, str] | None:
    """Read a line of the stream: the event's number, its agent, which may be none, and its kind."""
    if not line.startswith(_DATA):
        return None
    try:
        event: Json = json.loads(line.removeprefix(_DATA))
    except ValueError:
        return None
    match event:
        case {"seq": int(number), "kind": str(kind), "agent": str(agent)}:
            return number, agent, kind
        case {"seq": int(number), "kind": str(kind)}:
            return number, "", kind
        case _:
            return None

"""Asking agentd how agents do, by its API."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final
from urllib.parse import quote

from agentd.api.client.socket import RefusedError, Socket
from agentd.gateway.model.errors import AgentdUnreachableError
from agentd.gateway.model.objects import Json, JsonObject
from agentd.gateway.model.outcome import Exit
from agentd.text.timestamps import rfc3339, rfc3339_milliseconds

_SOON: Final = 1.0

_SEARCHED: Final = re.compile(r"(on the agent's PATH) \(.*\)(, which is )", re.DOTALL)


@dataclass(frozen=True, slots=True)
class RunExit:
    """The end of a run of an agent."""

    agent_run: str | None
    """agentd's id of it."""
    exit: Exit


@dataclass(frozen=True, slots=True)
class Agentd:
    """The API; all of it raises `AgentdUnreachableError` and `RefusedError`."""

    socket: Socket

    @classmethod
    def at(cls, path: Path) -> Agentd:
        """Use the socket at this path."""
        return cls(Socket(path, AgentdUnreachableError))

    async def reachable(self) -> bool:
        """Whether it answers soon: whoever asks about the gateway's health has little patience."""
        try:
            async with asyncio.timeout(_SOON):
                await self.socket.ask("GET", "/v1/health")
        except (AgentdUnreachableError, TimeoutError):
            return False
        except RefusedError:
            pass
        return True

    async def agent(self, name: str) -> JsonObject | None:
        """Show an agent; ``None`` if there is none of that name."""
        try:
            found = await self.socket.ask("GET", f"/v1/agents/{quote(name, safe='')}")
        except RefusedError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise
        return _for_clients(found) if isinstance(found, dict) else None

    async def agents(self) -> dict[str, JsonObject]:
        """Show all agents, by name in lower case."""
        found = await self.socket.ask("GET", "/v1/agents")
        agents = [_for_clients(each) for each in (found if isinstance(found, list) else []) if isinstance(each, dict)]
        return {str(each.get("name")).lower(): each for each in agents}

    async def exits(self, name: str, since: float) -> list[RunExit]:
        """List the ends of an agent's runs since a time, the oldest first."""
        return [_exit(each) for each in await self._events(name, "exited", since)]

    async def launch_failed(self, name: str, since: float) -> bool:
        """Whether an agent could not be started since a time."""
        return bool(await self._events(name, "launch_failed", since))

    async def _events(self, name: str, kind: str, since: float) -> list[JsonObject]:
        query = {"agent": name, "kind": kind, "since": rfc3339(since)}
        found = await self.socket.ask("GET", "/v1/events", query=query)
        # The query counts whole seconds.
        first = rfc3339_milliseconds(since)
        events = [each for each in (found if isinstance(found, list) else []) if isinstance(each, dict)]
        return [each for each in events if str(each.get("time")) >= first]

    async def screen_tail(self, name: str, most: int) -> str | None:
        """Give the last lines that an agent's terminal shows; ``None`` if it has none."""
        try:
            found = await self.socket.ask("GET", f"/v1/agents/{quote(name, safe='')}/screen", query={"format": "json"})
        except RefusedError:
            return None
        lines = found.get("lines") if isinstance(found, dict) else None
        texts = [line.rstrip() for line in (lines if isinstance(lines, list) else []) if isinstance(line, str)]
        return "\n".join([text for text in texts if text][-most:])


def without_search(error: str) -> str:
    """Leave out of an error of agentd's where a program was sought: the machine's folders are nothing for clients."""
    return _SEARCHED.sub(r"\1\2", error)


def _for_clients(agent: JsonObject) -> JsonObject:
    error = agent.get("error")
    return {**agent, "error": without_search(error)} if isinstance(error, str) else agent


def _exit(event: JsonObject) -> RunExit:
    data = event.get("data")
    fields = data if isinstance(data, dict) else {}
    exit_ = Exit(_number(fields.get("exit_code")), _number(fields.get("exit_signal")))
    return RunExit(_text(fields.get("run")), exit_)


def _text(value: Json) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: Json) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None

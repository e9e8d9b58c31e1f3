"""Talking to agents, by agentd's socket for turns."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeAlias
from urllib.parse import quote

from agentd.api.client.socket import Json, JsonObject, RefusedError, Socket

Line: TypeAlias = Mapping[str, Json]
"""One line of the stream of an agent's turns."""


@dataclass(frozen=True, slots=True)
class Turns:
    """The socket; all of it raises what `Socket.ask` does."""

    socket: Socket

    async def conversation(self, agent: str) -> JsonObject | None:
        """Show an agent's conversation; ``None`` if it does not run."""
        try:
            found = await self.socket.ask("GET", f"/v1/turns/{quote(agent, safe='')}")
        except RefusedError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise
        return found if isinstance(found, dict) else None

    async def deliver(self, agent: str, message_id: str, text: str) -> Line:
        """Give an agent a message; again, if it has it, gives what became of that."""
        return _message(await self.socket.ask("POST", _path(agent, "messages"), {"id": message_id, "text": text}))

    async def message(self, agent: str, message_id: str) -> Line | None:
        """Say what became of a message; ``None`` if agentd does not have it."""
        try:
            return _message(await self.socket.ask("GET", _path(agent, f"messages/{quote(message_id)}")))
        except RefusedError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise

    async def withdraw(self, agent: str, message_id: str) -> None:
        """Take a message back that waits."""
        await self.socket.ask("DELETE", _path(agent, f"messages/{quote(message_id)}"))

    async def interrupt(self, agent: str) -> bool:
        """Interrupt an agent's turn; says whether there was one, as far as is known."""
        found = await self.socket.ask("POST", _path(agent, "interrupt"), {})
        return not isinstance(found, dict) or found.get("interrupted") is not False

    async def answer(self, agent: str, request_id: str, decision: str, text: str) -> None:
        """Answer what an agent asks for."""
        await self.decide(agent, request_id, decision, text)

    async def decide(self, agent: str, request_id: str | None, decision: str, text: str) -> JsonObject:
        """Answer what an agent asks, without an id the only request; gives what `conversation` does."""
        body: JsonObject = {"request": request_id, "decision": decision, "text": text}
        found = await self.socket.ask("POST", _path(agent, "answer"), body)
        return found if isinstance(found, dict) else {}

    async def stream(self, agent: str, after: int) -> AsyncGenerator[list[Line], None]:
        """Give the lines after a number, as many at once as there are, until the agent is not declared any more."""
        async with self.socket.stream(_path(agent, "stream"), {"after": str(after)}) as content:
            yield []  # it is open
            rest = b""
            async for chunk in content.iter_any():
                *whole, rest = (rest + chunk).split(b"\n")
                yield [line for line in map(_line, whole) if line]


def _path(agent: str, what: str) -> str:
    return f"/v1/turns/{quote(agent, safe='')}/{what}"


def _message(answer: Json) -> Line:
    """Read a message as if it were a line of the stream."""
    message = answer.get("message") if isinstance(answer, dict) else None
    if not isinstance(message, dict):
        raise RefusedError(HTTPStatus.OK, "expected a message: agentd and this program are of different versions")
    return {**message, "kind": "message", "message": message.get("id")}


def _line(text: bytes) -> Line:
    try:
        read: Json = json.loads(text)
    except ValueError:
        return {}
    return read if isinstance(read, dict) else {}

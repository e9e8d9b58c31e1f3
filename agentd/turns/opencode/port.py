"""OpenCode's server by its port on loopback: asked with deadlines, and read within bounds."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

import aiohttp
from aiohttp import hdrs

from agentd.turns.adapter import NotNowError
from agentd.turns.opencode.launch import USER
from agentd.turns.opencode.listening import listens
from agentd.turns.opencode.server import NoAnswerError, TooLongError

_CONNECTED: Final = 3.0
"""Seconds for a connection."""
_HEADERS: Final = 10.0
"""Seconds for the events to begin."""
_SILENCE: Final = 40.0
"""Seconds without a byte of events; a heartbeat comes every 10 s."""
_LONGEST_EVENT: Final = 4 << 20
"""Bytes of one event; of a longer one nothing is read."""


@dataclass(slots=True)
class Port:
    """The server of one run.

    Parameters
    ----------
    port
        On loopback.
    password
        That the run was given; empty if it has none.
    owner
        The process that must listen there, or one that descends from it; ``None`` if nobody else knows the password.
    """

    port: int
    password: str = field(repr=False)
    owner: int | None = None
    _session: aiohttp.ClientSession | None = None

    @property
    def witness(self) -> str:
        """Its name as a witness."""
        return "server"

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            known = b64encode(f"{USER}:{self.password}".encode()).decode()
            headers = {hdrs.AUTHORIZATION: f"Basic {known}"} if self.password else None
            self._session = aiohttp.ClientSession(f"http://127.0.0.1:{self.port}", headers=headers)
        return self._session

    async def close(self) -> None:
        """Ask nothing more."""
        if self._session is not None:
            await self._session.close()

    async def ready(self) -> None:
        """Ask nothing of another program that has the port that the user chose.

        Raises
        ------
        OSError
            If it is another one.
        """
        if self.owner is not None and not await asyncio.to_thread(listens, self.owner, self.port):
            raise OSError(f"its program does not listen on port {self.port}")

    async def events(self) -> AsyncIterator[Mapping[str, object]]:
        """Give events until the connection ends; as `Door.events`."""
        timeout = aiohttp.ClientTimeout(total=None, connect=_CONNECTED, sock_read=_SILENCE)
        try:
            async with asyncio.timeout(_HEADERS):
                answer = await self._client().get("/event", timeout=timeout, allow_redirects=False)
            async with answer:
                if answer.status != HTTPStatus.OK:
                    raise OSError(f"status {answer.status}")
                async for event in _events(answer.content):
                    yield event
        except (aiohttp.ClientError, TimeoutError) as error:
            raise OSError(str(error) or type(error).__name__) from error

    async def ask(
        self, method: str, path: str, document: Mapping[str, object] | None, limit: float, longest: int
    ) -> tuple[int, bytes]:
        """Ask; as `Door.ask`."""
        try:
            timeout = aiohttp.ClientTimeout(total=limit)
            async with self._client().request(
                method, path, json=document, allow_redirects=False, timeout=timeout
            ) as answer:
                body = bytearray()
                async for piece in answer.content.iter_any():
                    body += piece
                    if len(body) > longest:
                        raise TooLongError(f"{path} has over {longest} bytes")
                return answer.status, bytes(body)
        except aiohttp.ClientConnectorError as error:
            raise NotNowError(f"opencode cannot be asked: {error}") from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise NoAnswerError(f"opencode did not answer: {str(error) or type(error).__name__}") from error


async def _events(content: aiohttp.StreamReader) -> AsyncIterator[Mapping[str, object]]:
    """Split server-sent events; source: HTML, 9.2.6, without fields of several lines, which OpenCode does not send."""
    line, skipping = bytearray(), False
    async for piece in content.iter_any():
        *ends, rest = piece.split(b"\n")
        for end in ends:
            line += end
            if not skipping and (event := _parsed(bytes(line))) is not None:
                yield event
                # A flood lets others go first.
                await asyncio.sleep(0)
            line.clear()
            skipping = False
        line += rest
        if len(line) > _LONGEST_EVENT:
            line.clear()
            skipping = True


def _parsed(line: bytes) -> Mapping[str, object] | None:
    if not line.startswith(b"data:"):
        return None
    try:
        found: object = json.loads(line[5:])
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None

"""OpenCode's own server: asked with deadlines, and read within bounds, since the agent may be whoever it likes."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

import aiohttp
from aiohttp import hdrs

from agentd.turns.adapter import NotNowError, TurnsError
from agentd.turns.opencode.launch import USER

_LIMIT: Final = 3.0
"""Seconds for an answer: while it starts, a request can hang for a minute, where the next is answered at once."""
_PATIENT: Final = 12.0
"""The same on a machine where all answers are late."""
_HEADERS: Final = 10.0
"""Seconds for the events to begin."""
_SILENCE: Final = 40.0
"""Seconds without a byte of events; a heartbeat comes every 10 s."""
_LONGEST_EVENT: Final = 4 << 20
"""Bytes of one event; of a longer one nothing is read."""
_LONGEST_ANSWER: Final = 64 << 10
_LONGEST_LIST: Final = 16 << 20


class NoAnswerError(TurnsError):
    """The server has the request, as far as is known, and did not answer it."""


STATUS: Final = "/session/status"
"""Which conversations are at work, by their ids."""


@dataclass(slots=True)
class Server:
    """The server of one run.

    Parameters
    ----------
    port
        On loopback.
    password
        That the run was given; empty if it has none.
    """

    port: int
    password: str = field(repr=False)
    _session: aiohttp.ClientSession | None = None
    _limit: float = _LIMIT

    def be_patient(self, late: int) -> None:
        """Wait for longer for what is read, after a number of attempts in a row whose answer did not come in time.

        Not after those that nobody listened to yet: the first request to one that starts may be answered never, and
        would be waited for 12 s.
        """
        self._limit = min(_LIMIT * 2 ** min(late // 2, 8), _PATIENT)

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

    async def events(self) -> AsyncIterator[Mapping[str, object]]:
        """Give events until the connection ends.

        Something else is asked before: while it starts, a request for events may never be answered, and of ten of them
        OpenCode warns on its screen, over the input box.

        Raises
        ------
        OSError
            If it cannot be made, or is silent for too long.
        """
        timeout = aiohttp.ClientTimeout(total=None, connect=_LIMIT, sock_read=_SILENCE)
        await self.get(STATUS)
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

    async def get(self, path: str) -> Mapping[str, object]:
        """Get a JSON object.

        Raises
        ------
        OSError
            If there is none.
        """
        found = await self._get(path, _LONGEST_ANSWER)
        if not isinstance(found, dict):
            raise OSError(f"{path} is no object")
        return found

    async def get_all(self, path: str) -> Sequence[Mapping[str, object]]:
        """Get the objects of a JSON array.

        Raises
        ------
        OSError
            If there is none, or it is too long.
        """
        found = await self._get(path, _LONGEST_LIST)
        if not isinstance(found, list):
            raise OSError(f"{path} is no array")
        return [each for each in found if isinstance(each, dict)]

    async def _get(self, path: str, limit: int) -> object:
        timeout = aiohttp.ClientTimeout(total=self._limit)
        try:
            async with self._client().get(path, allow_redirects=False, timeout=timeout) as answer:
                body = bytearray()
                async for piece in answer.content.iter_any():
                    body += piece
                    if len(body) > limit:
                        raise OSError(f"{path} has over {limit} bytes")
                if answer.status == HTTPStatus.NOT_FOUND:
                    raise FileNotFoundError(f"there is no {path}")
                found: object = json.loads(body) if answer.status == HTTPStatus.OK else None
        except (aiohttp.ClientError, TimeoutError, ValueError, RecursionError) as error:
            raise OSError(str(error) or type(error).__name__) from error
        return found

    async def post(self, path: str, document: Mapping[str, object], limit: float = _LIMIT) -> Mapping[str, object]:
        """Post a document, and give the object that is answered, if it is one.

        Raises
        ------
        NotNowError
            If the server cannot be connected to.
        NoAnswerError
            If it does not say whether it takes it.
        TurnsError
            If it does not take it.
        """
        try:
            timeout = aiohttp.ClientTimeout(total=limit)
            async with self._client().post(path, json=document, allow_redirects=False, timeout=timeout) as answer:
                body = (await answer.content.read(_LONGEST_ANSWER)).decode("utf-8", "replace")
                if answer.status >= HTTPStatus.MULTIPLE_CHOICES:
                    raise TurnsError(f"opencode answered with status {answer.status}: {body[:200]}")
                return _object(body)
        except aiohttp.ClientConnectorError as error:
            raise NotNowError(f"opencode cannot be asked: {error}") from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise NoAnswerError(f"opencode did not answer: {str(error) or type(error).__name__}") from error


def _object(body: str) -> Mapping[str, object]:
    try:
        found: object = json.loads(body or "null")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


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

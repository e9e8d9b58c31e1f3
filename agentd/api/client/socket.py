"""Asking on one of agentd's sockets."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Final, TypeAlias

import aiohttp
from aiohttp import hdrs

Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"
JsonObject: TypeAlias = dict[str, Json]
Query: TypeAlias = "Mapping[str, str] | Sequence[tuple[str, str]]"

_LIMIT: Final = aiohttp.ClientTimeout(total=10, sock_connect=2)

_STREAM_LIMIT: Final = aiohttp.ClientTimeout(total=None, sock_connect=2, sock_read=45)
"""agentd says every 15 s that it is there."""

_NOBODY: Final = "http://agentd"


class UnreachableError(Exception):
    """agentd does not answer; the text says where, and why."""


class RefusedError(Exception):
    """agentd refused a request; the text is its own.

    Parameters
    ----------
    status
        Of the answer.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Socket:
    """One of agentd's sockets.

    Parameters
    ----------
    unreachable
        What is raised if agentd does not answer: an error of the caller's own.
    """

    def __init__(self, path: Path, unreachable: type[Exception] = UnreachableError) -> None:
        self._path = path
        self._unreachable = unreachable
        self._session: aiohttp.ClientSession | None = None

    async def ask(self, method: str, path: str, body: JsonObject | None = None, query: Query | None = None) -> Json:
        """Send a request; returns the JSON of the answer.

        Raises
        ------
        UnreachableError
            If agentd does not answer; or what was given instead.
        RefusedError
            If it refuses.
        """
        async with self._request(method, path, body, query, _LIMIT) as response:
            return self._read(await response.read())

    async def read(self, path: str, query: Query | None = None) -> bytes:
        """Give an answer as it is; raises as `ask`."""
        async with self._request("GET", path, None, query, _LIMIT) as response:
            return await response.read()

    @asynccontextmanager
    async def stream(self, path: str, query: Query) -> AsyncIterator[aiohttp.StreamReader]:
        """Open an answer that goes on; raises as `ask`, also while it is read."""
        async with self._request("GET", path, None, query, _STREAM_LIMIT) as response:
            yield response.content

    @asynccontextmanager
    async def _request(
        self,
        method: str,
        path: str,
        body: JsonObject | None,
        query: Query | None,
        limit: aiohttp.ClientTimeout,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(self._path), limit=0))
        # Not by aiohttp, which writes each character beyond ASCII in six bytes or more.
        data = None if body is None else json.dumps(body, ensure_ascii=False).encode()
        headers = None if body is None else {hdrs.CONTENT_TYPE: "application/json"}
        try:
            async with self._session.request(
                method, _NOBODY + path, data=data, headers=headers, params=query, timeout=limit
            ) as response:
                if response.status >= HTTPStatus.BAD_REQUEST:
                    raise RefusedError(response.status, _reason(await response.read()))
                yield response
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise self._unreachable(f"agentd is not reachable on {self._path}: {_why(error)}; start agentd") from error

    def _read(self, answer: bytes) -> Json:
        try:
            read: Json = json.loads(answer)
        except ValueError as error:
            raise self._unreachable(f"what answers at {self._path} is no agentd") from error
        return read

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()


def _why(error: Exception) -> str:
    """Say why nobody answers, without the library's words around the system's."""
    if isinstance(error, aiohttp.ClientConnectorError) and error.os_error.strerror:
        system = error.os_error
        return "there is no such socket" if isinstance(system, FileNotFoundError) else str(system.strerror)
    return str(error) or type(error).__name__


def _reason(answer: bytes) -> str:
    try:
        read: object = json.loads(answer)
    except ValueError:
        read = None
    reason = read.get("error") if isinstance(read, dict) else None
    return reason if isinstance(reason, str) else answer[:200].decode(errors="replace")

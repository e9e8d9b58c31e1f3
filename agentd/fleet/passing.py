"""What a host answers about its agents: its own agentd's answer, head first and then as it comes."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final, TypeAlias

import aiohttp
from aiohttp import hdrs

from agentd.settings.sockets import turns_socket

TURNS: Final = "/v1/turns"

_PASSED_ON: Final = (hdrs.ACCEPT, "Last-Event-ID", hdrs.CONTENT_TYPE, hdrs.RANGE)
"""Headers of a request that mean something to agentd."""

_LEFT_OUT: Final = frozenset({"connection", "transfer-encoding", "content-length", "date", "server", "keep-alive"})
"""Headers of an answer that are about the connection alone."""

_LIMIT: Final = aiohttp.ClientTimeout(total=None, sock_connect=2, sock_read=45)
"""agentd says every 15 s that it is there, where an answer goes on."""

_BLOCK: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Asked:
    """A request to one host's agentd; it is pickled."""

    method: str
    path: str
    """With its query, as it was written."""
    headers: Mapping[str, str]
    body: bytes = b""

    @classmethod
    def of(cls, method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> Asked:
        """Make one of what a client sent, with the headers that matter."""
        kept = {name: headers[name] for name in _PASSED_ON if name in headers}
        return cls(method, path, kept, body)


@dataclass(frozen=True, slots=True)
class Head:
    """How an answer begins; it is pickled."""

    status: int
    headers: Mapping[str, str]


Told: TypeAlias = "Head | bytes"
"""A part of an answer: its head, and then the body in pieces."""


async def pass_on(api_socket: Path, asked: Asked) -> AsyncGenerator[Told, None]:
    """Ask this host's agentd, by its socket for turns where it is about them.

    An agentd that does not answer is an answer too: 409, with the reason.
    """
    where = turns_socket(api_socket) if asked.path.startswith(TURNS) else api_socket
    begun = False
    try:
        connector = aiohttp.UnixConnector(str(where))
        async with (
            aiohttp.ClientSession(connector=connector, timeout=_LIMIT, auto_decompress=False) as session,
            session.request(
                asked.method, f"http://agentd{asked.path}", data=asked.body or None, headers=asked.headers
            ) as response,
        ):
            headers = {name: value for name, value in response.headers.items() if name.lower() not in _LEFT_OUT}
            yield Head(response.status, headers)
            begun = True
            async for part in response.content.iter_chunked(_BLOCK):
                yield part
    except (TimeoutError, aiohttp.ClientError, OSError) as error:
        if begun:
            # What has been told stands; the connection is cut, so that nobody takes it for the whole.
            raise
        message = f"its agentd does not answer at {where}: {error}"
        yield Head(HTTPStatus.CONFLICT, {hdrs.CONTENT_TYPE: "application/json"})
        yield error_body(message)


def error_body(message: str) -> bytes:
    """Write an error as agentd does."""
    return json.dumps({"error": message}).encode()

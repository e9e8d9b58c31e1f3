"""The app server of one run: JSON-RPC over a WebSocket on a Unix socket, with deadlines and bounds.

Codex puts the socket itself below ``/tmp``, and a link to it where it was asked to: the agents' user may have it lead
anywhere. So it is opened within a limit of time, must be a socket of that user, and is connected to as what was opened.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import stat
from collections.abc import AsyncIterator, Callable, Mapping
from itertools import count
from pathlib import Path
from typing import Final

import aiohttp

from agentd import __version__
from agentd.files.answering import NotAnsweringError
from agentd.files.beneath import open_beneath, read_link_beneath
from agentd.process.sandboxed import open_root
from agentd.turns.adapter import Ground, LiveRun, TurnsError
from agentd.turns.codex.protocol import UNWANTED
from agentd.turns.fields import mapping, text

_LIMIT: Final = 3.0
"""Seconds for an answer; it takes 1 to 40 ms."""
_CONNECT_LIMIT: Final = 5.0
_PING: Final = 30.0
"""Seconds without a word after which the server is asked whether it is there, and half as many until it must answer."""
_LONGEST: Final = 16 << 20
"""Bytes of a message; one that is longer ends the connection."""

_O_PATH: Final = getattr(os, "O_PATH", None)
"""Opens a socket as what it is (Linux)."""

Message = Mapping[str, object]


class Connection:
    """A connection to the server; made by `connect`."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = count(1)
        self._waiting: dict[object, Callable[[Message], None]] = {}

    async def messages(self) -> AsyncIterator[Message]:
        """Give notifications and requests of the server, until the connection ends.

        Raises
        ------
        OSError
            If the server talks nonsense.
        """
        try:
            async for message in self._socket:
                said = _parse(message)
                if "method" in said:
                    yield said
                elif (take := self._waiting.pop(said.get("id"), None)) is not None:
                    take(said)
                # A flood lets others go first.
                await asyncio.sleep(0)
        finally:
            waiting, self._waiting = self._waiting, {}
            for take in waiting.values():
                take({"error": {"message": "it ended the connection"}})

    async def request(self, method: str, params: Message, take: Callable[[Message], None]) -> None:
        """Ask the server; `take` is called with the answer, or the error, between the messages where it came.

        Raises
        ------
        TurnsError
            If the connection is gone.
        """
        identity = next(self._numbers)
        self._waiting[identity] = take
        await self.send({"id": identity, "method": method, "params": params})

    async def ask(self, method: str, params: Message) -> Message:
        """Ask the server, and wait for the answer; `messages` must be read meanwhile.

        Raises
        ------
        TurnsError
            If it refuses, or does not answer in time.
        """
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(_LIMIT):
                await self.request(method, params, lambda said: None if answer.done() else answer.set_result(said))
                said = await answer
        except TimeoutError:
            raise TurnsError(f"codex did not answer {method} within {_LIMIT:g} s") from None
        if "result" not in said:
            raise TurnsError(f"codex refused {method}: {text(mapping(said, 'error'), 'message')[:200]}")
        return mapping(said, "result")

    async def send(self, message: Message) -> None:
        """Send a message that has no answer.

        Raises
        ------
        TurnsError
            If the connection is gone.
        """
        try:
            async with asyncio.timeout(_LIMIT):
                await self._socket.send_str(json.dumps(message))
        except (aiohttp.ClientError, ConnectionError, TimeoutError) as error:
            raise TurnsError("codex has ended the connection, or does not read") from error


def _parse(message: aiohttp.WSMessage) -> Message:
    if message.type is not aiohttp.WSMsgType.TEXT:
        raise OSError(f"expected text, found {message.type.name}")
    try:
        found: object = json.loads(message.data)
    except (ValueError, RecursionError) as error:
        raise OSError("expected JSON") from error
    if not isinstance(found, dict):
        raise OSError("expected a JSON object")
    return found


@contextlib.asynccontextmanager
async def connect(path: Path, run: LiveRun, ground: Ground) -> AsyncIterator[Connection]:
    """Connect to the server of a run, and say who we are.

    Raises
    ------
    OSError
        If there is none, or it does not do as an app server does.
    """
    if _O_PATH is None:
        raise OSError("this system opens no sockets")
    try:
        found = await ground.looks.look(path, lambda: _open(path, run, ground.user.uid))
    except NotAnsweringError as error:
        raise OSError(f"{path} does not answer") from error
    async with contextlib.AsyncExitStack() as stack:
        with contextlib.closing(os.fdopen(found, "rb", buffering=0)):
            connector = aiohttp.UnixConnector(f"/proc/self/fd/{found}")
            session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
            try:
                async with asyncio.timeout(_CONNECT_LIMIT):
                    socket = await session.ws_connect("http://localhost/", max_msg_size=_LONGEST, heartbeat=_PING)
            except (aiohttp.ClientError, TimeoutError) as error:
                raise OSError(str(error) or type(error).__name__) from error
        stack.push_async_callback(_close, socket)
        connection = Connection(socket)
        await _introduce(connection, socket)
        yield connection


async def _close(socket: aiohttp.ClientWebSocketResponse) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(1.0):
            await socket.close()


async def _introduce(connection: Connection, socket: aiohttp.ClientWebSocketResponse) -> None:
    """Do the handshake, before anybody reads messages."""
    about = {
        "clientInfo": {"name": "agentd", "title": "agentd", "version": __version__},
        "capabilities": {"experimentalApi": True, "optOutNotificationMethods": list(UNWANTED)},
    }
    try:
        async with asyncio.timeout(_CONNECT_LIMIT):
            await connection.send({"id": 0, "method": "initialize", "params": about})
            while _parse(await socket.receive()).get("id") != 0:
                pass
            await connection.send({"method": "initialized"})
    except (TurnsError, TimeoutError) as error:
        raise OSError(str(error) or "it does not answer") from error


def _open(path: Path, run: LiveRun, owner: int) -> int:
    """Open a socket as what it is, in the sandbox of the run if it has one. Blocks.

    Raises
    ------
    OSError
        If it is none, or another user's.
    """
    assert _O_PATH is not None
    found: int = _open_inside(path, run) if run.facts.home_inside else os.open(path, _O_PATH | os.O_CLOEXEC)
    status = os.fstat(found)
    if not stat.S_ISSOCK(status.st_mode) or status.st_uid != owner:
        os.close(found)
        raise OSError(f"{path} is no socket of the agents' user")
    return found


def _open_inside(path: Path, run: LiveRun) -> int:
    """Open what is at a path in a sandbox, or what a link there leads to, seen from the sandbox's own root folder.

    Raises
    ------
    OSError
        If it cannot be opened, or its way leads through any other link.
    """
    assert _O_PATH is not None
    boxed = run.own()
    if boxed is None:
        raise OSError("the agent is not in its sandbox yet")
    root = open_root(boxed)
    try:
        with contextlib.suppress(OSError):
            path = Path(read_link_beneath(root, path))
        return open_beneath(root, path, _O_PATH)
    finally:
        os.close(root)

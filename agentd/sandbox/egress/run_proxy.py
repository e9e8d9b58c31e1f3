"""The proxy of one run: takes CONNECT requests on the loopback interface of its sandbox, until that has ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Final

from agentd.sandbox.egress.dial import Dialer, RefusedError, Streams
from agentd.sandbox.egress.head import LARGEST, BadRequestError, parse_head
from agentd.sandbox.egress.intercept import HEAD_LIMIT, Interception, answer, server_context
from agentd.sandbox.egress.placeholders import Substitution
from agentd.sandbox.egress.reach import Reach
from agentd.sandbox.egress.tunnel import hang_up, tunnel

MOST_CONNECTIONS: Final = 128
"""Of one agent at once."""

_TARGET: Final = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9_.-]{1,255}):([0-9]{1,5})")
_ESTABLISHED: Final = b"HTTP/1.1 200 Connection established\r\n\r\n"
_TLS_LIMIT: Final = 10.0
_LONGEST_TOLD: Final = 500
"""Characters of a refusal, which a client has a say in."""
_MOST_TOLD: Final = 100
"""Different refusals of one run that the operator is told of."""


Tell = Callable[[str, str], None]
"""Tells the operator what was refused to which agent."""


class RunProxy:
    """Serves the connections of one sandbox.

    Parameters
    ----------
    reach
        May be replaced while it serves.
    dialer
        Connects to the hosts.
    tell
        Told of the first of each refusal.
    """

    def __init__(self, reach: Reach, dialer: Dialer, tell: Tell) -> None:
        self.reach = reach
        self._dialer = dialer
        self._tell = tell
        self._told: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._identity: int | None = None

    async def serve(self, listener: socket.socket) -> None:
        """Begin to take connections."""
        listener.setblocking(False)
        self._server = await asyncio.start_server(self._connected, sock=listener, limit=LARGEST)

    async def close(self) -> None:
        """End all connections, and forget the secrets."""
        if self._server is not None:
            self._server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.reach = Reach(self.reach.agent, (), ())
        if self._identity is not None:
            os.close(self._identity)
            self._identity = None

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._tasks) >= MOST_CONNECTIONS:
            writer.write(answer(BadRequestError("503 Service Unavailable", f"over {MOST_CONNECTIONS} connections")))
            writer.close()
            return
        task = asyncio.create_task(self._serve((reader, writer)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, client: Streams) -> None:
        writer = client[1]
        try:
            await self._connect(client)
        except BadRequestError as error:
            if isinstance(error, RefusedError):
                self._refused(str(error))
            with contextlib.suppress(OSError):
                writer.write(answer(error))
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            # A side went away, or does not speak what it should: there is nobody to be told.
            return
        finally:
            writer.close()

    async def _connect(self, client: Streams) -> None:
        host, port = await _asked_for(client[0])
        intercepted = bool(self._substitutions(host, port))
        server = await self._dialer.connect(self.reach.destinations, host, port, tls=intercepted)
        try:
            client[1].write(_ESTABLISHED)
            await client[1].drain()
            if intercepted:
                async with asyncio.timeout(_TLS_LIMIT):
                    await client[1].start_tls(server_context(self._identity_path(), host))
                await Interception(host, port, lambda: self._substitutions(host, port)).run(client, server)
            else:
                await tunnel(client, server, host)
        except RefusedError as error:
            # No answer: it would be taken for the server's.
            self._refused(str(error))
        except asyncio.CancelledError:
            # The run has ended: nothing is left to be said in order.
            for writer in (client[1], server[1]):
                hang_up(writer)
            raise
        finally:
            server[1].close()

    def _substitutions(self, host: str, port: int) -> Sequence[Substitution]:
        return [each for each in self.reach.substitutions if each.is_for(host, port)]

    def _identity_path(self) -> str:
        """The identity as a file that nobody else can open, since Python takes it from a file only."""
        if self._identity is None:
            self._identity = os.memfd_create("identity", os.MFD_CLOEXEC)
            os.write(self._identity, (self.reach.identity or "").encode())
        os.lseek(self._identity, 0, os.SEEK_SET)
        return f"/proc/self/fd/{self._identity}"

    def _refused(self, reason: str) -> None:
        reason = reason[:_LONGEST_TOLD]
        if reason not in self._told and len(self._told) < _MOST_TOLD:
            self._told.add(reason)
            self._tell(self.reach.agent, reason)


async def _asked_for(reader: asyncio.StreamReader) -> tuple[str, int]:
    """Read the request of a connection: a host, which is a name in lower case or an address, and a port."""
    try:
        async with asyncio.timeout(HEAD_LIMIT):
            head = parse_head(await reader.readuntil(b"\r\n\r\n"))
    except TimeoutError:
        raise BadRequestError("408 Request Timeout", "the request was not sent in time") from None
    except asyncio.LimitOverrunError:
        raise BadRequestError("431 Request Header Fields Too Large", f"over {LARGEST} bytes") from None
    if head.method != b"CONNECT":
        raise BadRequestError(
            "405 Method Not Allowed", "this sandbox has no network but by CONNECT: use https, or a tunnel"
        )
    target = _TARGET.fullmatch(head.target.decode("ascii").lower())
    if target is None:
        raise BadRequestError("400 Bad Request", "expected CONNECT host:port")
    if head.length != 0:
        raise BadRequestError("400 Bad Request", "expected a CONNECT without a body")
    return target[1].strip("[]").removesuffix("."), int(target[2])


def trusting() -> ssl.SSLContext:
    """Verify servers by the system's certificates, or those that SSL_CERT_FILE and SSL_CERT_DIR name."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context

"""The proxy of one run in the test's own process, on a port of the host, with names that the test resolves."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import socket
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

from agentd.model.destinations import Destination, parse_destination
from agentd.sandbox.egress.certificates import Certificates, make_certificates
from agentd.sandbox.egress.dial import Dialer, Streams
from agentd.sandbox.egress.placeholders import Substitution
from agentd.sandbox.egress.reach import Reach
from agentd.sandbox.egress.run_proxy import RunProxy
from agentd.sandbox.egress.tunnel import hang_up
from tests.support.waiting import until

PLACEHOLDER, VALUE = "ghp_placeholder0000000000000000000000000", "ghp_the0value0000000000000000000000000000"


class Proxied:
    """Speaks to the proxy, byte by byte."""

    def __init__(self, proxy: RunProxy, port: int, authority: str, refused: list[str]) -> None:
        self.proxy, self.port, self.refused = proxy, port, refused
        self._authority = authority
        self.opened: list[asyncio.StreamWriter] = []

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection to the proxy."""
        streams = await asyncio.open_connection("127.0.0.1", self.port)
        self.opened.append(streams[1])
        return streams

    async def say(self, data: bytes) -> bytes:
        """Send this, and read until the proxy ends the connection."""
        reader, writer = await self.open()
        writer.write(data)
        answer = await asyncio.wait_for(reader.read(), 30)
        writer.close()
        return answer

    async def connect(self, host: str, port: int) -> tuple[bytes, asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a tunnel; the status line."""
        reader, writer = await self.open()
        writer.write(f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
        return head.partition(b"\r\n")[0], reader, writer

    async def secure(
        self, host: str, port: int, name: str | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a tunnel, with TLS in it that trusts the run's authority."""
        status, reader, writer = await self.connect(host, port)
        assert b" 200 " in status, status
        context = ssl.create_default_context(cadata=self._authority)
        await writer.start_tls(context, server_hostname=name or host)
        return reader, writer

    async def request(self, host: str, port: int, data: bytes) -> bytes:
        """Send this by TLS, and read until the end."""
        reader, writer = await self.secure(host, port)
        writer.write(data)
        answer = await asyncio.wait_for(reader.read(), 30)
        writer.close()
        return answer


class _Sockets:
    """Those of the proxy's own side, which it lets go before they are closed: TLS ends with the other's last word."""

    def __init__(self) -> None:
        self._made: list[socket.socket] = []

    def add(self, writer: asyncio.StreamWriter) -> None:
        self._made.append(writer.get_extra_info("socket"))

    async def closed(self) -> None:
        for each in self._made:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        await until(lambda: all(each.fileno() == -1 for each in self._made), what="every socket is closed")


class _Proxy(RunProxy):
    sockets: _Sockets

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.sockets.add(writer)
        super()._connected(reader, writer)


class _Dialer(Dialer):
    sockets: _Sockets

    async def connect(self, destinations: Sequence[Destination], host: str, port: int, *, tls: bool = False) -> Streams:
        streams = await super().connect(destinations, host, port, tls=tls)
        self.sockets.add(streams[1])
        return streams


@functools.cache
def _certificates(host: str) -> Certificates:
    return make_certificates([host], os.environ)


@contextlib.asynccontextmanager
async def proxied(
    allow: Sequence[str], names: Mapping[str, Sequence[str]], trusted: Path, secret_for: str | None = None
) -> AsyncIterator[Proxied]:
    """Serve what `allow` says, and put a secret in for a host."""

    async def look_up(host: str, _port: int) -> Sequence[str]:
        if host not in names:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return names[host]

    identity, authority, to = None, "", () if secret_for is None else (parse_destination(secret_for),)
    if to:
        made = _certificates(to[0].host)
        identity, authority = made.identity, made.authority
    context = ssl.create_default_context(cafile=str(trusted))
    refused: list[str] = []
    substitutions = (Substitution(PLACEHOLDER, VALUE, to),) if to else ()
    reach = Reach("a", (*map(parse_destination, allow), *to), substitutions, identity)
    dialer = _Dialer(context, look_up)
    proxy = _Proxy(reach, dialer, lambda _agent, reason: refused.append(reason))
    dialer.sockets = proxy.sockets = _Sockets()
    listener = socket.create_server(("127.0.0.1", 0))
    await proxy.serve(listener)
    client = Proxied(proxy, listener.getsockname()[1], authority, refused)
    try:
        yield client
    finally:
        for writer in client.opened:
            hang_up(writer)
            writer.close()
        await proxy.close()
        # What was hung up is closed by callbacks.
        await asyncio.gather(*(writer.wait_closed() for writer in client.opened), return_exceptions=True)
        await proxy.sockets.closed()

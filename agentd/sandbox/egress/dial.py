"""Connecting to what a client asked for: only to addresses that were looked at."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_address
from typing import Final

from agentd.model.destinations import Destination, allowed, is_name, reachable
from agentd.sandbox.egress.head import BadRequestError

LIMIT: Final = 15.0
"""Seconds for a connection to be made: names, all addresses, and TLS."""

REFUSED: Final = "403 Forbidden"
_FAILED, _LATE = "502 Bad Gateway", "504 Gateway Timeout"

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


class RefusedError(BadRequestError):
    """What was asked for is not allowed; the operator is told."""

    def __init__(self, reason: str) -> None:
        super().__init__(REFUSED, reason)


async def resolve(host: str, port: int) -> Sequence[str]:
    """Look a name up; its addresses, the best first."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return list(dict.fromkeys(str(address[0]).partition("%")[0] for *_, address in found))


class Dialer:
    """Connects to allowed destinations.

    Parameters
    ----------
    trust
        How certificates of servers are verified.
    look_up
        Gives the addresses of a name.
    """

    def __init__(self, trust: ssl.SSLContext, look_up: Resolve = resolve) -> None:
        self._trust = trust
        self._look_up = look_up

    async def connect(self, destinations: Sequence[Destination], host: str, port: int, *, tls: bool = False) -> Streams:
        """Connect to a host, which is a name in lower case or an address.

        Raises
        ------
        RefusedError
            If nothing that was declared allows it.
        BadRequestError
            If it cannot be reached.
        """
        if not allowed(destinations, host, port):
            raise RefusedError(f"{host}:{port} is not in network_allow")
        try:
            async with asyncio.timeout(LIMIT):
                addresses = await self._addresses(destinations, host, port)
                return await self._first(addresses, port, host if tls else None)
        except TimeoutError:
            raise BadRequestError(_LATE, f"{host}:{port} did not answer within {LIMIT:g} s") from None

    async def _addresses(self, destinations: Sequence[Destination], host: str, port: int) -> Sequence[str]:
        if not is_name(host):
            return [host]
        try:
            found = await self._look_up(host, port)
        except (OSError, UnicodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise BadRequestError(_FAILED, f"the name {host} cannot be looked up: {reason}") from error
        kept = [address for address in found if reachable(destinations, host, ip_address(address), port)]
        if not kept:
            raise RefusedError(
                f"{host}:{port} leads to {', '.join(found) or 'no address'}, which is not on the internet and not in "
                "network_allow"
            )
        return kept

    async def _first(self, addresses: Sequence[str], port: int, verified: str | None) -> Streams:
        failure = ""
        for address in addresses:
            try:
                trust = None if verified is None else self._trust
                streams = await asyncio.open_connection(address, port, ssl=trust, server_hostname=verified)
                # A server that went away without a word is noticed in the end.
                streams[1].get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                return streams
            except ssl.SSLCertVerificationError as error:
                message = f"the certificate of {verified}:{port} is not trusted: {error.verify_message}"
                raise BadRequestError(_FAILED, message) from error
            except OSError as error:
                failure = error.strerror or str(error)
        raise BadRequestError(_FAILED, f"port {port} of {', '.join(addresses)} cannot be reached: {failure}")

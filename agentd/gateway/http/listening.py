"""The sockets that the gateway listens on."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from agentd.api.socket_file import bind_socket
from agentd.files.path_lock import SocketTakenError, remove_at_the_end
from agentd.gateway.http.hosts import is_loopback
from agentd.gateway.settings import GatewayStartError
from agentd.model.gateway import ListenAddress
from agentd.settings.limits import API_SOCKET_MODE

_BACKLOG: Final = 512


def check_guarded(addresses: Sequence[ListenAddress], *, has_tokens: bool) -> None:
    """Make sure that nobody gets in from another machine without a token.

    Raises
    ------
    GatewayStartError
        If somebody could.
    """
    for address in addresses:
        if not has_tokens and address.host is not None and not is_loopback(address.host):
            raise GatewayStartError(
                f"--listen {address}: other machines may reach it, and no token is configured. Set AGENTD_AUTH_TOKEN, "
                "give --auth-token-file FILE, or write [[gateway.tokens]] into the jcard; or listen on 127.0.0.1 or "
                "unix:PATH"
            )


@contextlib.contextmanager
def listening(addresses: Sequence[ListenAddress], group: int | None) -> Iterator[dict[str, socket.socket]]:
    """Bind the sockets, and give them by where they listen; files of Unix sockets are removed at the end.

    Parameters
    ----------
    group
        Numeric group that may use Unix sockets, or ``None``.

    Raises
    ------
    GatewayStartError
        If one cannot be had.
    """
    with contextlib.ExitStack() as stack:
        sockets: dict[str, socket.socket] = {}
        for address in addresses:
            try:
                if address.path is not None:
                    bound = {str(address): _unix(Path(address.path), group, stack)}
                else:
                    bound = {_name(each): each for each in _tcp(address)}
            except SocketTakenError as error:
                raise GatewayStartError(str(error)) from None
            except OSError as error:
                hint = _what_to_do(address, error)
                raise GatewayStartError(f"--listen {address}: {error.strerror or error}{hint}") from None
            for each in bound.values():
                stack.callback(each.close)
            sockets |= bound
        yield sockets


def _what_to_do(address: ListenAddress, error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return "; stop the program that listens there, or name another address with --listen"
        case errno.EADDRNOTAVAIL:
            return "; name an address of this machine, such as 127.0.0.1"
        case errno.EACCES if address.path is None:
            return "; ports below 1024 are for root: name another one"
        case errno.EACCES:
            return "; name a path in a folder that is there, or may be made"
        case _:
            return ""


def _name(bound: socket.socket) -> str:
    host, port = bound.getsockname()[:2]
    return str(ListenAddress(host, port))


def _unix(path: Path, group: int | None, stack: contextlib.ExitStack) -> socket.socket:
    path.parent.mkdir(parents=True, exist_ok=True)
    bound = bind_socket(path, API_SOCKET_MODE, group, flag="--listen")
    stack.callback(_remove, path, path.lstat().st_ino)
    return bound


def _remove(path: Path, inode: int) -> None:
    with contextlib.suppress(OSError):
        if path.lstat().st_ino == inode:
            remove_at_the_end(path)


def _tcp(address: ListenAddress) -> list[socket.socket]:
    """Bind to every address of a name."""
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    try:
        for family, kind, protocol, _, place in dict.fromkeys(found):
            sock = socket.socket(family, kind | socket.SOCK_CLOEXEC, protocol)
            sockets.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(place)
            sock.listen(_BACKLOG)
            sock.setblocking(False)
    except OSError:
        for sock in sockets:
            sock.close()
        raise
    return sockets

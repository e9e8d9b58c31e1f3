"""Whether somebody listens on a port."""

from __future__ import annotations

import contextlib
import errno
import socket
from typing import Final

_NO_SUCH_FAMILY: Final = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT})


def is_free(port: int) -> bool:
    """Whether a program could listen on a port of all addresses, by IPv4 and IPv6."""
    return all(_binds(family, port) for family in (socket.AF_INET, socket.AF_INET6))


def _binds(family: socket.AddressFamily, port: int) -> bool:
    try:
        with contextlib.closing(socket.socket(family, socket.SOCK_STREAM)) as bound:
            # A connection that was closed a moment ago keeps nobody from listening.
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family is socket.AF_INET6:
                bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            bound.bind(("", port))
    except OSError as error:
        return error.errno in _NO_SUCH_FAMILY
    return True

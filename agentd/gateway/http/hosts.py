"""Which names a request may ask for, and which pages may send one. Pure."""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from agentd.gateway.model.names import LOOPBACK_NAME

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


def name_of(host: str) -> str | None:
    """Give the name in a ``Host`` header, without the port; ``None`` if it is no host."""
    try:
        parts = urlsplit(f"//{host}")
        port = parts.port
    except ValueError:
        return None
    if parts.hostname is None or parts.username is not None or parts.path or parts.query or parts.fragment or port == 0:
        return None
    return parts.hostname.removesuffix(".")


def is_own(host: str, local: str, names: Collection[str]) -> bool:
    """Whether a ``Host`` header names this server.

    A page whose name was made to lead here (DNS rebinding) still sends its own name. The port may differ: it does
    behind a forwarded one.

    Parameters
    ----------
    local
        The address at which the connection arrived.
    names
        What else the server may be called, in lower case.
    """
    name = name_of(host)
    if name is None:
        return False
    return name in names or name == local or (is_loopback(local) and (name == LOOPBACK_NAME or is_loopback(name)))


def is_loopback(address: str) -> bool:
    """Whether it is an address, or the name, of this machine alone."""
    if address == LOOPBACK_NAME:
        return True
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return (mapped or parsed).is_loopback


def is_same_origin(origin: str, host: str) -> bool:
    """Whether a page of this ``Origin`` was served by the ``Host`` that it talks to.

    The scheme is not compared: behind a proxy that ends TLS, it differs.
    """
    try:
        parts = urlsplit(origin)
        default = _DEFAULT_PORTS.get(parts.scheme)
        if parts.hostname is None or default is None:
            return False
        asked = urlsplit(f"//{host}")
        return (parts.hostname, parts.port or default) == (asked.hostname, asked.port or default)
    except ValueError:
        return False

"""What an agent may reach by name: ``host:port`` as a jcard declares it, and what a client asks for. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

HTTPS: Final = 443
LOCALHOST: Final = "localhost"

_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME: Final = re.compile(rf"(?:{_LABEL}\.)*{_LABEL}")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_LONGEST_NAME: Final = 253
_LARGEST_PORT: Final = 65535
_SPLIT: Final = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(?::([0-9]{1,5}))?")
_EXPECTED: Final = 'expected host:port such as "api.anthropic.com:443"'

Address = IPv4Address | IPv6Address


@dataclass(frozen=True)
class Destination:
    """A host and a port that may be reached."""

    host: str
    """A name in lower case; ``*.`` and a name, for every name below that; or an address or network."""
    port: int

    def __str__(self) -> str:
        """Write it as a jcard does."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @cached_property
    def network(self) -> IPv4Network | IPv6Network | None:
        """The addresses that are meant, if it is not a name."""
        return None if is_name(self.host.removeprefix("*.")) else ip_network(self.host)

    def allows_name(self, name: str, port: int) -> bool:
        """Whether it stands for this name, which is in lower case."""
        if port != self.port or self.network is not None:
            return False
        return name.endswith(self.host[1:]) if self.host.startswith("*") else name == self.host

    def allows_address(self, address: Address, port: int) -> bool:
        """Whether it stands for this address."""
        return port == self.port and self.network is not None and address in self.network


def parse_destination(text: str, port: int | None = None) -> Destination:
    """Read what may be reached, as a jcard declares it.

    Parameters
    ----------
    text
        ``host:port``; the host is a name, ``*.`` and a name, an address, or a network.
    port
        The port if none is written; else one must be.

    Raises
    ------
    ValueError
        If it is not that; the message follows what was found.
    """
    expected = _EXPECTED if port is None else 'expected a host such as "api.github.com", or host:port'
    if "://" in text:
        raise ValueError(f"{expected}, without {text.partition('://')[0]}://")
    split = _SPLIT.fullmatch(text.lower())
    if split is None:
        raise ValueError(f"{expected}{', with an IPv6 address in [ ]' if ':' in text else ''}")
    host, written = split[1].removeprefix("[").removesuffix("]").removesuffix("."), split[2]
    if written is None and port is None:
        raise ValueError(f"which has no port; {expected}")
    number = int(written) if written is not None else port
    if number is None or not 0 < number <= _LARGEST_PORT:
        raise ValueError(f"expected a port from 1 to {_LARGEST_PORT}")
    name = host.removeprefix("*.")
    if host.startswith("*.") and "." not in name:
        raise ValueError('which stands for too much; expected a name such as "*.example.com"')
    if not split[1].startswith("[") and is_name(name):
        return Destination(host, number)
    try:
        network = ip_network(host)
    except ValueError:
        raise ValueError(f"{expected}{_ascii(host)}") from None
    return Destination(str(network).removesuffix("/32").removesuffix("/128"), number)


def _ascii(host: str) -> str:
    """Advise on a name that is not written as it is looked up."""
    if host.isascii():
        return ""
    try:
        return f'; write the host as "{host.encode("idna").decode()}"'
    except UnicodeError:
        return ""


def is_name(host: str) -> bool:
    """Whether a host in lower case is a name, which no resolver takes for an address: not 127.1 or 0x7f000001."""
    return len(host) <= _LONGEST_NAME and _NAME.fullmatch(host) is not None and not _numeric(host)


def _numeric(host: str) -> bool:
    return _NUMBER.fullmatch(host.rpartition(".")[2]) is not None


def allowed(destinations: Iterable[Destination], host: str, port: int) -> bool:
    """Whether a client may ask for a host, a name in lower case or an address."""
    if is_name(host):
        return any(each.allows_name(host, port) for each in destinations)
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return any(each.allows_address(address, port) for each in destinations)


def reachable(destinations: Iterable[Destination], host: str, address: Address, port: int) -> bool:
    """Whether an address that an allowed name led to may be connected to.

    What is not on the internet must be declared, by its address or as localhost: otherwise whoever answers for a name
    could lead the agent to services of this machine and its network.
    """
    inner = address.ipv4_mapped if isinstance(address, IPv6Address) and address.ipv4_mapped is not None else address
    embedded = isinstance(inner, IPv6Address) and (
        inner.sixtofour is not None or inner.teredo is not None or inner in _TRANSLATED
    )
    if inner.is_global and not inner.is_multicast and not embedded:
        return True
    if host == LOCALHOST and inner.is_loopback:
        return True
    return any(each.allows_address(inner, port) for each in destinations)


_TRANSLATED: Final = IPv6Network("64:ff9b::/96")
"""IPv4 addresses through a translator (RFC 6052)."""

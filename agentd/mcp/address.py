"""Where the server listens by HTTP. Pure."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final

_LAST_PORT: Final = 65535


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read ``HOST:PORT`` of loopback.

        Raises
        ------
        ValueError
            If it is something else.
        """
        host, colon, port = text.rpartition(":")
        bare = host.removeprefix("[").removesuffix("]")
        if not colon or not port.isascii() or not port.isdigit() or int(port) > _LAST_PORT:
            raise ValueError(f"expected HOST:PORT, found {text!r}")
        try:
            loopback = bare == "localhost" or ipaddress.ip_address(bare).is_loopback
        except ValueError:
            loopback = False
        if not loopback:
            raise ValueError(f"expected an address of loopback, as 127.0.0.1:{port}, found {text!r}")
        return cls(bare, int(port))

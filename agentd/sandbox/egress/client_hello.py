"""The name in a TLS ClientHello, where it is visible. Pure. Source: RFC 8446, section 4, and RFC 6066, section 3."""

from __future__ import annotations

from typing import Final

HANDSHAKE: Final = 0x16
_MAJOR: Final = 3
_CLIENT_HELLO: Final = 1
_SERVER_NAME: Final = 0
LARGEST: Final = 16 * 1024 + 5
"""Bytes of a record."""


class NotTlsError(ValueError):
    """What begins like TLS is none."""


class _Bytes:
    """Takes length-prefixed pieces off some bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def take(self, size: int) -> bytes:
        if size > len(self._data):
            raise NotTlsError("a ClientHello is cut off")
        taken, self._data = self._data[:size], self._data[size:]
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def piece(self, size: int) -> bytes:
        return self.take(self.number(size))

    def __bool__(self) -> bool:
        return bool(self._data)


def record_size(start: bytes) -> int:
    """Bytes of the record that begins with these 5.

    Raises
    ------
    NotTlsError
        If no handshake begins so.
    """
    size = int.from_bytes(start[3:5], "big")
    if start[0] != HANDSHAKE or start[1] != _MAJOR or not 0 < size <= LARGEST - 5:
        raise NotTlsError("expected a TLS handshake")
    return 5 + size


def server_name(record: bytes) -> str | None:
    """Read the name that a client asks for, from the first record of its connection; ``None`` if it names none.

    Raises
    ------
    NotTlsError
        If that is not a whole ClientHello, or names several hosts.
    """
    message = _Bytes(record[5:])
    if message.number(1) != _CLIENT_HELLO:
        raise NotTlsError("expected a ClientHello")
    hello = _Bytes(message.piece(3))
    hello.take(2 + 32)
    hello.piece(1)
    hello.piece(2)
    hello.piece(1)
    if not hello:
        return None
    extensions = _Bytes(hello.piece(2))
    found: list[str] = []
    while extensions:
        kind, body = extensions.number(2), extensions.piece(2)
        if kind == _SERVER_NAME:
            names = _Bytes(_Bytes(body).piece(2))
            while names:
                names.take(1)
                found.append(names.piece(2).decode("ascii", "replace").lower().removesuffix("."))
    if len(found) > 1:
        raise NotTlsError("a ClientHello names several hosts")
    return found[0] if found else None

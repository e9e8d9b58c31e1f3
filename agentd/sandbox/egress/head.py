"""Heads of HTTP/1 requests, read as strictly as can be: what two readers may take differently is refused. Pure.

Source: RFC 9110 and RFC 9112.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

LARGEST: Final = 64 * 1024
"""Bytes of a head."""

_LINE: Final = re.compile(rb"([A-Z]{1,32}) ([!-~]+) HTTP/1\.([01])")
_FIELD: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t -~\x80-\xff]*?)[ \t]*")
_LENGTH: Final = re.compile(rb"[0-9]{1,18}")

_HOP: Final = frozenset({b"proxy-connection", b"proxy-authorization", b"http2-settings"})
"""Fields for a proxy, which go no further."""


class BadRequestError(ValueError):
    """Not a request that is passed on; `status` and the text are the answer."""

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True, slots=True)
class Head:
    """A request line and its fields."""

    method: bytes
    target: bytes
    minor: int
    """Of the version: HTTP/1.0 or 1.1."""
    fields: tuple[tuple[bytes, bytes], ...]

    def values(self, name: bytes) -> list[bytes]:
        """All values of a field, whose name is in lower case."""
        return [value for key, value in self.fields if key.lower() == name]

    @property
    def wants_websocket(self) -> bool:
        """Whether what follows the answer is no longer HTTP, if the server agrees."""
        return any(value.lower() == b"websocket" for value in self.values(b"upgrade"))

    @property
    def length(self) -> int | None:
        """Bytes of the body that follows; ``None`` if it comes in chunks.

        Raises
        ------
        BadRequestError
            If that can be read in more than one way.
        """
        lengths, codings = self.values(b"content-length"), self.values(b"transfer-encoding")
        if codings:
            if lengths or len(codings) > 1 or codings[0].lower() != b"chunked" or self.minor == 0:
                raise BadRequestError("400 Bad Request", "expected either Content-Length or Transfer-Encoding: chunked")
            return None
        if len(lengths) > 1 or (lengths and _LENGTH.fullmatch(lengths[0]) is None):
            raise BadRequestError("400 Bad Request", "expected one Content-Length, a number")
        return int(lengths[0]) if lengths else 0

    def passed_on(self) -> Head:
        """Leave out what concerns this connection alone, and offers to leave HTTP/1."""
        websocket = self.wants_websocket

        def kept(name: bytes, value: bytes) -> bool:
            lower = name.lower()
            if lower == b"upgrade":
                return value.lower() == b"websocket"
            if lower == b"connection" and not websocket:
                return value.lower() in (b"close", b"keep-alive")
            return lower not in _HOP

        return replace(self, fields=tuple((name, value) for name, value in self.fields if kept(name, value)))

    def dump(self) -> bytes:
        """Write it as it is sent."""
        lines = [b"%s %s HTTP/1.%d" % (self.method, self.target, self.minor)]
        lines += [b"%s: %s" % field for field in self.fields]
        return b"\r\n".join((*lines, b"", b""))


def parse_head(data: bytes) -> Head:
    """Read a head, up to and with the empty line that ends it.

    Raises
    ------
    BadRequestError
        If it is not one, to the letter.
    """
    line, *rest = data.removesuffix(b"\r\n\r\n").split(b"\r\n")
    match = _LINE.fullmatch(line)
    if match is None:
        raise BadRequestError("400 Bad Request", "expected a request of HTTP/1.1")
    return Head(match[1], match[2], int(match[3]), tuple(_fields(rest)))


def _fields(lines: list[bytes]) -> Iterator[tuple[bytes, bytes]]:
    for line in lines:
        match = _FIELD.fullmatch(line)
        if match is None:
            raise BadRequestError("400 Bad Request", "a header field is malformed")
        yield match[1], match[2]


def parse_trailers(data: bytes) -> None:
    """Check the fields after the last chunk.

    Raises
    ------
    BadRequestError
        If they are malformed.
    """
    for _ in _fields(data.removesuffix(b"\r\n\r\n").split(b"\r\n") if data != b"\r\n" else []):
        pass

"""tmux' control-mode protocol, without I/O: bytes in, replies and notifications out.

A command's answer stands between ``%begin TIME NUMBER FLAGS`` and ``%end`` or ``%error`` with the same three.
Blank lines inside are legal. Other lines that begin with ``%`` are notifications. Source: tmux(1), CONTROL MODE.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

FROM_THIS_CLIENT = 1
"""Bit of FLAGS that marks the answer to a line written by this client, not to its command line or a hook."""

LONGEST_LINE = 1 << 20
"""Bytes; the longest legal ones are agentd's own records, a few hundred bytes."""
LARGEST_ANSWER = 1 << 26
"""Bytes; a list of 1000 panes has 0.5 MB."""

_GUARD = re.compile(r"[0-9]{1,20} [0-9]{1,10} (?P<flags>[0-9]{1,10})")


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to one command."""

    ok: bool
    lines: tuple[str, ...]
    flags: int

    @property
    def text(self) -> str:
        """All lines in one, for messages."""
        return " ".join(self.lines)


@dataclass(frozen=True, slots=True)
class Notification:
    """Something that happened in the server."""

    name: str
    """Without the ``%``: ``sessions-changed``, ``exit``…"""
    rest: str


class ProtocolError(ValueError):
    """The stream is not control mode: tmux printed something else, or there is no end of it."""


class ControlParser:
    """Splits a control-mode stream; bytes may be cut anywhere."""

    def __init__(self) -> None:
        self._partial: list[bytes] = []
        self._partial_size = 0
        self._block: tuple[str, int] | None = None
        self._lines: list[str] = []
        self._block_size = 0

    def feed(self, data: bytes) -> list[Reply | Notification]:
        """Take bytes as they came and return what is complete.

        Raises
        ------
        ProtocolError
            On a line outside a block that is no notification, and on a line or an answer beyond all measure.
        """
        first, *rest = data.split(b"\n")
        self._partial.append(first)
        self._partial_size += len(first)
        found: list[Reply | Notification] = []
        for chunk in rest:
            self._check_size()
            item = self._line(b"".join(self._partial).decode("utf-8", "replace").removesuffix("\r"))
            self._partial, self._partial_size = [chunk], len(chunk)
            if item is not None:
                found.append(item)
        self._check_size()
        return found

    def _check_size(self) -> None:
        if self._partial_size > LONGEST_LINE:
            raise ProtocolError(f"expected lines of at most {LONGEST_LINE} bytes, found a longer one")
        if self._block_size > LARGEST_ANSWER:
            raise ProtocolError(f"expected answers of at most {LARGEST_ANSWER} bytes, found a larger one")

    def _line(self, line: str) -> Reply | Notification | None:
        if self._block is not None:
            identity, flags = self._block
            if line in (f"%end {identity}", f"%error {identity}"):
                reply = Reply(line.startswith("%end"), tuple(self._lines), flags)
                self._block, self._lines, self._block_size = None, [], 0
                return reply
            self._lines.append(line)
            self._block_size += len(line) + 1
            return None
        if line.startswith("%begin "):
            identity = line.removeprefix("%begin ")
            match = _GUARD.fullmatch(identity)
            if match is None:
                raise ProtocolError(f"expected '%begin TIME NUMBER FLAGS', found {line[:80]!r}")
            self._block = identity, int(match["flags"])
            return None
        if line.startswith("%"):
            name, _, rest = line[1:].partition(" ")
            return Notification(name, rest)
        if not line:
            return None
        raise ProtocolError(f"expected a control-mode line, found {line[:80]!r}")

"""The lines of standard input, which can be waited for with a limit."""

from __future__ import annotations

import os
import select
import time

_PIECE = 65536


class InputLines:
    """Lines of a terminal or a pipe.

    ``input`` reads ahead on a pipe, so that nobody can tell whether there is another line yet.
    """

    def __init__(self, descriptor: int = 0) -> None:
        self._descriptor = descriptor
        self._held = b""
        self._over = False
        self.terminal = os.isatty(descriptor)

    def wait(self, seconds: float) -> bool:
        """Wait for a line, or the end, this long; says whether there is one."""
        until = time.monotonic() + seconds
        while not self._complete:
            if not select.select([self._descriptor], [], [], max(0.0, until - time.monotonic()))[0]:
                return False
            self._read()
        return True

    def take(self) -> str | None:
        """Take the next line, ``None`` at the end."""
        while not self._complete:
            self._read()
        if not self._held:
            # A terminal goes on after C-d.
            self._over = not self.terminal
            return None
        line, _, self._held = self._held.partition(b"\n")
        return line.decode(errors="replace")

    def put_back(self, line: str) -> None:
        """Have a line taken again."""
        self._held = f"{line}\n".encode() + self._held

    @property
    def _complete(self) -> bool:
        return self._over or b"\n" in self._held

    def _read(self) -> None:
        piece = os.read(self._descriptor, _PIECE)
        self._held += piece
        self._over = not piece

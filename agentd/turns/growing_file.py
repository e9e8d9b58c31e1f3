"""Reads what is appended to a file that an agent writes: line by line, in bounded pieces, never from a wrong place.

The file may be a gigabyte, half-written, replaced, truncated, a link to somebody else's, or on a disk that hangs.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from agentd.files.regular import NotEntitledError, may_open, open_regular
from agentd.model.user import AgentUser

PIECE = 256 * 1024
"""Bytes that are read at once."""

LONGEST_LINE = 4 << 20
"""Bytes; a longer line is passed over."""

MOST_BEHIND = 16 << 20
"""Bytes: what a file has grown by beyond these since the last look is passed over up to the last `PIECE`."""


class GrowingFile:
    """The lines of a file, from a place on.

    Parameters
    ----------
    account
        Who writes it: what this user may not read is not read.
    new
        Whether all of it is of now, so that it is read from its beginning.
    beneath
        The folder of a sandboxed agent that the path begins with: below it no link is followed.
    """

    def __init__(self, path: Path, account: AgentUser, *, new: bool = False, beneath: Path | None = None) -> None:
        self.path = path
        self._beneath = beneath
        self._account = account
        self._new = new
        """Also if it was not there at first."""
        self._inode: int | None = None
        self._offset = 0
        self._partial = b""
        self._skipping = False
        """Whether the line that the next piece goes on with is passed over."""
        self.skipped = 0
        """Bytes that were passed over."""

    def read(self) -> tuple[list[bytes], bool]:
        """Read a piece: the lines that are complete, and whether there is more. Blocks.

        What is there at the first look is passed over, unless `new`.

        Raises
        ------
        OSError
            If it cannot be read.
        """
        try:
            with open_regular(self.path, self._beneath) as file:
                return self._read(file)
        except FileNotFoundError:
            self._new = True
            raise

    def _read(self, file: BinaryIO) -> tuple[list[bytes], bool]:
        if not may_open(self._account, self.path, file.fileno()):
            raise NotEntitledError(None, "is a file that the agents' user may not read", str(self.path))
        status = os.fstat(file.fileno())
        self._place(status.st_ino, status.st_size)
        file.seek(self._offset)
        data = file.read(PIECE)
        self._offset += len(data)
        return self._lines(data), self._offset < status.st_size

    def _place(self, inode: int, size: int) -> None:
        """Find the place to go on from."""
        if inode != self._inode or size < self._offset:
            first = self._inode is None
            self._inode, self._offset, self._partial, self._skipping = inode, 0, b"", False
            if first and not self._new:
                # Its last byte tells whether it ends in the middle of a line.
                self._offset, self._skipping = max(0, size - 1), size > 0
        if size - self._offset > MOST_BEHIND:
            self.skipped += size - PIECE - self._offset
            self._offset, self._partial, self._skipping = size - PIECE, b"", True

    def _lines(self, data: bytes) -> list[bytes]:
        *lines, rest = (self._partial + data).split(b"\n")
        if lines and self._skipping:
            del lines[0]
            self._skipping = False
        if self._skipping or len(rest) > LONGEST_LINE:
            self.skipped += len(rest)
            self._skipping, rest = True, b""
        self._partial = rest
        return [line for line in lines if line.strip()]

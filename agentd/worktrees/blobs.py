"""Parse the output of ``git cat-file --batch`` as it arrives, without trusting it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from agentd.text.quoting import quote
from agentd.worktrees.git import GitError
from agentd.worktrees.tree_paths import LINK, LONGEST_PATH, TreeFile

_HEAD: Final = re.compile(rb"([0-9a-f]+) blob ([0-9]{1,18})")
_LONGEST_HEAD: Final = 128
"""Bytes; twice what the longest object name, kind and size take."""


class Blobs:
    """A parser of file contents, one after the other.

    Parameters
    ----------
    files
        In the order in which they were requested.
    begin
        Called with each file, gives a function that is called with the parts of its content.
    most
        Limit of all together, in bytes.
    """

    def __init__(
        self, files: Sequence[TreeFile], begin: Callable[[TreeFile], Callable[[bytes], object]], most: int
    ) -> None:
        self._files = iter(files)
        self._begin = begin
        self._most, self._left = most, most
        self.longest_answer = most + len(files) * _LONGEST_HEAD
        """Limit of the whole output, in bytes."""
        self._buffer = b""
        self._file = next(self._files, None)
        self._write: Callable[[bytes], object] | None = None
        self._missing = 0
        """Bytes still to come of the current file."""

    def take(self, data: bytes) -> None:
        """Parse the next part of the output.

        Raises
        ------
        GitError
            If it does not answer the request, or is too long.
        """
        # NAME SP TYPE SP SIZE LF CONTENT LF
        self._buffer += data
        while self._buffer:
            if self._write is None:
                head, line_end, rest = self._buffer.partition(b"\n")
                if not line_end and len(head) <= _LONGEST_HEAD:
                    return
                self._read_head(head)
                self._buffer = rest
            elif self._missing:
                part, self._buffer = self._buffer[: self._missing], self._buffer[self._missing :]
                self._missing -= len(part)
                self._write(part)
            else:
                if not self._buffer.startswith(b"\n"):
                    raise self._wrong(self._buffer)
                self._buffer = self._buffer[1:]
                self._write, self._file = None, next(self._files, None)

    def end(self) -> None:
        """Check that the output is complete.

        Raises
        ------
        GitError
            If a file, or part of one, is missing.
        """
        if self._file is not None or self._buffer:
            raise self._wrong(b"nothing more")

    def _read_head(self, head: bytes) -> None:
        found = _HEAD.fullmatch(head)
        if found is None or self._file is None or found[1].decode() != self._file.object:
            raise self._wrong(head)
        self._missing = int(found[2])
        if self._missing > (LONGEST_PATH if self._file.mode == LINK else self._left):
            path = quote(self._file.path)
            raise GitError(f"with {path} ({self._missing} bytes) the files are larger than {self._most} bytes together")
        self._left -= self._missing
        self._write = self._begin(self._file)
        if not self._missing:
            self._write(b"")

    def _wrong(self, found: bytes) -> GitError:
        path = "the last file" if self._file is None else quote(self._file.path)
        shown = quote(found.decode("utf-8", "replace"))
        return GitError(f"git answered {shown} when asked for the content of {path}; look into that repository")

"""Reading what ``git cat-file --batch`` answers, piece by piece and not trusting it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from agentd.text.quoting import quote
from agentd.worktrees.git import GitError
from agentd.worktrees.tree_paths import LINK, LONGEST_PATH, TreeFile

_HEAD: Final = re.compile(rb"([0-9a-f]+) blob ([0-9]{1,18})")
_LONGEST_HEAD: Final = 128
"""Bytes: the longest name of an object, its kind and its size have half of it."""


class Blobs:
    """The contents of files, which come one after the other.

    Parameters
    ----------
    files
        In the order in which they were asked for.
    begin
        Called with each in turn, gives what is called with the pieces of its content.
    most
        Bytes that all may have together.
    """

    def __init__(
        self, files: Sequence[TreeFile], begin: Callable[[TreeFile], Callable[[bytes], object]], most: int
    ) -> None:
        self._files = iter(files)
        self._begin = begin
        self._most, self._left = most, most
        self.longest_answer = most + len(files) * _LONGEST_HEAD
        """Bytes of the whole answer."""
        self._buffer = b""
        self._file = next(self._files, None)
        self._write: Callable[[bytes], object] | None = None
        self._missing = 0
        """Bytes of the file that is being read."""

    def take(self, data: bytes) -> None:
        """Take the next piece of the answer.

        Raises
        ------
        GitError
            If it is no answer to what was asked, or too long.
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
        """Say that nothing more comes.

        Raises
        ------
        GitError
            If a file is missing, or part of one.
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
        return GitError(f"git answered {shown} when asked for the content of {path}; look at that repository")

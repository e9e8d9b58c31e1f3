"""A jcard or folder of drop-ins named on a command line, or a jcard from a pipe."""

from __future__ import annotations

import re
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from agentd.files.answering import within
from agentd.jcard.reading import config_bytes
from agentd.settings.context import LARGEST_CONFIG, ConfigMissingError, ConfigUnavailableError
from agentd.settings.folders import absolute

STDIN = "-"

_DESCRIPTOR = re.compile(r"/dev/stdin|/dev/fd/\d+|/proc/.+/fd/\d+")
"""Paths of open files; /dev/shm is an ordinary folder."""


@dataclass(frozen=True, slots=True)
class GivenFile:
    """Where a jcard is read from."""

    path: Path
    """Its name in messages."""
    folder: Path
    """What its relative paths start from: its own folder, or the current one for a stream."""
    stream: bool
    """Whether it can be read only once: standard input, a FIFO or ``<(…)``."""
    typed: bool = True
    """Whether it is a word of the command line, and no setting."""

    def is_folder(self) -> bool:
        """Whether it is a folder of drop-ins."""
        try:
            return not self.stream and within(self.path, self.path.is_dir)
        except OSError:
            return False

    def read(self) -> bytes:
        """Read it whole.

        Raises
        ------
        ConfigUnavailableError
            As `config_bytes`; a stream also if it is too long.
        """
        if not self.stream:
            try:
                return config_bytes(self.path)
            except ConfigMissingError:
                if not self.typed:
                    raise
                raise ConfigUnavailableError(f"{self.path}: there is no such file; name one that is there") from None
        try:
            if self.path == Path(STDIN):
                return self._read(sys.stdin.buffer)
            with self.path.open("rb") as file:
                return self._read(file)
        except OSError as error:
            raise ConfigUnavailableError(f"{self.path}: cannot be read: {error.strerror}") from error

    def _read(self, file: BinaryIO) -> bytes:
        data = file.read(LARGEST_CONFIG + 1)
        if len(data) > LARGEST_CONFIG:
            raise ConfigUnavailableError(f"{self.path}: expected {LARGEST_CONFIG} bytes at most, found more")
        if not data:
            raise ConfigUnavailableError(f"{self.path}: nothing came: expected a jcard")
        return data


def given_file(text: str) -> GivenFile:
    """Interpret a word of the command line; ``-`` is standard input."""
    if text == STDIN:
        return GivenFile(Path(STDIN), absolute("."), stream=True)
    path = absolute(text)
    if _is_stream(path):
        return GivenFile(path, absolute("."), stream=True)
    return GivenFile(path, path.parent, stream=False)


def _is_stream(path: Path) -> bool:
    try:
        mode = within(path, lambda: path.stat().st_mode)
    except OSError:
        return False
    if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or stat.S_ISCHR(mode):
        return True
    # With redirected input, /dev/stdin is a regular file, but no base for relative paths.
    return _DESCRIPTOR.fullmatch(str(path)) is not None

"""The session file of a run of Claude Code: followed while it matters, and read in the order of its lines."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from agentd.files.answering import NotAnsweringError
from agentd.turns.adapter import Ground
from agentd.turns.claude.held import is_of
from agentd.turns.claude.session_file import Recorded, Session
from agentd.turns.file_changes import FileWatch
from agentd.turns.growing_file import GrowingFile
from agentd.turns.reading import Reading

_FOUND: Final = 5.0
"""Seconds until it is known which file it is."""


@dataclass(slots=True)
class SessionReader:
    """Reads one.

    Parameters
    ----------
    files
        How it is read.
    take
        Takes what a line says.
    take_late
        Takes one record of a turn that began while no agentd listened.
    news
        Told that there may be more to be read.
    """

    files: Reading
    ground: Ground
    take: Callable[[Sequence[Recorded]], None]
    take_late: Callable[[Recorded], None]
    news: Callable[[], None]
    _path: Path | None = None
    """As a hook told it, or as it must be."""
    _known: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once that is known."""
    _file: GrowingFile | None = None
    _reading: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while it is read: its lines are in one order."""
    _records: Session = field(default_factory=Session)
    _watch: FileWatch | None = None

    @property
    def followed(self) -> bool:
        """Whether changes of it are told."""
        return self._watch is not None

    def is_at(self, path: Path) -> None:
        """Read this file from now on: what it holds at first is of turns before this run, or before this daemon."""
        if path == self._path:
            return
        self._path = path
        self._known.set()
        self.follow(wanted=False)
        self._file, self._records = self.files.growing(path), Session()
        self.news()

    def follow(self, *, wanted: bool) -> None:
        """Watch it for changes while they matter."""
        if self._watch is not None and not (wanted and self._path is not None):
            self.ground.changes.forget(self._watch)
            self._watch = None
        elif self._watch is None and wanted and self._path is not None:
            self._watch = self.files.watch(self.ground.changes, self._path, lambda _stamp: self.news())

    async def read_rest(self) -> None:
        """Read what was written since the last look, half a second ago at most."""
        async with self._reading:
            await self._read_further()

    async def _read_further(self) -> None:
        file = self._file
        if file is None:
            return
        more = True
        while more:
            try:
                lines, more = await self.ground.looks.look(file.path, file.read)
            except (OSError, NotAnsweringError):
                # It is made with the first message.
                return
            for line in lines:
                self.take(self._records.read(line))
            if file is not self._file:
                return

    async def recall(self, text: str, since: float) -> None:
        """Look into the session file for a turn that began while no agentd listened."""
        async with asyncio.timeout(_FOUND):
            await self._known.wait()
        assert self._path is not None
        file, records, found = self.files.growing(self._path, new=True), Session(), False
        more = True
        while more:
            try:
                lines, more = await self.ground.looks.look(file.path, file.read)
            except (OSError, NotAnsweringError):
                return
            for line in lines:
                recorded = records.read(line)
                found = found or any(is_of(each, text, since) for each in recorded)
                for each in recorded if found else ():
                    self.take_late(each)
        if found and file.path == self._path:
            # What follows is read once.
            self._file, self._records = file, records
        self.news()

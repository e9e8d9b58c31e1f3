"""Tells when files change: one look at all of them, in a thread, a few times a second.

300 files cost 1.0 ms of CPU a look. Folders are not watched instead: the files are in homes, where much changes, and a
notification has to be believed even where the file system sends none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agentd.files.answering import NotAnsweringError
from agentd.files.looks import Looks

INTERVAL = 0.3
"""Seconds between two looks."""

Stamp = tuple[int, int, int]
"""Inode, size and time of change, in nanoseconds."""


@dataclass(slots=True, eq=False)
class FileWatch:
    """One file that somebody waits for."""

    path: Path
    on_change: Callable[[Stamp | None], None]
    """Told the new stamp; ``None`` once the file is gone, or does not answer."""
    last: Stamp | None = None
    """As it was last told."""


class FileChanges:
    """Looks at files, and tells of changes.

    Parameters
    ----------
    looks
        What paths are looked at with.
    """

    def __init__(self, looks: Looks, interval: float = INTERVAL) -> None:
        self._looks = looks
        self._interval = interval
        self._watches: dict[FileWatch, None] = {}
        self._any = asyncio.Event()

    def watch(self, path: Path, on_change: Callable[[Stamp | None], None]) -> FileWatch:
        """Call back at each change, first if the file is there now."""
        watch = FileWatch(path, on_change)
        self._watches[watch] = None
        self._any.set()
        return watch

    def forget(self, watch: FileWatch) -> None:
        """Call back no more."""
        self._watches.pop(watch, None)
        if not self._watches:
            self._any.clear()

    async def run(self) -> None:
        """Look, until cancelled; not at all while nobody waits."""
        while True:
            await self._any.wait()
            await self.look()
            await asyncio.sleep(self._interval)

    async def look(self) -> None:
        """Look once."""
        paths = list({watch.path for watch in self._watches})
        found = await self._looks.each(paths, _stamp)
        for watch in list(self._watches):
            stamp = found.get(watch.path, watch.last)
            told = None if isinstance(stamp, NotAnsweringError) else stamp
            if told != watch.last:
                watch.last = told
                watch.on_change(told)


def _stamp(path: Path) -> Stamp | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns

"""How the records of one run are read, which its agent may write as it likes. Blocks.

A sandboxed agent has a home of its own, seen here from outside: below it no link is followed, since what it leads to
inside is another thing than outside.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from agentd.files.beneath import list_beneath, stat_beneath
from agentd.files.regular import open_entitled, read_regular
from agentd.harness.additions import SANDBOXED
from agentd.model.user import AgentUser
from agentd.turns.adapter import Ground, LiveRun
from agentd.turns.file_changes import FileChanges, FileWatch, Stamp
from agentd.turns.growing_file import GrowingFile

LONGEST: Final = 16 << 20
"""Bytes of a record; a longer one is not read."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How records of one run are read."""

    user: AgentUser
    """Whose they are."""
    beneath: Path | None = None
    """The home of a sandboxed agent, from outside: of its files no others are read, and no link there is followed."""

    @classmethod
    def of(cls, run: LiveRun, ground: Ground) -> Reading:
        """Of a run that is watched."""
        return cls(ground.user, run.facts.home if run.memo.get(SANDBOXED) else None)

    def all(self, path: Path, limit: int = LONGEST) -> bytes:
        """Read a file.

        Raises
        ------
        OSError
            If it cannot be read, is too long, or not the run's to read.
        """
        return read_regular(path, limit, self.user, beneath=self.beneath)

    def lines(self, path: Path) -> list[bytes]:
        """All lines of a file; raises as `all` does."""
        return self.all(path).splitlines()

    @contextmanager
    def opened(self, path: Path) -> Iterator[BinaryIO]:
        """Open a file; raises as `all` does."""
        with open_entitled(path, self.user, beneath=self.beneath) as file:
            yield file

    def growing(self, path: Path, *, new: bool = False) -> GrowingFile:
        """Read a file as it grows; does not block.

        Parameters
        ----------
        new
            Whether all of it is of now, so that it is read from its beginning.
        """
        return GrowingFile(path, self.user, new=new, beneath=self.beneath)

    def watch(self, changes: FileChanges, path: Path, on_change: Callable[[Stamp | None], None]) -> FileWatch:
        """Be told of each change of a file; does not block."""
        return changes.watch(path, on_change, self.beneath)

    def names(self, folder: Path) -> list[str]:
        """List a folder.

        Raises
        ------
        OSError
            If it cannot be listed.
        """
        if self.beneath is not None:
            return list_beneath(self.beneath, folder)
        return [path.name for path in folder.iterdir()]

    def glob(self, folder: Path, *patterns: str) -> Iterator[Path]:
        """Find what is below a folder, by a pattern for each name; what cannot be listed has nothing.

        A name that begins with a dot is found only by a pattern that does.
        """
        try:
            names = sorted(self.names(folder))
        except OSError:
            return
        for name in fnmatch.filter(names, patterns[0]):
            if name.startswith(".") and not patterns[0].startswith("."):
                continue
            if len(patterns) == 1:
                yield folder / name
            else:
                yield from self.glob(folder / name, *patterns[1:])

    def resolved(self, folder: Path) -> Path:
        """Give a folder without links; in a sandboxed agent's home there are none that count."""
        return folder.resolve() if self.beneath is None else folder

    def changed(self, path: Path) -> int:
        """Say when a file was written last, in nanoseconds since the epoch; 0 if it is not there."""
        try:
            found = path.lstat() if self.beneath is None else stat_beneath(self.beneath, path)
        except OSError:
            return 0
        return found.st_mtime_ns

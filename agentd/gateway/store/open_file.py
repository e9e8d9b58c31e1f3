"""The file of a SQLite database that is open: whether it still is at its path, and how it comes back there.

SQLite goes on with a file that was deleted under it, and all of it would be gone with the process.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

import structlog

log = structlog.get_logger(__name__)

_BESIDE: Final = ("-wal", "-shm")
"""What SQLite has beside a database."""


class ReplacedError(OSError):
    """Another file is at the database's path."""


class OpenFile:
    """A database's file, made if there is none.

    Raises
    ------
    OSError
        If it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        # What people say to their agents is nobody else's business.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._identity = _identity(os.fstat(descriptor))
        os.close(descriptor)
        self.path: Final = path
        self._replaced: ReplacedError | None = None

    def connect(self, busy_seconds: float) -> sqlite3.Connection:
        """Open it again; never makes another."""
        uri = f"{self.path.absolute().as_uri()}?mode=rw"
        return sqlite3.connect(uri, uri=True, timeout=busy_seconds, check_same_thread=False)

    @property
    def given_up(self) -> bool:
        """Whether another file was found at the path."""
        return self._replaced is not None

    def refuse_other(self) -> None:
        """Raise `ReplacedError` if that is so: some connections would show the one, some the other."""
        if self._replaced is not None:
            raise self._replaced

    def check(self) -> bool:
        """Say whether it is at its path.

        Raises
        ------
        ReplacedError
            If another one is.
        OSError
            If that cannot be found out.
        """
        self.refuse_other()
        try:
            found = _identity(self.path.stat())
        except FileNotFoundError:
            return False
        if found != self._identity:
            raise ReplacedError(f"another file was put at {self.path}: restart agentd-gateway to go on with that one")
        return True

    def put_back(self, connection: sqlite3.Connection) -> None:
        """Write what a connection still shows to the path; those that are open must be closed after that.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        copy = self._copy(connection)
        self._remove_beside(lambda _: True)
        try:
            # Not over what somebody puts there at this moment.
            os.link(copy, self.path)
            self._identity = _identity(copy.stat())
        finally:
            copy.unlink()
        _sync(self.path.parent)
        log.error(
            "database_put_back",
            path=str(self.path),
            reason="it was deleted under agentd-gateway, which had it open: nothing is lost",
        )

    def give_up(self, connection: sqlite3.Connection, error: ReplacedError) -> None:
        """Keep what a connection still shows under another name, since another file is at the path."""
        self._replaced = error
        kept = self.path.with_name(f"{self.path.name}.replaced-{os.getpid()}")
        try:
            self._copy(connection).rename(kept)
        except OSError as problem:
            log.error("database_replaced", path=str(self.path), reason=str(error), not_kept=str(problem))
        else:
            log.error("database_replaced", path=str(self.path), reason=str(error), kept_as=str(kept))
            self._remove_beside(_is_open_here)

    def _remove_beside(self, ours: Callable[[Path], bool]) -> None:
        """Remove what belongs to the file that is gone: it would be taken for the other one's."""
        for suffix in _BESIDE:
            path = Path(f"{self.path}{suffix}")
            if ours(path):
                path.unlink(missing_ok=True)

    def _copy(self, connection: sqlite3.Connection) -> Path:
        copy = self.path.with_name(f".{self.path.name}.copy")
        copy.unlink(missing_ok=True)
        os.close(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        try:
            with closing(sqlite3.connect(copy)) as target:
                connection.backup(target)
        except sqlite3.Error as error:
            with suppress(OSError):
                copy.unlink()
            raise OSError(f"{copy}: cannot be written: {error}") from None
        return copy


def _is_open_here(path: Path) -> bool:
    with suppress(FileNotFoundError):
        identity = _identity(path.stat())
        for descriptor in Path("/proc/self/fd").iterdir():
            with suppress(OSError):
                if _identity(os.fstat(int(descriptor.name))) == identity:
                    return True
    return False


def _identity(stat: os.stat_result) -> tuple[int, int]:
    return stat.st_dev, stat.st_ino


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

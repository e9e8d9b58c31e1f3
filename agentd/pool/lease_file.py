"""Leases on disk: who works on which real paths. One file, changed under a lock."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, TypeVar

from agentd.files.locks import LockedError, locked
from agentd.files.regular import read_regular
from agentd.files.replacing import Replacement
from agentd.pool.errors import Code, PoolError

T = TypeVar("T")

_LARGEST: Final = 1 << 24

FILE: Final = "pool/leases.json"
"""In the state directory."""

READ: Final = "read"
WRITE: Final = "write"


@dataclass(frozen=True, slots=True)
class Held:
    """A lease."""

    id: str
    path: str
    """Absolute and real: without links and ``..``."""
    repo: str
    mode: str
    owner: str
    acquired: float
    """Seconds since the epoch."""
    expires: float | None

    def excludes(self, path: str, mode: str, owner: str) -> bool:
        """Whether somebody else may not have a lease on a path."""
        if self.owner == owner or (self.mode == READ and mode == READ):
            return False
        return within(path, self.path) or within(self.path, path)


def within(path: str, folder: str) -> bool:
    """Whether a path is a folder, or in it."""
    return path == folder or path.startswith(f"{folder.rstrip('/')}/")


class LeaseFile:
    """The file of all leases; blocks.

    Parameters
    ----------
    file
        Where.
    lives
        Whether a lease still counts: its owner lives, and its time is not over.
    """

    def __init__(self, file: Path, lives: Callable[[Held], bool]) -> None:
        self._file = file
        self._lives = lives

    def read(self) -> list[Held]:
        """Give the leases that count."""
        return [each for each in self._all() if self._lives(each)]

    def change(self, change: Callable[[list[Held]], tuple[Sequence[Held], T]]) -> T:
        """Change the leases that count, while nobody else does.

        Raises
        ------
        PoolError
            If they cannot be written; also what the change raises.
        """
        with self._alone():
            kept, result = change(self.read())
            text = json.dumps([asdict(each) for each in kept])
            Replacement(self._file, text.encode()).take_place()
            return result

    @contextmanager
    def _alone(self) -> Iterator[None]:
        try:
            self._file.parent.mkdir(mode=0o700, exist_ok=True)
            with locked(self._file, 30.0):
                yield
        except LockedError as error:
            raise PoolError(Code.CONFLICT, str(error), "agentctl lease list") from error
        except OSError as error:
            message = f"{self._file}: cannot be written: {error.strerror}; leases are for who may write there"
            raise PoolError(Code.NOT_PERMITTED, message, "agentctl doctor") from error

    def _all(self) -> list[Held]:
        try:
            found = json.loads(read_regular(self._file, _LARGEST))
            return [Held(**each) for each in found]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, TypeError) as error:
            message = f"{self._file}: cannot be read: {error}; move it away"
            raise PoolError(Code.FAILED, message, "agentctl lease list") from error


def real(path: Path) -> str:
    """Resolve a path to its one real name, whether or not it exists."""
    return os.path.realpath(path)

"""Looking at paths that users name, some of which may be on a file system that does not answer.

A system call on a hung network or FUSE mount does not return, and nothing but the mount can end it. So such a look is
made in a thread that nobody has to wait for, and it says step by step where it is: the name at which it stops is the
one that does not answer, whatever links led there.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol, TypeVar

from agentd.text.quoting import printable

LIMIT: Final = 2.0
"""Seconds for one step of a look; a disk that was asleep needs longer, and is taken up once it answers."""

_MOST_LINKS: Final = 40
"""As many as Linux follows."""

_POLL: Final = 0.05

T = TypeVar("T")


class NotAnsweringError(OSError):
    """The file system under a path does not answer; `filename` is the path at which it stopped."""

    def __init__(self, path: str) -> None:
        super().__init__(errno.ETIMEDOUT, f"{printable(path)} does not answer", path)


class GivenUpError(Exception):
    """Nobody waits for this look any more."""


class Unanswered(Protocol):
    """Knows what does not answer at the moment."""

    def __call__(self, path: str, /) -> bool:
        """Whether this very path is known not to."""


def _unknown(_path: str) -> bool:
    return False


class Way:
    """How far a look has come.

    Parameters
    ----------
    unanswered
        What must not be touched.
    """

    __slots__ = ("_unanswered", "at", "given_up", "since")

    def __init__(self, unanswered: Unanswered = _unknown) -> None:
        self._unanswered = unanswered
        self.at = "/"
        """Where it is."""
        self.since = time.monotonic()
        """Since when."""
        self.given_up = False

    def to(self, path: str | Path) -> None:
        """Go to an absolute path, link by link; what does not exist ends the way without a word.

        Raises
        ------
        NotAnsweringError
            If it leads through something that is known not to answer.
        GivenUpError
            If nobody waits any more.
        """
        left = _parts(os.fspath(path))
        at, links = "", 0
        while left:
            part = left.pop()
            if part == "..":
                at = at.rpartition("/")[0]
                continue
            step = f"{at}/{part}"
            self._enter(step)
            try:
                link = os.readlink(step) if stat.S_ISLNK(os.lstat(step).st_mode) else None  # noqa: PTH115 (for every part of every path)
            except OSError:
                return
            if link is None:
                at = step
                continue
            links += 1
            if links > _MOST_LINKS:
                return
            left += _parts(link)
            if link.startswith("/"):
                at = ""
        self._enter(at or "/")

    def to_entry(self, folder: str, name: str) -> None:
        """Go to an entry, which is no symlink, of a folder that the way has led to.

        Raises
        ------
        NotAnsweringError
            If it is known not to answer.
        GivenUpError
            If nobody waits any more.
        """
        self._enter(f"{folder.rstrip('/')}/{name}")

    def _enter(self, step: str) -> None:
        if self.given_up:
            raise GivenUpError
        if self._unanswered(step):
            raise NotAnsweringError(step)
        self.at, self.since = step, time.monotonic()


def _parts(path: str) -> list[str]:
    """The parts of a path, the last first."""
    return [part for part in reversed(path.split("/")) if part not in ("", ".")]


_hung: set[str] = set()
"""What did not answer to this program, and is not asked again."""


def within(path: str | Path, job: Callable[[], T], limit: float = LIMIT) -> T:
    """Look at a path from a program that has nothing else to do, but must not hang.

    Raises
    ------
    NotAnsweringError
        If a step takes longer than `limit` seconds, or leads through what did not answer before.
    BaseException
        Whatever `job` raises.
    """

    def go(way: Way) -> T:
        way.to(path)
        return job()

    return along(go, limit)


def along(job: Callable[[Way], T], limit: float = LIMIT) -> T:
    """Do a job that says itself, by its way, which paths it is about to touch; else as `within`.

    Raises
    ------
    NotAnsweringError
        If a step takes longer than `limit` seconds, or leads through what did not answer before.
    BaseException
        Whatever `job` raises.
    """
    way = Way(_hung.__contains__)
    results: list[T] = []
    raised: list[BaseException] = []

    def look() -> None:
        try:
            results.append(job(way))
        except BaseException as error:  # noqa: BLE001 (raised again in the thread that waits)
            raised.append(error)

    thread = threading.Thread(target=look, name="look", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(_POLL)
        if thread.is_alive() and time.monotonic() > way.since + limit:
            way.given_up = True
            _hung.add(way.at)
            raise NotAnsweringError(way.at)
    if raised:
        raise raised[0]
    return results[0]

"""A run that is ended from outside takes along what it has started: its workers, their agentds and agents."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from tests.support.processes import end_marked

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PR_SET_PDEATHSIG = 1


class Ending:
    """What a process of the fault runs does when it is told to end: the first time, and where it may be interrupted."""

    def __init__(self) -> None:
        self.told: int | None = None
        """The first signal that came."""
        self._open = False

    def install(self) -> None:
        """Take the signals from now on."""
        for number in SIGNALS:
            signal.signal(number, self._take)

    def check(self) -> None:
        """Raise `SystemExit` if a signal has come.

        Raises
        ------
        SystemExit
            With the status of a shell's.
        """
        if self.told is not None:
            raise SystemExit(128 + self.told)

    @contextmanager
    def interrupting(self) -> Iterator[None]:
        """Let a signal raise `SystemExit` here; elsewhere it is noted."""
        self._open = True
        try:
            self.check()
            yield
        finally:
            self._open = False

    def _take(self, number: int, _: FrameType | None) -> None:
        first, self.told = self.told is None, self.told or number
        if first and self._open:
            raise SystemExit(128 + number)


def end_with(parent: int) -> bool:
    """Get SIGTERM when the parent ends, however it ends; false if it has ended already."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    return os.getppid() == parent


def clear_away(folder: Path) -> None:
    """End whatever still runs in the folder of a world that nobody will close, and remove it."""
    end_marked(str(folder))
    shutil.rmtree(folder, ignore_errors=True)

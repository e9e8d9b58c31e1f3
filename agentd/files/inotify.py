"""Blocking until something happens in some folders (inotify(7)): it says that, and not what.

Python has no inotify of its own; these are three calls of libc.
"""

from __future__ import annotations

import ctypes
import os
import select
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_ANY_CHANGE: Final = 0x2 | 0x4 | 0x8 | 0x40 | 0x80 | 0x100 | 0x200 | 0x400 | 0x800
"""IN_MODIFY, ATTRIB, CLOSE_WRITE, MOVED_FROM, MOVED_TO, CREATE, DELETE, DELETE_SELF and MOVE_SELF: all but reading."""

_AT_ONCE: Final = 64 * 1024
"""Bytes of events that are thrown away by one call."""


class FolderEvents:
    """Waits for whatever happens to folders and to their entries, in one thread.

    Raises
    ------
    OSError
        If the kernel watches none of them for this: on another system than Linux, or with no instance left.
    """

    def __init__(self, folders: Iterable[Path]) -> None:
        if sys.platform != "linux":
            raise OSError(0, "inotify is Linux'")
        libc = ctypes.CDLL(None, use_errno=True)
        self._lock = threading.Lock()
        self._events = _checked(libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK))
        self._end = -1
        try:
            for folder in folders:
                _checked(libc.inotify_add_watch(self._events, os.fsencode(folder), _ANY_CHANGE))
            self._end = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        except BaseException:
            self.close()
            raise
        self._poll = select.poll()
        self._poll.register(self._events, select.POLLIN)
        self._poll.register(self._end, select.POLLIN)

    def wait(self, seconds: float) -> bool:
        """Wait until something has happened since the last wait, or `end`; false if nothing did within the limit."""
        ready = {descriptor for descriptor, _ in self._poll.poll(1000 * seconds)}
        if self._events in ready:
            os.read(self._events, _AT_ONCE)
        return bool(ready)

    def end(self) -> None:
        """Have every wait return at once from now on; from any thread."""
        with self._lock:
            if self._end >= 0:
                os.eventfd_write(self._end, 1)

    def close(self) -> None:
        """Give everything back to the kernel; nothing waits then."""
        with self._lock:
            for descriptor in (self._events, self._end):
                if descriptor >= 0:
                    os.close(descriptor)
            self._events = self._end = -1


def instance_left() -> bool:
    """Whether the kernel still gives this user an instance of inotify."""
    try:
        FolderEvents(()).close()
    except OSError:
        return False
    return True


def _checked(result: int) -> int:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result

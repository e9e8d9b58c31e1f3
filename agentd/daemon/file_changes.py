"""What changed in some folders, from watchfiles' queue.

watchfiles' own loop hands changes on once a look finds no more of them than the one before, one and a half of its steps
after a change. Here a file that was replaced as a whole is handed on by the first look; others have to stand still.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from watchfiles import Change
from watchfiles._rust_notify import RustNotify

_STEP = 0.055
"""Seconds between two looks while nothing changes. Each costs 0.12 ms of CPU, as any wake-up of a thread does: 0.2 % of
a core with 18 a second."""

_STILL_MS = 30
"""Milliseconds in which a file that is written in place must not change any more."""

_LONGEST_MS = 90
"""Milliseconds after which changes are handed on in any case."""

_AT_ONCE = 0
_SOON = 1


class _Pace:
    """How often watchfiles' loop looks at its queue: it asks before each look whether it is to end.

    It gives out what two looks in a row find the same number of. So there are two in a row, and then a pause: nothing
    is lost, as it would be with what arrives while a loop is told to end.
    """

    def __init__(self) -> None:
        self._going_on = threading.Lock()
        """Held until the end: waiting for it with a limit is a pause that the end cuts short."""
        self._going_on.acquire()
        self._over = False
        self._pausing = False

    def end(self) -> None:
        """Let the loop end now."""
        if not self._over:
            self._over = True
            self._going_on.release()

    def is_set(self) -> bool:
        self._pausing = not self._pausing
        if self._pausing and not self._over:
            self._going_on.acquire(timeout=_STEP)
        return self._over


class FileChanges:
    """The changes of the entries of folders, for the thread that waits for them.

    Parameters
    ----------
    folders
        Watched without what is below them.
    counts
        Whether the change of an entry is of interest.
    files
        Those of the entries of which it is known from the beginning whether they exist.

    Raises
    ------
    OSError
        If a folder cannot be watched.
    RuntimeError
        If the kernel refuses to watch anything.
    """

    def __init__(self, folders: Iterable[Path], counts: Callable[[Path], bool], files: Iterable[Path] = ()) -> None:
        debug = polling = recursive = ignore_denied = False
        self._notify = RustNotify(list(map(str, folders)), debug, polling, _AT_ONCE, recursive, ignore_denied)
        self._counts = counts
        self._there = {path for path in files if os.path.lexists(path)}
        self._pace = _Pace()

    def end(self) -> None:
        """Let the thread go."""
        self._pace.end()

    def wait(self) -> bool:
        """Wait until something of interest has changed and stands still; false at the end.

        Raises
        ------
        RuntimeError
            If it cannot be watched any more.
        """
        while True:
            found = self._counting(self._notify.watch(_AT_ONCE, _AT_ONCE, _AT_ONCE, self._pace))
            if found is None:
                return False
            if found:
                if not self._all_replaced(found):
                    self._let_settle()
                return True

    def _let_settle(self) -> None:
        """Wait until nothing changes any more. What changes from now on is read as well."""
        for _ in range(0, _LONGEST_MS, _STILL_MS):
            found = self._counting(self._notify.watch(_AT_ONCE, _STILL_MS, _SOON, None))
            if not found:
                return

    def _counting(self, changes: set[tuple[int, str]] | str) -> dict[Path, set[Change]] | None:
        """Sort out what is of interest; ``None`` if watchfiles' loop has ended without changes."""
        if isinstance(changes, str):
            return None
        found: dict[Path, set[Change]] = {}
        for kind, text in changes:
            path = Path(text)
            if self._counts(path):
                found.setdefault(path, set()).add(Change(kind))
        for path, kinds in found.items():
            if kinds == {Change.deleted}:
                self._there.discard(path)
        return found

    def _all_replaced(self, found: dict[Path, set[Change]]) -> bool:
        """Whether each was there and is there anew without having been away: another file was renamed to its name."""
        replaced = all(path in self._there and kinds == {Change.added} for path, kinds in found.items())
        self._there.update(path for path, kinds in found.items() if Change.added in kinds)
        return replaced

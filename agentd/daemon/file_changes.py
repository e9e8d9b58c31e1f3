"""What changed in some folders, from watchfiles' queue.

watchfiles' own loop hands changes on once a look finds no more of them than the one before, one and a half of its steps
after a change. Here a file that was replaced as a whole is handed on by the first look; others have to stand still.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from watchfiles import Change
from watchfiles._rust_notify import RustNotify

_STEP = 0.055
"""Seconds between two looks while nothing changes. Each costs 0.12 ms of CPU, as any wake-up of a thread does: 0.2 % of
a core with 18 a second."""

_STILL_MS = 30
"""Milliseconds in which a file that is written in place must not change any more."""

_LONGEST = 0.1
"""Seconds after which nobody asks any more whether it does."""

_AT_ONCE = 0
_SOON = 1
_POLL_MS = 300
"""Between two looks at the files themselves, where there is nothing that tells of changes."""


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
    UnicodeEncodeError
        If a folder's name is no Unicode: watchfiles takes no other.
    """

    def __init__(self, folders: Iterable[Path], counts: Callable[[Path], bool], files: Iterable[Path] = ()) -> None:
        debug = recursive = ignore_denied = False
        self._folders = frozenset(folders)
        self._lost = False
        """Whether a folder went: the kernel watches it no more, even if there is another one of its name by now."""
        self._notify = RustNotify(
            list(map(str, self._folders)), debug, _has_to_poll(), _POLL_MS, recursive, ignore_denied
        )
        self._counts = counts
        self._files = frozenset(files)
        self._there = {path for path in self._files if os.path.lexists(path)}
        self._pace = _Pace()

    def end(self) -> None:
        """Let the thread go."""
        self._pace.end()

    def wait(self) -> bool:
        """Wait until something of interest has changed and stands still; false at the end, or once a folder went.

        Raises
        ------
        RuntimeError
            If it cannot be watched any more.
        """
        handed_on = False
        try:
            handed_on = self._wait()
        finally:
            if not handed_on:
                # In this thread, so that it happens beside no look; the kernel gives few of these to one user.
                self._notify.close()
        return handed_on

    def _wait(self) -> bool:
        while not self._lost:
            found = self._sort(self._notify.watch(_AT_ONCE, _AT_ONCE, _AT_ONCE, self._pace))
            if found is None:
                break
            if found:
                replaced = self._all_replaced(found)
                self._note(found)
                if not replaced:
                    self._let_settle()
                return not self._lost
        return False

    def _let_settle(self) -> None:
        """Wait until nothing changes any more. What changes from now on is read as well."""
        longest = time.monotonic() + _LONGEST
        while time.monotonic() < longest:
            found = self._sort(self._notify.watch(_AT_ONCE, _STILL_MS, _SOON, None))
            if not found:
                return
            self._note(found)

    def _sort(self, changes: set[tuple[int, str]] | str) -> dict[Path, set[Change]] | None:
        """Sort out what is of interest; ``None`` if watchfiles' loop has ended without changes."""
        if isinstance(changes, str):
            return None
        found: dict[Path, set[Change]] = {}
        for kind, text in changes:
            path = Path(text)
            self._lost = self._lost or (kind == Change.deleted and path in self._folders)
            if self._counts(path):
                found.setdefault(path, set()).add(Change(kind))
        return found

    def _all_replaced(self, found: dict[Path, set[Change]]) -> bool:
        """Whether each was there and is there anew without having been away: another file was renamed to its name."""
        return all(path in self._there and kinds == {Change.added} for path, kinds in found.items())

    def _note(self, found: dict[Path, set[Change]]) -> None:
        """Remember which files there are; one that was away counts only once it changes again."""
        for path in self._files & found.keys():
            if Change.deleted in found[path] or not os.path.lexists(path):
                self._there.discard(path)
            else:
                self._there.add(path)


def _has_to_poll() -> bool:
    """Whether nobody tells of changes here: under WSL, or because a user says so, as watchfiles documents it."""
    wanted = os.environ.get("WATCHFILES_FORCE_POLLING", "").lower()
    if wanted:
        return wanted not in {"false", "disable", "disabled"}
    return "microsoft-standard" in os.uname().release.lower()

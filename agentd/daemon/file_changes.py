"""The changes of the entries of some folders, by watchfiles, for the thread that waits for them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from watchfiles import Change, watch

_STEP_MS = 30
"""Milliseconds between two of watchfiles' looks at what the kernel told it, and for which a change must stand still.

A look costs 0.04 ms of CPU; it has no way to wait without looking. What other steps cost and when a change is seen:
``python -m benchmarks.watching``.
"""

_LONGEST_MS = 100
"""After which a change is handed on that does not stand still."""


class _End:
    """The end of watching, which watchfiles' loop asks for before each look: so it says too when looks have begun."""

    def __init__(self, begun: Callable[[], object]) -> None:
        self._begun = begun
        self._asked = False
        self._over = threading.Event()

    def set(self) -> None:
        self._over.set()

    def is_set(self) -> bool:
        if not self._asked:
            self._asked = True
            self._begun()
        return self._over.is_set()


class FileChanges:
    """The changes of the entries of folders, for the thread that waits for them.

    Parameters
    ----------
    folders
        Watched without what is below them.
    counts
        Whether the change of an entry is of interest.
    begun
        Called in the waiting thread, once, when every change from then on will be seen.
    """

    def __init__(self, folders: Iterable[Path], counts: Callable[[Path], bool], begun: Callable[[], object]) -> None:
        self._folders = frozenset(folders)
        self._counts = counts
        self._over = _End(begun)
        self._changes = watch(
            *self._folders,
            watch_filter=self._is_of_interest,
            step=_STEP_MS,
            debounce=_LONGEST_MS,
            stop_event=self._over,
            rust_timeout=0,
            recursive=False,
            ignore_permission_denied=False,
            debug=False,
            raise_interrupt=False,
        )

    def end(self) -> None:
        """Let the thread go, within a step."""
        self._over.set()

    def wait(self) -> bool:
        """Wait until something of interest has changed and stands still; false at the end, or once a folder went.

        The kernel watches a folder that went no more, even if there is another one of its name by now.

        Raises
        ------
        OSError
            If a folder cannot be watched.
        RuntimeError
            If the kernel refuses to watch anything.
        UnicodeEncodeError
            If a folder's name is no Unicode: watchfiles takes no other.
        """
        changes = next(self._changes, None)
        if changes is None:
            return False
        if not any(kind is Change.deleted and Path(text) in self._folders for kind, text in changes):
            return True
        # In this thread, so that it happens beside no look; the kernel gives few of these to one user.
        self._changes.close()
        return False

    def _is_of_interest(self, kind: Change, text: str) -> bool:
        path = Path(text)
        return self._counts(path) or (kind is Change.deleted and path in self._folders)

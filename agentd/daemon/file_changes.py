"""The changes of the entries of some folders, by watchfiles, for the thread that waits for them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from watchfiles import Change, watch

from agentd.files.inotify import FolderEvents

_STEP_MS = 25
"""Milliseconds between two of watchfiles' looks at what the kernel told it, and for which a change must stand still.

A look costs 0.05 to 0.1 ms of CPU, most of it for waking up: on a quiet virtual machine, one at every 30 ms took 0.22
to 0.37 % of a core for ever, and none while nothing happens takes 0.01. What other steps cost and when a change is
seen: ``python -m benchmarks.watching``.
"""

_LONGEST_MS = 100
"""After which a change is handed on that does not stand still."""

_NOTED = 0.002
"""Seconds until watchfiles has noted, in a thread of its own, what has happened; else its first look is too early."""

_ATTENTIVE = 0.2
"""Seconds of looks after something has happened, should that have taken longer."""

_UNATTENTIVE = 10.0
"""Seconds without a look while nothing happens, should it have taken longer still."""


class _Pace:
    """When watchfiles looks: its loop sleeps for a step, asks whether it is to end, and looks.

    It has no other way to wait. So the answer waits until something has happened in the folders; where the kernel gives
    no second instance of inotify for that, there is a look at every step.
    """

    def __init__(self, folders: Iterable[Path], begun: Callable[[], object]) -> None:
        self._folders = folders
        self._begun: Callable[[], object] | None = begun
        self._events: FolderEvents | None = None
        self._attentive = 0.0
        """Until when there is a look at every step, monotonic."""
        self._over = False

    def is_set(self) -> bool:
        now = time.monotonic()
        if self._begun is not None:
            # watchfiles has its watch by now, and goes first where the kernel gives only one.
            with contextlib.suppress(OSError):
                self._events = FolderEvents(self._folders)
            self._attentive = now + _ATTENTIVE
            self._begun()
            self._begun = None
        elif self._events is not None and not self._over and now >= self._attentive and self._events.wait(_UNATTENTIVE):
            time.sleep(_NOTED)  # noqa: TID251 (in a thread of its own)
            self._attentive = time.monotonic() + _ATTENTIVE
        return self._over

    def end(self) -> None:
        self._over = True
        if self._events is not None:
            self._events.end()

    def close(self) -> None:
        """In the thread that waits, which waits no more."""
        if self._events is not None:
            self._events.close()


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
        self._pace = _Pace(self._folders, begun)
        self._changes = watch(
            *self._folders,
            watch_filter=self._is_of_interest,
            step=_STEP_MS,
            debounce=_LONGEST_MS,
            stop_event=self._pace,
            rust_timeout=0,
            recursive=False,
            ignore_permission_denied=False,
            debug=False,
            raise_interrupt=False,
        )

    def end(self) -> None:
        """Let the thread go, within a step."""
        self._pace.end()

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
        changes = None
        try:
            changes = next(self._changes, None)
            if changes is not None and any(self._went(kind, text) for kind, text in changes):
                changes = None
            return changes is not None
        finally:
            if changes is None:
                # In this thread, so that it happens beside no look; the kernel gives few watches to one user.
                self._changes.close()
                self._pace.close()

    def _went(self, kind: Change, text: str) -> bool:
        """Whether it is a folder itself that is gone."""
        return kind is Change.deleted and Path(text) in self._folders

    def _is_of_interest(self, kind: Change, text: str) -> bool:
        return self._counts(Path(text)) or self._went(kind, text)

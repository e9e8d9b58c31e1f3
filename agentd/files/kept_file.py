"""A versioned file that is to say what was kept last, as soon as the disk lets it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from agentd.files.versioned_file import Format, Found, VersionedFile
from agentd.files.worker import in_thread

AGAIN: Final = 1.0
"""Seconds after which what could not be written is written again."""


class KeptFile(VersionedFile[Found]):
    """One such file.

    Parameters
    ----------
    path, form
        As of `VersionedFile`.
    not_kept
        Told why it cannot be written, once until it could be.
    loop
        That waits until something that a thread kept, and could not write, is tried again.
    """

    def __init__(
        self,
        path: Path,
        form: Format[Found],
        not_kept: Callable[[str], None],
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(path, form)
        self._not_kept = not_kept
        self._loop = loop
        self._writing = threading.Lock()
        self._unwritten: Mapping[str, object] | None = None
        """What could not be written."""
        self._again: asyncio.TimerHandle | None = None
        self._syncing = False
        self._stale = False
        """Whether it was written since the sync that is under way began."""

    @property
    def written(self) -> bool:
        """Whether the next agentd finds there what was kept last."""
        return not self.newer and self._unwritten is None

    def keep(self, content: Mapping[str, object]) -> bool:
        """Write it, unless a newer agentd's is there, and say whether it stands there.

        In an event loop this takes 0.1 ms: it outlives agentd then, and soon a power failure, too; what could not be
        written is tried again until it is, or something else is kept. In a thread it is on the disk when this returns,
        and tried again, in another thread, only where there is a loop to wait.
        """
        if not self.newer:
            with self._writing:
                self._write(content)
        return self.written

    def _write(self, content: Mapping[str, object]) -> None:
        loop = _running_loop()
        if self._again is not None:
            self._again.cancel()
            self._again = None
        try:
            self.write(content, sync=loop is None)
        except OSError as error:
            if self._unwritten is None:
                self._not_kept(error.strerror or str(error))
            self._unwritten = content
            if loop is not None:
                self._again = loop.call_later(AGAIN, self._write, content)
            elif self._loop is not None:
                # The loop may have ended: then the next agentd knows no better.
                with contextlib.suppress(RuntimeError):
                    self._loop.call_soon_threadsafe(self._try_again_later, content)
            return
        self._unwritten = None
        if loop is not None:
            self._sync_soon()

    def _try_again_later(self, content: Mapping[str, object]) -> None:
        assert self._loop is not None
        again = partial(in_thread, f"{self.path.name} again", partial(self._write_again, content))
        self._loop.call_later(AGAIN, again)

    def _write_again(self, content: Mapping[str, object]) -> None:
        with self._writing:
            if self._unwritten is content:
                self._write(content)

    def _sync_soon(self) -> None:
        """Bring it to the disk, for which nobody waits."""
        self._stale = self._syncing
        if not self._syncing:
            self._syncing = True
            in_thread(f"sync of {self.path.name}", self._try_to_sync).add_done_callback(self._synced)

    def _try_to_sync(self) -> None:
        # A disk that is broken is told of once something cannot be written.
        with contextlib.suppress(OSError):
            self.sync()

    def _synced(self, _: object) -> None:
        self._syncing = False
        if self._stale:
            self._sync_soon()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None

"""Tells when the kernel may have killed a process for lack of memory; nothing is asked while it does not.

Source: inotify(7) and the kernel's Documentation/admin-guide/cgroup-v2.rst (a change of memory.events),
cgroup-v1/memory.rst (an eventfd at memory.oom_control, told before the kill, and when the group is removed).
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

from agentd.process.cgroups.group import MEMORY, Group
from agentd.process.cgroups.hierarchies import UNIFIED

log = structlog.get_logger(__name__)

_MODIFIED, _IGNORED = 0x2, 0x8000
_EVENT: Final = struct.Struct("iIII")
_AFTER: Final = (0.1, 1.0)
"""Seconds after which the groups of version 1 are looked at, for the kill comes after the word of it."""


class OomWatch:
    """Watches the groups of all runs, with two descriptors.

    Parameters
    ----------
    on_kill
        Called in the event loop with the id of a run that may have lost a process.
    """

    def __init__(self, on_kill: Callable[[str], None]) -> None:
        self._on_kill = on_kill
        self._inotify: int | None = None
        self._watches: dict[int, str] = {}
        self._eventfd: int | None = None
        self._told: set[str] = set()
        """Runs that the eventfd speaks of."""
        self._looks: list[asyncio.TimerHandle] = []
        self._again = False

    def add(self, run_id: str, group: Group) -> bool:
        """Watch a run; says whether that is possible."""
        unified, memory = group.folders.get(UNIFIED), group.folders.get(MEMORY)
        try:
            if unified is not None and (unified / "memory.events").exists():
                self._watch(run_id, unified / "memory.events")
            elif memory is not None:
                self._register(run_id, memory)
            else:
                return False
        except OSError as error:
            log.warning("oom_not_watched", run=run_id, error=error.strerror, effect="seen at the next resync")
            return False
        return True

    def _watch(self, run_id: str, file: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        if self._inotify is None:
            descriptor = int(libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK))
            if descriptor < 0:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            self._inotify = descriptor
            asyncio.get_running_loop().add_reader(descriptor, self._changed)
        watch = int(libc.inotify_add_watch(self._inotify, os.fsencode(file), _MODIFIED))
        if watch < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        self._watches[watch] = run_id

    def _changed(self) -> None:
        assert self._inotify is not None
        with suppress(BlockingIOError):
            data = os.read(self._inotify, 65536)
            runs: dict[str, None] = {}
            while data:
                watch, mask, _, length = _EVENT.unpack_from(data)
                data = data[_EVENT.size + length :]
                run_id = self._watches.pop(watch, None) if mask & _IGNORED else self._watches.get(watch)
                if run_id is not None and mask & _MODIFIED:
                    runs[run_id] = None
            for run_id in runs:
                self._on_kill(run_id)

    def _register(self, run_id: str, folder: Path) -> None:
        if self._eventfd is None:
            self._eventfd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            asyncio.get_running_loop().add_reader(self._eventfd, self._warned)
        control = os.open(folder / "memory.oom_control", os.O_RDONLY | os.O_CLOEXEC)
        try:
            (folder / "cgroup.event_control").write_text(f"{self._eventfd} {control}")
        finally:
            os.close(control)
        self._told.add(run_id)

    def _warned(self) -> None:
        assert self._eventfd is not None
        with suppress(BlockingIOError):
            os.eventfd_read(self._eventfd)
        if self._looks:
            self._again = True
            return
        self._again = False
        loop = asyncio.get_running_loop()
        self._looks = [loop.call_later(delay, self._look) for delay in _AFTER[:-1]]
        self._looks.append(loop.call_later(_AFTER[-1], self._looked))

    def _look(self) -> None:
        for run_id in list(self._told):
            self._on_kill(run_id)

    def _looked(self) -> None:
        self._looks = []
        self._look()
        if self._again:
            self._warned()

    def discard(self, run_id: str) -> None:
        """Watch a run no longer."""
        # The kernel forgets those of version 1 with their groups.
        self._told.discard(run_id)
        watch = next((watch for watch, watched in self._watches.items() if watched == run_id), None)
        if watch is not None and self._inotify is not None:
            del self._watches[watch]
            ctypes.CDLL(None).inotify_rm_watch(self._inotify, watch)

    def close(self) -> None:
        """Stop watching."""
        for look in self._looks:
            look.cancel()
        loop = asyncio.get_running_loop()
        for descriptor in (self._inotify, self._eventfd):
            if descriptor is not None:
                loop.remove_reader(descriptor)
                os.close(descriptor)
        self._inotify = self._eventfd = None

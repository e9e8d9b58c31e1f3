"""A file system that does not answer: FUSE, mounted, with nobody who serves it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

_DEVICE = Path("/dev/fuse")
_DETACH = 2
"""MNT_DETACH, umount2(2)."""
_GUARD = 'read -r _; umount -l -- "$1" 2>/dev/null; :'
"""Unmounts when whoever holds the other end of its input is gone, however that came."""


class HungMount:
    """A folder on which every look hangs, until it is released: then they fail, and the folder below is there again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._device = os.open(_DEVICE, os.O_RDWR | os.O_CLOEXEC)
        self._mounted = False
        self._guard = subprocess.Popen(["/bin/sh", "-c", _GUARD, "sh", str(folder)], stdin=subprocess.PIPE)
        try:
            self._mount()
        except BaseException:
            self.release()
            raise

    def _mount(self) -> None:
        options = f"fd={self._device},rootmode=40000,user_id=0,group_id=0,allow_other"
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mount(b"hung", os.fsencode(self.folder), b"fuse", 0, options.encode()) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), str(self.folder))
        self._mounted = True

    def detach(self) -> None:
        """Unmount it, and leave those who hang in it hanging."""
        if self._mounted:
            self._mounted = False
            ctypes.CDLL(None, use_errno=True).umount2(os.fsencode(self.folder), _DETACH)

    def release(self) -> None:
        """Unmount it, and end every look that hangs; a second time it does nothing."""
        self.detach()
        if self._device >= 0:
            os.close(self._device)
            self._device = -1
        assert self._guard.stdin is not None
        self._guard.stdin.close()
        self._guard.wait()


def why_not() -> str | None:
    """Why no such file system can be made here."""
    if os.geteuid() != 0:
        return "only root can mount a file system that hangs"
    if not _DEVICE.exists():
        return "there is no /dev/fuse to make a file system that hangs"
    return None


@contextlib.contextmanager
def hung(folder: Path) -> Iterator[HungMount]:
    """Let a folder hang; the test is skipped where that cannot be."""
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    try:
        mount = HungMount(folder)
    except OSError as error:
        pytest.skip(f"cannot mount a file system that hangs: {error.strerror}")
    try:
        yield mount
    finally:
        mount.release()

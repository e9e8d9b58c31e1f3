"""The control groups of one run: what they limit, who is in them, and what the kernel killed there.

Everything here blocks for moments: the first process that is moved after a while takes 14 ms, a read 3 µs.

Source: the kernel's Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/{memory,pids}.rst, scheduler/sched-bwc.rst.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agentd.process.cgroups.hierarchies import UNIFIED

MEMORY, PIDS, CPU = "memory", "pids", "cpu"
CONTROLLERS: Final[Mapping[str, str]] = {"memory": MEMORY, "memory_high": MEMORY, "pid_limit": PIDS, "cpu": CPU}
"""What holds a run to each limit, which is named as in the jcard."""

_FILES: Final = {"memory": "memory.max", "memory_high": "memory.high", "pid_limit": "pids.max", "cpu": "cpu.max"}
_FILES_OF_1: Final = {"memory": "memory.limit_in_bytes", "pid_limit": "pids.max", "cpu": "cpu.cfs_quota_us"}
_SWAP, _WITH_SWAP_OF_1 = "memory.swap.max", "memory.memsw.limit_in_bytes"
_PERIOD: Final = 100_000
"""Microseconds: the kernel's default, over which ``cpu`` is counted."""
_NONE: Final = "max"

_PEAKS: Final = {MEMORY: ("memory.peak", "memory.max_usage_in_bytes"), PIDS: ("pids.peak", "pids.peak")}
"""Of version 2, and of version 1."""


class LimitError(Exception):
    """A limit cannot be held; the text says why."""


@dataclass(frozen=True, slots=True)
class Group:
    """The control groups of one run, which all of its processes are in."""

    folders: Mapping[str, Path]
    """By controller of version 1, or `UNIFIED`."""

    def make(self) -> None:
        """Make what is not there yet.

        Raises
        ------
        OSError
            If that is not possible.
        """
        for folder in self.folders.values():
            folder.mkdir(parents=True, exist_ok=True)

    def join(self, pid: int) -> None:
        """Move a process in; what it starts from then on is in, too.

        Raises
        ------
        OSError
            If it is gone, or cannot be moved.
        """
        for folder in self.folders.values():
            (folder / "cgroup.procs").write_text(str(pid))

    def limit(self, field: str, value: float | None) -> None:
        """Set one limit, or take it away, and look whether the kernel took it.

        Raises
        ------
        LimitError
            If it does not hold.
        """
        folder, unified = self._folder(field)
        file = (_FILES if unified else _FILES_OF_1)[field]
        try:
            _write(folder, field, value, unified=unified)
        except OSError as error:
            if value is None:
                return
            why = "more is in use" if error.errno == errno.EBUSY else error.strerror
            raise LimitError(f"{folder / file}: {why}") from None
        if value is not None:
            self.check(field, value)

    def check(self, field: str, value: float) -> None:
        """Look whether a limit holds.

        Raises
        ------
        LimitError
            If not.
        """
        folder, unified = self._folder(field)
        file = folder / (_FILES if unified else _FILES_OF_1)[field]
        try:
            found = file.read_text().strip()
        except OSError as error:
            raise LimitError(f"{file}: {error.strerror}") from None
        wanted = _in_kernel(field, value)
        first = found.split(" ")[0]
        # Memory is counted in pages.
        slack = os.sysconf("SC_PAGE_SIZE") if CONTROLLERS[field] == MEMORY else 1
        if not first.isdecimal() or abs(int(first) - wanted) >= slack:
            raise LimitError(f"expected {wanted} in {file}, found {found}")

    def _folder(self, field: str) -> tuple[Path, bool]:
        """Where a limit is set, and whether that is version 2.

        Raises
        ------
        LimitError
            If nowhere.
        """
        unified = self.folders.get(UNIFIED)
        if unified is not None and (unified / _FILES[field]).exists():
            return unified, True
        controller = CONTROLLERS[field]
        folder = self.folders.get(controller)
        if folder is None:
            where = "the kernel has no group for it" if unified is None else f"it is not enabled for {unified}"
            raise LimitError(f"the controller {controller} is missing: {where}")
        if field not in _FILES_OF_1:
            raise LimitError(f"control groups of version 1 have no {_FILES[field]}")
        return folder, False

    def members(self) -> set[int]:
        """Pids of all that is in them, and in groups made below.

        Raises
        ------
        OSError
            If there is nothing left to look with.
        """
        return {pid for folder in self.folders.values() for below in _tree(folder) for pid in _pids(below)}

    def kill(self) -> None:
        """SIGKILL all that is in them at once, where the kernel can (5.14); nothing can be forked meanwhile."""
        unified = self.folders.get(UNIFIED)
        if unified is not None:
            with contextlib.suppress(OSError):
                (unified / "cgroup.kill").write_text("1")

    def oom_kills(self) -> int | None:
        """How many of their processes the kernel killed for lack of memory; ``None`` if it does not tell."""
        unified, memory = self.folders.get(UNIFIED), self.folders.get(MEMORY)
        for folder, file in ((unified, "memory.events"), (memory, "memory.oom_control")):
            lines = None if folder is None else _read(folder / file)
            for line in () if lines is None else lines.splitlines():
                name, _, number = line.partition(" ")
                if name == "oom_kill":
                    return int(number)
        return None

    def peak_files(self) -> Mapping[str, str]:
        """Where the kernel tells the most that was in use at once, by controller, as far as it does."""
        found: dict[str, str] = {}
        for controller, (of_2, of_1) in _PEAKS.items():
            for name, file in ((controller, of_1), (UNIFIED, of_2)):
                if name in self.folders and (self.folders[name] / file).exists():
                    found[controller] = str(self.folders[name] / file)
        return found

    def remove(self) -> None:
        """Remove them, now that nothing is in them; for moments after its last process has ended one is in use.

        Raises
        ------
        OSError
            If that is not possible.
        """
        for folder in self.folders.values():
            for below in reversed(list(_tree(folder))):
                with contextlib.suppress(FileNotFoundError):
                    below.rmdir()


def _in_kernel(field: str, value: float) -> int:
    return round(value * _PERIOD) if CONTROLLERS[field] == CPU else int(value)


def _write(folder: Path, field: str, value: float | None, *, unified: bool) -> None:
    number = None if value is None else _in_kernel(field, value)
    if unified:
        text = _NONE if number is None else str(number)
        (folder / _FILES[field]).write_text(f"{text} {_PERIOD}" if field == "cpu" else text)
        if field == "memory" and (folder / _SWAP).exists():
            # What is over the limit is not to go to disk instead.
            (folder / _SWAP).write_text(_NONE if number is None else "0")
        return
    unlimited = _NONE if field == "pid_limit" else "-1"
    text = unlimited if number is None else str(number)
    if field == "cpu":
        (folder / "cpu.cfs_period_us").write_text(str(_PERIOD))
    if field != "memory" or not (folder / _WITH_SWAP_OF_1).exists():
        (folder / _FILES_OF_1[field]).write_text(text)
        return
    # That of both must never be below that of memory alone: which comes first depends on whether it is more than now.
    try:
        (folder / _FILES_OF_1[field]).write_text(text)
        (folder / _WITH_SWAP_OF_1).write_text(text)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        (folder / _WITH_SWAP_OF_1).write_text(text)
        (folder / _FILES_OF_1[field]).write_text(text)


def _tree(folder: Path) -> Iterator[Path]:
    """The group and all below it, the uppermost first; nothing once it is gone."""
    if not folder.is_dir():
        return
    yield folder
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        below = [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
        for each in below:
            yield from _tree(each)


def _pids(folder: Path) -> list[int]:
    text = _read(folder / "cgroup.procs")
    return [] if text is None else [int(pid) for pid in text.split() if pid != "0"]


def read_number(path: str) -> int | None:
    """Read a file of one number, in 3 µs; ``None`` once its group is gone, or if there is nothing left to look with."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return int(os.read(descriptor, 64))
    except (OSError, ValueError):
        return None
    finally:
        os.close(descriptor)


def _read(path: Path) -> str | None:
    """A file, or ``None`` if it is not there or its group is gone.

    Raises
    ------
    OSError
        If there is nothing left to look with.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, PermissionError):
        return None
    try:
        pieces = []
        while piece := os.read(descriptor, 65536):
            pieces.append(piece)
        return b"".join(pieces).decode("ascii", "replace")
    except OSError as error:
        # Removed since.
        if error.errno == errno.ENODEV:
            return None
        raise
    finally:
        os.close(descriptor)

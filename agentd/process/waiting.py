"""Whether a program waits for input at its terminal, as the kernel tells of each of its threads. Blocks.

What is typed before a program has set up its terminal may be lost: many discard what came before they were ready. One
has set it up if a thread of it sleeps in a read of the terminal, or in a wait for several files, the terminal among
them.
"""

from __future__ import annotations

import os
import select
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Final

from agentd.process.proc import PROC, STAT_STATE, descendants, numbers_in, read_bytes

_CONTROLLING: Final = os.makedev(5, 0)
"""/dev/tty."""
_OUTPUTS: Final = frozenset({1, 2})
"""Descriptors at which hardly any program reads."""
_LIMIT: Final = 1 << 16

_READS: Final = (b"wait_woken", b"n_tty_read")
"""Kernel functions in which a thread sleeps that reads a terminal (or a TCP connection)."""
_WAITS: Final = (b"poll", b"select")
"""In the names of those in which one sleeps that waits for several files."""
_EPOLLS: Final = (b"ep_poll", b"do_epoll_wait")
_OUTSIDE: Final = 2
_LOWEST_ADDRESS: Final = 4096
"""No list of ``poll`` is below it, and no number of files of ``select`` above."""
_POLLED: Final = struct.Struct("ihh")
_MOST_POLLED: Final = 1024


class _Process(Enum):
    WAITS = auto()
    DOES_NOT = auto()
    UNKNOWN = auto()
    ELSEWHERE = auto()
    """It does not have the terminal."""


def waits_for_input(pid: int, terminal: Path) -> bool | None:
    """Whether one of a process and its descendants waits for input at a terminal.

    Parameters
    ----------
    pid
        The topmost process.
    terminal
        Its device.

    Returns
    -------
    bool | None
        ``None`` if that cannot be told: these are another user's processes, or the kernel does not say.

    Raises
    ------
    OSError
        If there is nothing left to look with, or no such terminal.
    """
    device = terminal.stat().st_rdev
    found = {_look(each, device) for each in (pid, *descendants(pid))}
    if _Process.WAITS in found:
        return True
    return False if _Process.DOES_NOT in found and _Process.UNKNOWN not in found else None


def _look(pid: int, terminal: int) -> _Process:
    """Look at all threads of a process."""
    open_files = _descriptors(pid, terminal)
    if open_files is None:
        return _Process.UNKNOWN
    if not open_files:
        return _Process.ELSEWHERE
    threads = [_Waiting.of(pid, task) for task in numbers_in(f"{PROC}/{pid}/task")]
    if any(each is not None and each.at(open_files) for each in threads):
        return _Process.WAITS
    return _Process.UNKNOWN if None in threads else _Process.DOES_NOT


def _descriptors(pid: int, terminal: int) -> frozenset[int] | None:
    """The descriptors at which a process has the terminal; ``None`` if that is not for us to know."""
    found = set()
    try:
        for number in map(int, os.listdir(f"{PROC}/{pid}/fd")):  # noqa: PTH208 (names are wanted, not paths)
            device = _device(f"{PROC}/{pid}/fd/{number}")
            if device in (terminal, _CONTROLLING):
                found.add(number)
    except PermissionError:
        return None
    except FileNotFoundError:
        return frozenset()
    return frozenset(found)


def _device(path: str) -> int | None:
    # It may be any file of the agent's: only where its link leads to a device is it looked at.
    try:
        return os.stat(path).st_rdev if os.readlink(path).startswith("/dev/") else None  # noqa: PTH116, PTH115 (a link of the kernel's)
    except OSError:
        return None


@dataclass(frozen=True, slots=True)
class _Waiting:
    """In what a thread sleeps."""

    pid: int
    function: bytes
    """The kernel's; empty while it runs."""
    arguments: tuple[int, ...]
    """Those of its system call; none if they are not for us to know."""

    @classmethod
    def of(cls, pid: int, task: int) -> _Waiting | None:
        """Look; ``None`` if it sleeps, and the kernel does not say in what."""
        folder = f"{PROC}/{pid}/task/{task}"
        line = read_bytes(f"{folder}/stat", _LIMIT)
        if not line:
            return cls(pid, b"", ())
        function = read_bytes(f"{folder}/wchan", _LIMIT) or b"0"
        if function == b"0":
            asleep = line.rpartition(b")")[2].split()[STAT_STATE] != b"R"
            return None if asleep else cls(pid, b"", ())
        _, *words = (read_bytes(f"{folder}/syscall", _LIMIT) or b"-").split()
        # Of a thread outside a system call only the stack and the program counter are told.
        return cls(pid, function, tuple(int(word, 16) for word in words) if len(words) > _OUTSIDE else ())

    def at(self, open_files: frozenset[int]) -> bool:
        """Whether that is a wait for input at one of these descriptors, or may well be one."""
        if self.function.startswith(_READS):
            return not self.arguments or self.arguments[0] in open_files
        if not any(name in self.function for name in _WAITS):
            return False
        if not self.arguments:
            return not open_files <= _OUTPUTS
        first, second, *_ = self.arguments
        if self.function.startswith(_EPOLLS):
            return bool(open_files.intersection(self._watched(first)))
        if first < _LOWEST_ADDRESS:
            # select: how many descriptors, from 0 on; a sleep is one for none.
            return first > min(open_files)
        polled = self._polled(first, second)
        return not open_files <= _OUTPUTS if polled is None else not polled.isdisjoint(open_files)

    def _watched(self, descriptor: int) -> Iterator[int]:
        text = read_bytes(f"{PROC}/{self.pid}/fdinfo/{descriptor}", _LIMIT) or b""
        for line in text.splitlines():
            words = line.split()
            if len(words) > 1 and words[0] == b"tfd:":
                yield int(words[1])

    def _polled(self, address: int, count: int) -> frozenset[int] | None:
        """The descriptors whose input a ``poll`` waits for; ``None`` if that is not for us to know."""
        try:
            with open(f"{PROC}/{self.pid}/mem", "rb", buffering=0) as memory:  # noqa: PTH123 (a place in another's memory)
                found = os.pread(memory.fileno(), min(count, _MOST_POLLED) * _POLLED.size, address)
        except (OSError, OverflowError):
            return None
        whole = len(found) // _POLLED.size * _POLLED.size
        return frozenset(number for number, events, _ in _POLLED.iter_unpack(found[:whole]) if events & select.POLLIN)

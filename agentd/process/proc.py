"""What /proc says of processes.

Source of the fields: proc(5).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping

import structlog

from agentd.model.spec import RUN_ID_VARIABLE

log = structlog.get_logger(__name__)

PROC = "/proc"
NOTHING_LEFT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""Errors after which nothing is known: there was nothing left to look with."""
STAT_STATE, STAT_PARENT, STAT_THREADS, STAT_STARTED = 0, 1, 17, 19
"""Where fields 3, 4, 20 and 22 of /proc/PID/stat stand after the program's name."""
_FLAGS, _CODE, _ENVIRONMENT = 6, 23, slice(47, 49)
"""Where fields 9, 26, and 50 to 51 stand: flags, and where the code and the environment begin and end in memory."""
_KERNEL_THREAD = 0x00200000
"""A flag of field 9: PF_KTHREAD in include/linux/sched.h."""

_MAX_ENVIRONMENT = 4 * 1024 * 1024
_MARKER = f"\0{RUN_ID_VARIABLE}=".encode()


def read_bytes(path: str, limit: int) -> bytes | None:
    """The first `limit` bytes of a /proc file, or ``None`` if the process is gone or not ours to look at.

    Raises
    ------
    OSError
        If there is no descriptor or no memory left to look with, so that nothing is known.
    """
    try:
        return _read(path, limit)
    except OSError as error:
        if error.errno in NOTHING_LEFT:
            raise
        return None


def _read(path: str, limit: int) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        pieces = []
        while limit > 0 and (piece := os.read(descriptor, min(limit, 65536))):
            pieces.append(piece)
            limit -= len(piece)
        return b"".join(pieces)
    finally:
        os.close(descriptor)


def status_numbers(pid: int) -> dict[str, int] | None:
    """Uid (the real one) and PPid of /proc/PID/status, or ``None`` if the process is gone.

    Raises
    ------
    OSError
        If there is nothing left to look with.
    """
    text = read_bytes(f"{PROC}/{pid}/status", 65536)
    if not text:
        return None
    lines = (line.partition(":\t") for line in text.decode("utf-8", "replace").splitlines())
    return {name: int(value.split()[0]) for name, _, value in lines if name in ("Uid", "PPid")}


def children_of(pid: int) -> list[int]:
    """The children of all threads of a process."""
    found: list[int] = []
    for task in numbers_in(f"{PROC}/{pid}/task"):
        line = read_bytes(f"{PROC}/{pid}/task/{task}/children", 1 << 20)
        if line:
            found.extend(map(int, line.split()))
    return found


def descendants(pid: int) -> set[int]:
    """All processes below `pid` right now, itself not among them."""
    found: set[int] = set()
    todo = [pid]
    while todo:
        for child in children_of(todo.pop()):
            if child not in found:
                found.add(child)
                todo.append(child)
    return found


def ancestors(pid: int) -> list[int]:
    """Parent, grandparent and so on, as far as can be told."""
    found = []
    while pid > 1:
        try:
            line = read_bytes(f"{PROC}/{pid}/stat", 1024)
        except OSError as error:
            log.warning("processes_not_listed", error=error.strerror)
            break
        if line is None:
            break
        pid = int(line.rpartition(b")")[2].split()[STAT_PARENT])
        if pid:
            found.append(pid)
    return found


def environment_of(pid: int) -> bytes:
    """The environment a process was started with, as far as it can be read now."""
    return _environment(pid)[0]


def started_with(pid: int, variables: Mapping[str, str]) -> bool:
    """Whether a process was started with all of these variables, or whether that cannot be told."""
    found = frozenset(environment_of(pid).split(b"\0"))
    return found == {b""} or all(os.fsencode(f"{name}={value}") in found for name, value in variables.items())


def run_id_of(pid: int) -> str | None:
    """The ``AGENTD_RUN_ID`` a process was started with, or ``None``."""
    return look_for_run_id(pid)[0]


def look_for_run_id(pid: int) -> tuple[str | None, bool]:
    """The ``AGENTD_RUN_ID`` a process was started with, and whether one that has none was surely started without.

    It is not sure of a process between two programs, or between the loss of its memory and its end.
    """
    environment, told = _environment(pid)
    # At the end of each run this is asked of each orphan of the machine: it is not taken apart.
    _, found, rest = (b"\0" + environment).partition(_MARKER)
    return (rest.partition(b"\0")[0].decode("ascii", "replace"), True) if found else (None, told)


def _environment(pid: int) -> tuple[bytes, bool]:
    """The environment of a process, and whether that is all there is to know."""
    refused = False
    try:
        environment = _read(f"{PROC}/{pid}/environ", _MAX_ENVIRONMENT)
    except PermissionError:
        # Another user's; or, for all but root, that of a process whose first thread has ended.
        environment, refused = b"", True
    except OSError as error:
        if error.errno in NOTHING_LEFT:
            raise
        environment = b""
    if environment:
        return environment, True
    line = read_bytes(f"{PROC}/{pid}/stat", 1024)
    if not line:
        return b"", True
    fields = line.rpartition(b")")[2].split()
    if fields[STAT_STATE] not in b"ZX":
        # While a program is loaded its environment seems empty, too, but execve sets the place of the code last.
        empty = fields[_CODE] != b"0" and len(set(fields[_ENVIRONMENT])) == 1
        return b"", refused or empty or bool(int(fields[_FLAGS]) & _KERNEL_THREAD)
    if int(fields[STAT_THREADS]) > 1:
        # Its first thread has ended; others run.
        for task in numbers_in(f"{PROC}/{pid}/task"):
            environment = environment or read_bytes(f"{PROC}/{pid}/task/{task}/environ", _MAX_ENVIRONMENT) or b""
    return environment, True


def numbers_in(folder: str) -> list[int]:
    """The names in a folder that are numbers: pids, threads, descriptors.

    Raises
    ------
    OSError
        If there is nothing left to look with.
    """
    try:
        with os.scandir(folder) as entries:
            return [int(entry.name) for entry in entries if entry.name.isdecimal()]
    except OSError as error:
        if error.errno in NOTHING_LEFT:
            raise
        return []


_COMMAND_LIMIT = 16384


def command_of(pid: int) -> list[bytes]:
    """The words of a process' command line, none if that cannot be read."""
    return (read_bytes(f"{PROC}/{pid}/cmdline", _COMMAND_LIMIT) or b"").split(b"\0")

"""What an agentd-fleet that was killed has left of its node of Ray: beside that, Ray starts no other one. Blocks."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

from agentd.files.locks import lock_file
from agentd.process.pidfds import wait_ended
from agentd.process.proc import PROC, numbers_in, read_bytes

_LOCK: Final = ".lock"
_FORMER: Final = "ray_current_cluster"
"""Where a head writes its address; while any process of this machine names that, Ray starts no other head there."""
_SESSIONS: Final = "session_[0-9]*"
"""What Ray calls them: logs, sockets and what its libraries unpack."""
_SESSION: Final = 3
"""Where field 6 of /proc/PID/stat stands after the program's name."""
_ENDED: Final = 10.0
"""Seconds for what was killed to be gone."""


class FolderInUseError(Exception):
    """Another agentd-fleet has the folder; the text says so."""


def take_over(folder: Path) -> int:
    """Have the folder of a node of Ray for this process, and end what a former one left; returns how many that were.

    Raises
    ------
    FolderInUseError
        If another process has it.
    OSError
        If it cannot be used, or there is nothing left to look with.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # It stays open until this process ends.
    if lock_file(folder / _LOCK) is None:
        raise FolderInUseError(f"{folder}: another agentd-fleet runs there; end that one, or give another --state-dir")
    ended = end_left(folder)
    (folder / _FORMER).unlink(missing_ok=True)
    _remove_sessions(folder)
    return ended


def _remove_sessions(folder: Path) -> None:
    """Remove what former nodes of Ray have written, all but the last of them: Ray itself never does.

    None of their processes is left, and what is to be said of why one ended stands in the last.
    """
    if left_of(folder):
        return
    sessions = [each for each in folder.glob(_SESSIONS) if each.is_dir() and not each.is_symlink()]
    for each in sorted(sessions, key=lambda session: session.lstat().st_mtime)[:-1]:
        # What cannot be removed is not in the way of another one.
        shutil.rmtree(each, ignore_errors=True)


def left_of(folder: Path, session: int | None = None) -> frozenset[int]:
    """Name the processes of a node of Ray that has this folder.

    Some say in their command lines which folder they have. The others are found by the session, that of ``ray start``:
    it is all of the session while that lives, and once it is gone what has Ray in its command line. If the session is
    somebody else's, it is those alone that name the folder.

    Parameters
    ----------
    session
        One that is theirs, though none of it may name the folder.

    Raises
    ------
    OSError
        If there is nothing left to look with.
    """
    sessions = {pid: each for pid in numbers_in(PROC) if (each := _session(pid)) is not None}
    named = {pid for pid in sessions if pid != os.getpid() and _has(pid, folder)}
    theirs = {sessions[pid] for pid in named} - {os.getsid(0)}
    whole = theirs & named
    if session is not None:
        theirs |= {session}
    headless = {each for each in theirs if not Path(PROC, str(each)).exists()}
    found = {pid for pid, each in sessions.items() if each in whole or (each in headless and _is_of_ray(pid))}
    return frozenset(named | found)


def _words(pid: int) -> list[bytes]:
    return (read_bytes(f"{PROC}/{pid}/cmdline", 1 << 16) or b"").split(b"\0")


def _is_of_ray(pid: int) -> bool:
    return any(word.startswith((b"ray::", b"ray.")) for word in _words(pid))


def _has(pid: int, folder: Path) -> bool:
    words = _words(pid)
    begun = os.fsencode(f"{folder}/session_")
    return os.fsencode(f"--temp-dir={folder}") in words or any(
        word.startswith((b"--log_dir=" + begun, b"--raylet_socket_name=" + begun)) for word in words
    )


def _session(pid: int) -> int | None:
    """Give the session of a process of this user's; ``None`` for others, and those that are gone."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        if Path(PROC, str(pid)).stat().st_uid == os.geteuid() and (line := read_bytes(f"{PROC}/{pid}/stat", 1024)):
            fields = line.rpartition(b")")[2].split()
            return None if fields[0] in b"ZX" else int(fields[_SESSION])
    return None


def end_left(folder: Path, session: int | None = None) -> int:
    """End what is left of the Ray node with this folder; return how many processes there were.

    Parameters
    ----------
    session
        Of ``ray start``, if that is known: what has lost its raylet names the folder no more.

    Raises
    ------
    OSError
        If there is nothing left to look with.
    """
    with contextlib.ExitStack() as stack:
        held = dict(_held(left_of(folder, session), stack))
        # Only now that descriptors hold them is it sure that they are the ones that were found.
        surely = left_of(folder, session)
        left = {descriptor for descriptor, pid in held.items() if pid in surely}
        for descriptor in left:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        wait_ended(left, _ENDED)
        return len(left)


def _held(pids: Collection[int], stack: contextlib.ExitStack) -> Iterator[tuple[int, int]]:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            descriptor = os.pidfd_open(pid)
            stack.callback(os.close, descriptor)
            yield descriptor, pid

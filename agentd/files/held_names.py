"""Names that a process holds for as long as it lives, whatever becomes of any file: abstract Unix sockets.

A lock on a file holds only while the file stands where it was: whoever removes or moves it, or its folder, lets the
next daemon lock another. A name in the abstract namespace (unix(7)) is no file. It is made of the path, so it holds for
what is made at that path later; the lock on the file holds for what the name does not tell: another name of the same
folder (a bind mount), another network namespace, another host.

Anybody may take such a name. So who holds it is asked of the kernel (``SO_PEERCRED``), and only one of our own user
counts: another user keeps nobody from starting by taking it first.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import os
import socket
import struct
import sys
import time
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)

_SUPPORTED = sys.platform == "linux"
_LOOKS, _PAUSE = 20, 0.01
"""A holder listens a moment after it has taken the name."""
_CREDENTIALS = struct.Struct("3i")
_WAITING = 16
"""Connections that wait to be taken: each is somebody who asks who holds the name."""


class NameHeldError(Exception):
    """A process of our own user holds the name."""

    def __init__(self, pid: int) -> None:
        super().__init__(pid)
        self.pid = pid


class HeldName:
    """A name that is held until `release` or the end of the process."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    @classmethod
    def take(cls, path: Path) -> HeldName | None:
        """Hold the name of a path; ``None`` where there are no such names, or another user has taken it.

        Raises
        ------
        NameHeldError
            If a process of our own user holds it.
        """
        if not _SUPPORTED:
            return None
        name = name_of(path, os.geteuid())
        for _ in range(_LOOKS):
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            try:
                sock.bind(name)
                sock.listen(_WAITING)
            except OSError as error:
                sock.close()
                if error.errno != errno.EADDRINUSE:
                    log.warning("name_not_held", path=str(path), error=error.strerror)
                    return None
            else:
                return cls(sock)
            found = _listener(name)
            if found is not None:
                pid, user = found
                if user == os.geteuid():
                    raise NameHeldError(pid)
                break
            time.sleep(_PAUSE)  # noqa: TID251 (before there is anything to serve, 0.2 s at most)
        log.warning(
            "name_taken_by_another_user", path=str(path), effect="the lock holds only while its file stays where it is"
        )
        return None

    def attend(self) -> None:
        """Answer, from the event loop, those who ask who holds the name: by hanging up."""
        asyncio.get_running_loop().add_reader(self._socket, self._hang_up)

    def _hang_up(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.accept()[0].close()

    def release(self) -> None:
        """Let go of it."""
        with contextlib.suppress(RuntimeError):
            asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()


def holder(path: Path) -> int | None:
    """Give the pid of the agentd that holds the name of a path, if there is one: our own user's, or root's."""
    for user in sorted({os.geteuid(), 0}) if _SUPPORTED else ():
        found = _listener(name_of(path, user))
        if found is not None and found[1] == user:
            return found[0]
    return None


def name_of(path: Path, user: int) -> bytes:
    """Name a path: its user's, in this pid namespace, so that a container in the host's network has its own names."""
    where = hashlib.blake2b(os.path.realpath(path).encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()
    return f"\0agentd/{user}/{pid_namespace()}/{where}".encode()


def pid_namespace() -> int:
    """Identify the pid namespace; 0 where there are none."""
    try:
        return Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        return 0


def _listener(name: bytes) -> tuple[int, int] | None:
    """Ask the kernel for the pid and the user of whoever listens; ``None`` if nobody does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as sock:
        try:
            sock.connect(name)
        except OSError:
            return None
        pid, user, _ = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
        return pid, user

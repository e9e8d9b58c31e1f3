"""One daemon on each socket: a lock that ends with its process, and sockets recognised by connecting to them."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import stat
import time
from pathlib import Path

import structlog

API_MODE = 0o660
"""Of the API's socket: for agentd's user and the admin group."""

log = structlog.get_logger(__name__)

_HOLDER_LOOKS, _HOLDER_PAUSE = 20, 0.01


class AlreadyRunningError(RuntimeError):
    """Another agentd holds the socket; the text names its pid."""


class SocketTakenError(RuntimeError):
    """Something that is not agentd stands at the socket's path; the text says what to do."""


class SocketLock:
    """The right to serve on a socket's path, held until `release` or the end of the process."""

    def __init__(self, descriptor: int, path: Path) -> None:
        self._descriptor = descriptor
        self._path = path

    @classmethod
    def acquire(cls, socket_path: Path) -> SocketLock:
        """Take the lock beside a socket.

        Raises
        ------
        AlreadyRunningError
            If another process holds it.
        SocketTakenError
            If another user has put something at the lock's path: the folder may be the agent user's.
        OSError
            If the lock file cannot be made.
        """
        # Not ".lock": tmux itself locks SOCKET.lock to start a server, and would wait for us.
        path = socket_path.with_name(socket_path.name + ".pid")
        while True:
            # Without blocking, should it be a FIFO.
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
            descriptor = os.open(path, flags, 0o600)
            if not _is_our_own(descriptor):
                os.close(descriptor)
                raise SocketTakenError(f"expected a lock file of our own or nothing at {path}; remove what is there")
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = _read_holder(descriptor)
                os.close(descriptor)
                raise AlreadyRunningError(
                    f"another agentd (pid {holder}) holds {socket_path}; stop it, or name another socket"
                ) from None
            # The former holder removes the file when it ends: make sure that the locked file still stands there.
            try:
                same = os.path.samestat(os.fstat(descriptor), path.stat())
            except FileNotFoundError:
                same = False
            if same:
                break
            os.close(descriptor)
        line = f"{os.getpid()}\n".encode()
        os.pwrite(descriptor, line, 0)
        os.ftruncate(descriptor, len(line))
        return cls(descriptor, path)

    def release(self) -> None:
        """Give the lock up."""
        remove_at_the_end(self._path)
        os.close(self._descriptor)


def _is_our_own(descriptor: int) -> bool:
    """Whether a file is a plain one that we have made: not a link, under this name, to one of ours elsewhere."""
    found = os.fstat(descriptor)
    return stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and found.st_nlink <= 1


def remove_at_the_end(path: Path) -> None:
    """Remove a file that is of no use any more; where that cannot be, it does no harm."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        log.warning("file_stays", path=str(path), error=error.strerror, effect="none: the next agentd takes it over")


def _read_holder(descriptor: int) -> str:
    """Read who holds the lock; one that has just taken it may not have written that yet."""
    for _ in range(_HOLDER_LOOKS):
        holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").partition("\n")[0].strip()
        if holder:
            return holder
        time.sleep(_HOLDER_PAUSE)  # noqa: TID251 (before there is an event loop, 0.2 s at most)
    return "unknown"


def check_socket_path(path: Path) -> None:
    """Make sure that a socket may be made at `path`: nothing there, or a socket that nobody serves.

    Raises
    ------
    SocketTakenError
        If something else is there.
    """
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise SocketTakenError(f"expected a socket or nothing at {path}, found another kind of file; remove it")


def answers(path: Path) -> bool:
    """Whether somebody serves the socket: a stale file is known by connecting to it, not by its existence."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(1.0)
        try:
            sock.connect(str(path))
        except OSError as error:
            return error.errno not in (errno.ENOENT, errno.ECONNREFUSED, errno.ENOTSOCK)
    return True


def bind_api_socket(path: Path, mode: int, gid: int | None) -> socket.socket:
    """Bind a listening socket that appears at its path with its final mode and group.

    Raises
    ------
    SocketTakenError
        If something else serves there.
    OSError
        If it cannot be made.
    """
    check_socket_path(path)
    if answers(path):
        raise SocketTakenError(f"another program serves {path}; stop it, or name another socket with --api-socket")
    # Made under a short name of its own and renamed, so that nobody connects before the mode is right.
    temporary = path.with_name(f".{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        # With its mode from the beginning: a chmod would follow a link that another put there meanwhile.
        former = os.umask(0o777 & ~mode)
        try:
            sock.bind(str(temporary))
        finally:
            os.umask(former)
        if gid is not None:
            os.chown(temporary, -1, gid, follow_symlinks=False)
        sock.listen(128)
        sock.setblocking(False)
        temporary.rename(path)
    except BaseException:
        sock.close()
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        raise
    return sock

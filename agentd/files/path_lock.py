"""One daemon for each path, by a lock that ends with its process."""

from __future__ import annotations

import errno
import os
import platform
import stat
import time
from pathlib import Path

import structlog

from agentd.files.held_names import HeldName, NameHeldError
from agentd.files.locks import stands_at, try_lock

log = structlog.get_logger(__name__)

LOCK_FILE = "agentd.pid"
"""What the lock file in a folder is called."""

_HOLDER_LOOKS, _HOLDER_PAUSE = 20, 0.01
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP})
_NOT_LOCKED = "whether an agentd on another host uses it cannot be known"


class AlreadyRunningError(RuntimeError):
    """Another agentd holds the path; the text names its pid.

    Parameters
    ----------
    pid
        Of the holder; ``None`` where it is not known, or is on another host.
    """

    def __init__(self, text: str, pid: int | None = None) -> None:
        super().__init__(text)
        self.pid = pid


class SocketTakenError(RuntimeError):
    """Something that is not agentd's stands at a path of its; the text says what to do."""


class PathLock:
    """The right to a path, held until `release` or the end of the process.

    Two things hold it, for neither is enough: a name that no removal reaches (`agentd.files.held_names`), and a lock
    on a file, which also holds where the path has another name, or another host has it too (flock(2), also over NFS).
    """

    def __init__(self, path: Path, advice: str, name: HeldName | None, file: Path | None) -> None:
        self.path = path
        self._advice = advice
        self._name = name
        self._file = file
        self._descriptor: int | None = None

    @classmethod
    def of_socket(cls, socket_path: Path) -> PathLock:
        """Take the right to serve on a socket's path.

        Raises
        ------
        AlreadyRunningError
            If another process holds it.
        SocketTakenError
            If another user has put something at the lock file's path: the folder may be the agent user's.
        OSError
            If the lock file cannot be made.
        """
        # Not ".lock": tmux itself locks SOCKET.lock to start a server, and would wait for us.
        file = socket_path.with_name(socket_path.name + ".pid")
        lock = cls._named(socket_path.parent.resolve() / socket_path.name, "name another socket", file)
        try:
            lock.lock_file()
        except BaseException:
            lock.release()
            raise
        return lock

    @classmethod
    def of_folder(cls, folder: Path, option: str, *, file: bool) -> PathLock:
        """Take the right to a folder, which need not exist.

        Parameters
        ----------
        option
            The flag that names another one.
        file
            Whether there is a lock file in it as well: not where agents could put a link in its place. One that cannot
            be made, on a full disk say, is only told.

        Raises
        ------
        AlreadyRunningError
            If another process holds it.
        """
        lock = cls._named(folder, f"name another with {option}", folder / LOCK_FILE if file else None)
        try:
            lock.lock_file()
        except AlreadyRunningError:
            lock.release()
            raise
        except (OSError, SocketTakenError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            log.warning("folder_not_locked", path=str(folder), reason=reason, effect=_NOT_LOCKED)
        return lock

    @classmethod
    def _named(cls, path: Path, advice: str, file: Path | None) -> PathLock:
        try:
            return cls(path, advice, HeldName.take(path), file)
        except NameHeldError as error:
            text = f"another agentd (pid {error.pid}) holds {path}; stop it, or {advice}"
            raise AlreadyRunningError(text, error.pid) from None

    def lock_file(self) -> None:
        """Lock the file, if there is to be one.

        Raises
        ------
        AlreadyRunningError, SocketTakenError, OSError
            As when the lock is taken.
        """
        if self._file is not None:
            former, self._descriptor = self._descriptor, self._open(self._file)
            if former is not None:
                os.close(former)

    def _open(self, path: Path) -> int:
        while True:
            # Without blocking, should it be a FIFO.
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
            descriptor = os.open(path, flags, 0o600)
            try:
                if not _is_our_own(descriptor):
                    raise SocketTakenError(
                        f"expected a lock file of our own or nothing at {path}; remove what is there"
                    )
                self._lock(descriptor, path)
                # The former holder removes the file when it ends: make sure that the locked file still stands there.
                if stands_at(descriptor, path):
                    line = f"{os.getpid()}\n{platform.node()}\n".encode()
                    os.pwrite(descriptor, line, 0)
                    os.ftruncate(descriptor, len(line))
                    return descriptor
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)

    def _lock(self, descriptor: int, path: Path) -> None:
        try:
            if try_lock(descriptor):
                return
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            log.warning("folder_not_locked", path=str(path.parent), reason=error.strerror, effect=_NOT_LOCKED)
            return
        who, pid = _read_holder(descriptor)
        raise AlreadyRunningError(f"another agentd ({who}) holds {self.path}; stop it, or {self._advice}", pid)

    def attend(self) -> None:
        """From now on there is an event loop: let others find out who holds it."""
        if self._name is not None:
            self._name.attend()

    @property
    def file(self) -> Path | None:
        """The lock file, if it is locked."""
        return None if self._descriptor is None else self._file

    def stands(self) -> bool:
        """Whether the locked file stands at its path; true where there is none."""
        return self._file is None or self._descriptor is None or stands_at(self._descriptor, self._file)

    def restore(self) -> Path | None:
        """Make the lock file again where it is gone or another's; says which, if that was needed.

        Raises
        ------
        AlreadyRunningError, SocketTakenError, OSError
            As when it is taken.
        """
        if self.stands():
            return None
        self.lock_file()
        return self._file

    def release(self) -> None:
        """Give the lock up."""
        self.release_file()
        self.release_name()

    def release_file(self) -> None:
        """Give up the part that is a file, whose disk may not answer."""
        if self._descriptor is not None:
            assert self._file is not None
            if stands_at(self._descriptor, self._file):
                remove_at_the_end(self._file)
            os.close(self._descriptor)
            self._descriptor = None

    def release_name(self) -> None:
        """Give up the part that the event loop answers for."""
        if self._name is not None:
            self._name.release()


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


def _read_holder(descriptor: int) -> tuple[str, int | None]:
    """Read who holds the lock, and the pid if it is one of this host; a new holder may not have written it yet."""
    for _ in range(_HOLDER_LOOKS):
        pid, _, host = os.pread(descriptor, 256, 0).decode("utf-8", "replace").partition("\n")
        if pid:
            host = host.strip()
            if host not in ("", platform.node()):
                return f"pid {pid} on the host {host}", None
            return f"pid {pid}", int(pid) if pid.isascii() and pid.isdecimal() else None
        time.sleep(_HOLDER_PAUSE)  # noqa: TID251 (before there is an event loop, 0.2 s at most)
    return "pid unknown", None


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

"""A socket that a program serves: bound, bound again when its file is gone, and removed at the end."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from agentd.files.path_lock import SocketTakenError, check_socket_path, remove_at_the_end
from agentd.settings.limits import API_SOCKET_MODE
from agentd.tmux.socket_file import listener_of

Listen = Callable[[socket.socket], Awaitable[None]]
"""Answers on another bound socket instead of the one before."""


class ApiSocket:
    """The file of the API's socket, or of another.

    Parameters
    ----------
    group
        Numeric group that may use it, or ``None``.
    serve
        Answers on a bound socket while the context is open.
    owner
        Numeric user whose it is; ``None`` for ours.
    """

    def __init__(
        self,
        path: Path,
        group: int | None,
        serve: Callable[[socket.socket], AbstractAsyncContextManager[Listen]],
        owner: int | None = None,
    ) -> None:
        self.path = path
        self._group = group
        self._serve = serve
        self._owner = owner
        self._file: os.stat_result | None = None
        self._listen: Listen | None = None

    @contextlib.asynccontextmanager
    async def answering(self) -> AsyncIterator[None]:
        """Answer while the context is open, and remove the file at its end, unless another has taken its place.

        Raises
        ------
        SocketTakenError, OSError
            As `bind`.
        """
        bound = self.bind()
        try:
            async with self._serve(bound) as self._listen:
                yield
        finally:
            with contextlib.suppress(OSError):
                if self._stands():
                    remove_at_the_end(self.path)

    def bind(self) -> socket.socket:
        """Bind the socket.

        Raises
        ------
        SocketTakenError
            If something else stands or serves there.
        OSError
            If it cannot be made.
        """
        bound = bind_socket(self.path, API_SOCKET_MODE, self._group, self._owner)
        self._file = self.path.lstat()
        return bound

    def _stands(self) -> bool:
        try:
            return self._file is not None and os.path.samestat(self._file, self.path.lstat())
        except OSError:
            return False

    async def keep(self) -> bool:
        """Bind the socket again if its path no longer leads to us; says whether that was needed.

        Raises
        ------
        SocketTakenError, OSError
            As `bind`.
        """
        if self._listen is None or self._stands():
            return False
        if listener_of(self.path) == os.getpid():
            # Moved away and back, or another link to it.
            self._file = self.path.lstat()
            return False
        await self._listen(self.bind())
        return True


def _answers(path: Path) -> bool:
    """Whether somebody serves the socket: a stale file is known by connecting to it, not by its existence."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(1.0)
        try:
            sock.connect(str(path))
        except OSError as error:
            return error.errno not in (errno.ENOENT, errno.ECONNREFUSED, errno.ENOTSOCK)
    return True


def bind_socket(
    path: Path, mode: int, gid: int | None = None, uid: int | None = None, flag: str = "--api-socket"
) -> socket.socket:
    """Bind a listening socket that appears at its path with its final mode, group and owner.

    Parameters
    ----------
    flag
        Which names another path.

    Raises
    ------
    SocketTakenError
        If something else serves there.
    OSError
        If it cannot be made.
    """
    check_socket_path(path)
    if _answers(path):
        raise SocketTakenError(f"another program serves {path}; stop it, or name another socket with {flag}")
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
        if gid is not None or uid is not None:
            os.chown(temporary, -1 if uid is None else uid, -1 if gid is None else gid, follow_symlinks=False)
        sock.listen(128)
        sock.setblocking(False)
        temporary.rename(path)
    except BaseException:
        sock.close()
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        raise
    return sock

"""The API's socket: bound, bound again when its file is gone, and removed at the end."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from agentd.files.locks import API_MODE, bind_api_socket, remove_at_the_end
from agentd.tmux.socket_file import listener_of

Listen = Callable[[socket.socket], Awaitable[None]]
"""Answers on another bound socket instead of the one before."""


class ApiSocket:
    """The file of the API's socket.

    Parameters
    ----------
    group
        Numeric group that may use it, or ``None``.
    serve
        Answers on a bound socket while the context is open.
    """

    def __init__(
        self, path: Path, group: int | None, serve: Callable[[socket.socket], AbstractAsyncContextManager[Listen]]
    ) -> None:
        self.path = path
        self._group = group
        self._serve = serve
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
        bound = bind_api_socket(self.path, API_MODE, self._group)
        self._file = self.path.lstat()
        return bound

    def _stands(self) -> bool:
        try:
            return self._file is not None and os.path.samestat(self._file, self.path.lstat())
        except OSError:
            return False

    async def keep(self) -> bool:
        """Make sure that the path leads to us; says whether it was bound again.

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

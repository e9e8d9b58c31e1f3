"""The tmux server's socket file: kept at its path while the server lives.

Tmp cleaners and people remove sockets, and move or remove the folders they stand in. The server lives on, with every
agent, and nobody can reach it: who then connects starts a second server. tmux makes its socket again on SIGUSR1
(tmux(1)), so a server that is known to live is asked for that, and never replaced.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
import struct
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from agentd.process.identity import ProcessIdentity, started_by
from agentd.tmux.errors import TmuxStartError
from agentd.tmux.server_process import is_tmux

log = structlog.get_logger(__name__)

_MADE_AGAIN_LIMIT = 2.0
"""Seconds for tmux to make its socket again; it needs a millisecond."""
_LOOK = 0.005
_CREDENTIALS = struct.Struct("3i")


def listener_of(path: Path) -> int | None:
    """Give the pid of the process that listens on a Unix socket: ``None`` if none does, 0 if that cannot be told."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as sock:
        try:
            sock.connect(os.fspath(path))
        except BlockingIOError:
            # Somebody does, and has more to do than it can.
            return 0
        except OSError:
            return None
        if not hasattr(socket, "SO_PEERCRED"):
            return 0
        return int(_CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))[0])


class SocketFile:
    """The socket of the tmux server, and which server that is.

    Parameters
    ----------
    path
        Where it stands.
    user
        Whom the server runs as.
    admit
        Gives the file its group and mode.
    """

    def __init__(self, path: Path, user: int, admit: Callable[[], None]) -> None:
        self.path = path
        self._user = user
        self._admit = admit
        self._server: ProcessIdentity | None = None
        self._seen: tuple[int, int] | None = None
        """Device and inode of the file when it was last known to be the server's."""

    @property
    def server(self) -> ProcessIdentity | None:
        """The server that must be there; ``None`` if none is known to live."""
        return self._server if self._server is not None and is_tmux(self._server) else None

    def expect(self, server: ProcessIdentity | None) -> None:
        """Take this server, found alive at the start or connected to, as ours."""
        if server != self._server:
            self._server, self._seen = server, None

    def _identity(self) -> tuple[int, int] | None:
        try:
            found = self.path.lstat()
        except OSError:
            return None
        return (found.st_dev, found.st_ino) if stat.S_ISSOCK(found.st_mode) else None

    async def keep(self) -> bool:
        """Have the server make its socket again if the path no longer leads to it; says whether it did.

        Raises
        ------
        TmuxStartError
            If it does not, and nothing can be done about it: the text says what stands there.
        """
        seen = self._identity()
        if (seen is not None and seen == self._seen) or (server := self.server) is None:
            return False
        if self._leads_to(server):
            self._seen = seen
            return False
        self._check_free(server)
        if not started_by(self._user, server.pid):
            raise TmuxStartError(f"the tmux server (pid {server.pid}) is not the agent user's: end it")
        until = time.monotonic() + _MADE_AGAIN_LIMIT
        try:
            os.kill(server.pid, signal.SIGUSR1)
            while not self._leads_to(server):
                if not is_tmux(server):
                    return False
                if time.monotonic() > until:
                    raise TmuxStartError(
                        f"the agents' tmux server (pid {server.pid}) lives, and cannot make its socket {self.path} "
                        f"again: make its folder writable for it, or end it, and its agents with it: kill {server.pid}"
                    )
                await asyncio.sleep(_LOOK)
        except ProcessLookupError:
            return False
        try:
            self._admit()
        except OSError as error:
            log.warning("tmux_socket_mode_not_set", socket=str(self.path), error=error.strerror)
        self._seen = self._identity()
        return True

    def remove(self) -> None:
        """Remove the file that a server left; whatever else stands there stays."""
        if self._identity() is not None and listener_of(self.path) is None:
            try:
                self.path.unlink(missing_ok=True)
            except OSError as error:
                log.warning("tmux_socket_stays", socket=str(self.path), error=error.strerror)

    def _leads_to(self, server: ProcessIdentity) -> bool:
        return self._identity() is not None and listener_of(self.path) in (server.pid, 0)

    def _check_free(self, server: ProcessIdentity) -> None:
        """Check that the server would replace nothing of anybody else's with its socket."""
        try:
            found = self.path.lstat()
        except OSError:
            return
        lives = f"the agents' tmux server (pid {server.pid}) lives, but "
        if not stat.S_ISSOCK(found.st_mode):
            raise TmuxStartError(f"{lives}{self.path} is not its socket any more; move or remove what is there")
        other = listener_of(self.path)
        if other is not None:
            raise TmuxStartError(f"{lives}pid {other} serves its socket {self.path}; end that: kill {other}")

"""Sets a tmux server up before it holds agents, and admits those who may use it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import re
import signal
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog

from agentd.model.spec import ENVIRONMENT_NAME, RESERVED_SESSION
from agentd.process.identity import started_by
from agentd.settings.limits import SOCKET_MODE
from agentd.tmux.connection import ControlConnection
from agentd.tmux.errors import TmuxError
from agentd.tmux.sizes import SIZE
from agentd.tmux.syntax import command, session_target

log = structlog.get_logger(__name__)

ANCHOR = RESERVED_SESSION
HISTORY_LIMIT = 56_000
"""Lines of scrollback of panes made after it is set; tmux throws a tenth away when it is full, so 50,000 are there."""

_TMUX_KEEPS = frozenset({"TERM", "PWD"})
_HAS_O_PATH = hasattr(os, "O_PATH")
_CLIENT_LOOKS, _CLIENT_PAUSE = 200, 0.01
_IDENTITY = re.compile(r"([0-9]{1,10}) ([0-9]{1,20})", re.ASCII)
_VARIABLE = re.compile(rf"({ENVIRONMENT_NAME})=", re.ASCII)


@dataclass(frozen=True, slots=True)
class ServerUser:
    """Whom to run the tmux server as; all ``None`` to stay who we are."""

    uid: int | None = None
    gid: int | None = None
    groups: tuple[int, ...] | None = None

    @property
    def effective(self) -> int:
        """The user's id, also if it is ours."""
        return os.geteuid() if self.uid is None else self.uid


@dataclass(frozen=True, slots=True)
class ServerIdentity:
    """A tmux server, told apart from one that was started later on the same socket."""

    pid: int
    started: int


@dataclass(frozen=True, slots=True)
class ServerSetup:
    """How the server is set up; the parameters are those of `agentd.tmux.server.TmuxServer`."""

    socket: Path
    user: ServerUser
    environment: Mapping[str, str]
    admin_gid: int | None
    admin_names: Callable[[], tuple[str, ...]]

    async def apply(self, connection: ControlConnection) -> ServerIdentity:
        """Set the server up, and say which one it is.

        Raises
        ------
        TmuxError
            If it refuses.
        TmuxUnreachableError
            If it does not answer.
        """
        await connection.run("refresh-client -f no-output")
        await connection.run(
            "set-option -s exit-empty off",
            f"set-option -g history-limit {HISTORY_LIMIT}",
            "set-option -g default-size {}x{}".format(*SIZE),
            "set-option -g remain-on-exit off",
            "set-option -g destroy-unattached off",
            "set-option -g detach-on-destroy off",
            "set-option -g automatic-rename off",
            "set-option -g allow-rename off",
            # Otherwise an operator who attaches would put their variables into the agent's session.
            "set-option -g update-environment ''",
        )
        shown = await connection.run("display-message -p '#{pid} #{start_time}'")
        match = _IDENTITY.fullmatch("".join(shown[0]))
        if match is None:
            raise TmuxError(f"expected its pid and start time, found {''.join(shown[0])[:80]!r}")
        await self._drop_stale_clients(connection)
        await self._clean_environment(connection)
        await self._admit(connection)
        return ServerIdentity(int(match[1]), int(match[2]))

    async def _drop_stale_clients(self, connection: ControlConnection) -> None:
        """End the control clients of former daemons.

        One whose daemon was killed while tmux was answering waits for ever to write the rest (tmux 3.3a), and tmux
        would wait for it at its own end.
        """
        ended: set[int] = set()
        for _ in range(_CLIENT_LOOKS):
            shown = await connection.run(
                command("list-clients", "-t", session_target(ANCHOR), "-F", "#{client_pid} #{client_control_mode}")
            )
            clients = [line.partition(" ") for line in shown[0]]
            pids = {int(pid) for pid, _, control_mode in clients if control_mode == "1" and pid.isdecimal()}
            # The server is in the agent user's hands, and root must not end whatever it names.
            stale = {pid for pid in pids - {connection.pid} if pid in ended or started_by(self.user.effective, pid)}
            if not stale:
                return
            for pid in stale - ended:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    log.info("tmux_stale_client_ended", pid=pid)
            ended |= stale
            # While the server has one, it may still execute what the former daemon sent: sessions nobody knows of.
            await asyncio.sleep(_CLIENT_PAUSE)
        log.warning("tmux_stale_client_stays", pids=sorted(ended))

    async def _clean_environment(self, connection: ControlConnection) -> None:
        """Remove what panes would inherit from the shell in which somebody else started the server."""
        shown = await connection.run("show-environment -g")
        # Further lines of a value may look like a variable too; unsetting one that is not there does nothing.
        names = {match[1] for line in shown[0] if (match := _VARIABLE.match(line))}
        foreign = sorted(names - self.environment.keys() - _TMUX_KEEPS)
        if foreign:
            await connection.run(*(command("set-environment", "-gu", name) for name in foreign))

    async def _admit(self, connection: ControlConnection) -> None:
        """Let the admin group use the socket."""
        try:
            self.open_socket_file()
        except OSError as error:
            log.warning("tmux_socket_mode_not_set", socket=str(self.socket), error=error.strerror)
        for name in self.admin_names():
            try:
                await connection.run(command("server-access", "-a", name))
            except TmuxError as error:
                # Before 3.3 there is no such command, and no need for it: the socket's mode decides alone.
                if not any(reason in str(error) for reason in ("already", "owns the server", "unknown command")):
                    log.warning("tmux_admin_not_admitted", user=name, error=str(error))

    def open_socket_file(self) -> None:
        """Give the socket its group and mode; as root not through a link that the agent user put in its place.

        Raises
        ------
        OSError
            If it is not there, no socket, or another user's.
        """
        if not _HAS_O_PATH:
            if self.admin_gid is not None:
                os.chown(self.socket, -1, self.admin_gid, follow_symlinks=False)
            self.socket.chmod(SOCKET_MODE, follow_symlinks=False)
            return
        descriptor = os.open(self.socket, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISSOCK(found.st_mode) or found.st_uid != self.user.effective:
                raise PermissionError(errno.EPERM, "it is no socket of the agent user")
            path = f"/proc/self/fd/{descriptor}"
            if self.admin_gid is not None:
                os.chown(path, -1, self.admin_gid)
            Path(path).chmod(SOCKET_MODE)
        finally:
            os.close(descriptor)

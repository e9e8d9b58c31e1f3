"""Keeps a second agentd, and a second run of any agent, from existing beside a first.

First the locks, of the sockets and the state directory; that of the data directory comes with the first worktree. Then
one look at all processes: a tmux server or a run of ours that lives without its socket or its record is taken over, or
ended, or named in a refusal.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import structlog

from agentd.files.answering import NotAnsweringError
from agentd.files.looks import Looks
from agentd.files.path_lock import AlreadyRunningError, PathLock, check_socket_path
from agentd.launch.census import Census, Instance, take_census
from agentd.launch.preflight import PreflightError
from agentd.process.identity import ProcessIdentity
from agentd.process.proc import descendants
from agentd.settings.settings import Settings
from agentd.supervise.host import Host
from agentd.tmux.server_process import socket_of
from agentd.tmux.socket_file import listener_of

log = structlog.get_logger(__name__)

_INHERITED: Final = 10.0
"""Seconds to wait for locks whose holder has ended: a child of it has them from fork to exec, some ms."""
_LOOK_AFTER: Final = 0.02


class StartError(RuntimeError):
    """The daemon cannot start; the text says why and what to do."""


class DataDirectory:
    """The right to make worktrees in the data directory, taken with the first of them.

    Not at the start: it is one for all daemons of a user, who may have sockets and state directories of their own.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock: PathLock | None = None
        self._one_at_a_time = threading.Lock()

    def claim(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take it if it is not ours yet; blocks.

        Raises
        ------
        PreflightError
            If another agentd has it.
        """
        with self._one_at_a_time:
            if self._lock is None:
                try:
                    # The folder is the agents' user's, who may put a link where a file of ours would be.
                    self._lock = PathLock.of_folder(self._folder, "--data-dir", file=False)
                except AlreadyRunningError as error:
                    raise PreflightError(str(error)) from None
                loop.call_soon_threadsafe(self._lock.attend)

    def release(self) -> None:
        """Give it up."""
        if self._lock is not None:
            self._lock.release_name()


async def take_locks(settings: Settings, stack: contextlib.AsyncExitStack, looks: Looks) -> list[PathLock]:
    """Lock everything that no two daemons may share; the stack releases it.

    A daemon that was killed may leave a child that has its locks until it executes its program: that is waited for.

    Raises
    ------
    AlreadyRunningError
        If another agentd holds one.
    SocketTakenError
        If something that is no socket stands at a socket's path.
    StartError
        If a lock cannot be made.
    """
    locks = []
    for path in (settings.tmux_socket, settings.api_socket):
        check_socket_path(path)
        try:
            locks.append(await _taken(partial(PathLock.of_socket, path)))
        except OSError as error:
            raise StartError(f"cannot lock {path}: {error.strerror}: {error.filename}") from error
        stack.push_async_callback(_release, locks[-1], looks)
    locks.append(await _taken(partial(PathLock.of_folder, settings.state_dir, "--state-dir", file=True)))
    stack.push_async_callback(_release, locks[-1], looks)
    for lock in locks:
        lock.attend()
    return locks


async def _taken(take: Callable[[], PathLock]) -> PathLock:
    waited = 0.0
    while True:
        try:
            return take()
        except AlreadyRunningError as error:
            if error.pid is None or ProcessIdentity.of(error.pid) is not None or waited >= _INHERITED:
                raise
            if not waited:
                log.info("waits_for_locks", former=error.pid, reason="it has ended, and a child of it has them")
        await asyncio.sleep(_LOOK_AFTER)
        waited += _LOOK_AFTER


async def _release(lock: PathLock, looks: Looks) -> None:
    """Give a lock up; where its file does not answer, it ends with the process."""
    try:
        await looks.look(lock.path, lock.release_file)
    except NotAnsweringError as error:
        log.warning("file_stays", path=str(lock.path), error=error.strerror, effect="none: the lock ends with agentd")
    lock.release_name()


async def find_living(host: Host, instance: Instance) -> Census:
    """Find what former daemons left running, and the tmux server to connect to.

    Raises
    ------
    StartError
        If agents of ours live where they cannot be taken over.
    """
    began = time.monotonic()
    socket, runtime = host.tmux.socket, host.runtime.path
    census = await asyncio.to_thread(take_census, instance, socket, runtime, host.user.uid)
    log.debug("processes_looked_at", runs=len(census.runs), seconds=round(time.monotonic() - began, 3))
    for pid, agents in census.elsewhere.items():
        raise StartError(
            f"{len(agents)} agents of this state directory ({', '.join(agents)}) live under another tmux server "
            f"(pid {pid}) on {socket_of(pid) or 'an unknown socket'}: start agentd with that as --tmux-socket, "
            f"or end them: kill {pid}"
        )
    host.tmux.file.expect(choose_server(census, socket))
    return census


def choose_server(census: Census, socket: Path) -> ProcessIdentity | None:
    """Choose the tmux server that is ours: the one that holds our runs, or else the one that serves the socket.

    Raises
    ------
    StartError
        If two hold runs of ours.
    """
    servers = census.servers
    holding = [server for server in servers if _holds(server, census)]
    if len(holding) > 1:
        pids = " and ".join(str(server.pid) for server in holding)
        raise StartError(
            f"tmux servers {pids} both hold agents of {socket}: end one of them, and its agents with it, by kill PID"
        )
    if holding:
        return holding[0]
    serving = listener_of(socket) if servers else None
    return next(
        (server for server in servers if server.pid == serving), servers[0] if serving is None and servers else None
    )


def _holds(server: ProcessIdentity, census: Census) -> bool:
    """Whether something of a run of ours lives below a server."""
    below = descendants(server.pid)
    return any(process.pid in below for run in census.runs.values() for process in run.processes)

"""The connection to the tmux server that holds the agents: made at the start, and again whenever it ends.

One session, `ANCHOR`, belongs to agentd: the control client is attached to it.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog

from agentd.process.identity import ProcessIdentity
from agentd.settings.folders import SOCKET_PATH_LIMIT
from agentd.systemd.run import ServiceManager, ServiceManagerError, served
from agentd.tmux.connection import ANSWER_LIMIT, ClientCommand, ControlConnection
from agentd.tmux.errors import (
    TmuxError,
    TmuxGreetingError,
    TmuxHungUpError,
    TmuxStartError,
    TmuxUnreachableError,
)
from agentd.tmux.protocol import Notification
from agentd.tmux.server_process import end_empty
from agentd.tmux.setup import ANCHOR, ServerIdentity, ServerSetup, ServerUser
from agentd.tmux.sizes import WindowSizes
from agentd.tmux.socket_file import SocketFile

log = structlog.get_logger(__name__)

_CHANGES = frozenset({"window-close", "unlinked-window-close", "session-renamed"})
"""Notifications after which an agent's pane may be gone, or its session have another name."""
_CLIENTS = frozenset({"client-session-changed", "client-detached"})
"""Notifications after which somebody is attached to a session, or nobody any more."""
_GREETING_LIMIT = 10.0
"""Seconds for a server to greet us; a program that is no tmux never does."""
_HUNG_UP_LIMIT = 1.0
"""Seconds in which a server that hangs up on a client is taken for one on its way out; then another can start."""
_RETRY_FIRST, _RETRY_MAX = 0.05, 2.0


class ReconnectingClient:
    """The agents' tmux server, reached by one control connection that is made anew whenever it ends.

    Parameters
    ----------
    socket
        Path of the server's socket.
    user
        Whom the server runs as.
    environment
        The server's own environment, kept small: agents get theirs from the launcher.
    admin_gid
        Group that may attach, or ``None``.
    admin_names
        Its members, whom tmux must be told by name (``server-access``, tmux 3.3).
    answer_limit
        Seconds without an answer after which the server counts as unreachable.
    manager
        The service manager that starts the server in a unit of its own; ``None`` to start it as our own descendant.
    """

    def __init__(
        self,
        socket: Path,
        *,
        user: ServerUser,
        environment: dict[str, str],
        admin_gid: int | None = None,
        admin_names: Callable[[], tuple[str, ...]] = tuple,
        answer_limit: float = ANSWER_LIMIT,
        manager: ServiceManager | None = None,
    ) -> None:
        self.socket = socket
        self._user = user
        self._environment = environment
        self._setup = ServerSetup(socket, user, environment, admin_gid, admin_names)
        self._answer_limit = answer_limit
        self._manager = manager
        self.file = SocketFile(socket, user.effective, self._setup.open_socket_file)
        self._connection: ControlConnection | None = None
        self._connected = asyncio.Event()
        self.changed = asyncio.Event()
        """Set when sessions or windows came or went, for the one who follows that to clear."""
        self.clients_changed = asyncio.Event()
        """Set when somebody attached to a session or left, for the one who follows that to clear."""
        self.identity: ServerIdentity | None = None
        self.sizes = WindowSizes(self._run)

    def _client(self) -> ClientCommand:
        program = shutil.which("tmux")
        if program is None:
            raise TmuxStartError("cannot find tmux on the PATH: install it (apt-get install tmux, brew install tmux)")
        length = len(os.fsencode(self.socket))
        if length > SOCKET_PATH_LIMIT:
            raise TmuxStartError(
                f"the path of the tmux socket has {length} bytes, the system takes {SOCKET_PATH_LIMIT}: "
                f"name a shorter one, not {self.socket}"
            )
        if not self.socket.parent.is_dir():
            raise TmuxStartError(f"there is no folder {self.socket.parent} for the tmux socket: make it")
        # A server that lives is connected to, and never replaced: not even if its socket goes at this very moment.
        only = () if self.file.server is None else ("-N",)
        argv = (
            program, "-u", *only, "-S", str(self.socket), "-f", "/dev/null", "-C",
            "new-session", "-A", "-s", ANCHOR, "-n", "agentd", "-c", "/", "cat", "-",
        )  # fmt: skip
        return ClientCommand(argv, self._environment, self._user.uid, self._user.gid, self._user.groups)

    async def connect(self) -> None:
        """Connect, starting the server if none runs.

        Raises
        ------
        TmuxStartError
            If there is no tmux, or it cannot use the socket.
        """
        try:
            connection = await self._open()
        except TmuxGreetingError as error:
            raise TmuxStartError(
                f"{error}; if another program serves {self.socket}, stop it or name another socket"
            ) from error
        try:
            self.identity = await self._setup.apply(connection)
        except (TmuxError, TmuxUnreachableError) as error:
            await connection.close()
            raise TmuxStartError(f"cannot set up the tmux server: {error}") from error
        except BaseException:
            await connection.close()
            raise
        self.file.expect(ProcessIdentity.of(self.identity.pid))
        self._connection = connection
        self.sizes.due = True
        self._connected.set()

    async def _open(self) -> ControlConnection:
        until = asyncio.get_running_loop().time() + _HUNG_UP_LIMIT
        while True:
            if await self.file.keep():
                log.warning("tmux_socket_restored", socket=str(self.socket))
            client = self._client()
            if self._manager is not None and self.file.server is None and not served(self.socket):
                await self._start_by(self._manager, client)
            try:
                return await ControlConnection.open(
                    client, self._notified, self._answer_limit, min(self._answer_limit, _GREETING_LIMIT)
                )
            except TmuxHungUpError:
                late = asyncio.get_running_loop().time() > until
                if late and not end_empty(self.file.server, self._user.effective):
                    raise
            await asyncio.sleep(_RETRY_FIRST)

    async def _start_by(self, manager: ServiceManager, client: ClientCommand) -> None:
        """Have the service manager start the server; without it, the client does."""
        start = (*client.argv[:1], "-S", str(self.socket), "-f", "/dev/null", "start-server")
        as_user = None if client.user is None or client.group is None else (client.user, client.group)
        try:
            await manager.start(
                # A server without sessions ends unless it is told not to.
                (*start, ";", "set-option", "-s", "exit-empty", "off"),
                client.environment,
                socket_path=self.socket,
                user=as_user,
            )
        except ServiceManagerError as error:
            log.warning(
                "tmux_service_not_started",
                error=str(error),
                effect="tmux and the agents stay in agentd's own unit, bound by its limits and its sandbox",
            )

    def _notified(self, notification: Notification) -> None:
        if notification.name in _CHANGES or self.sizes.noticed(notification):
            self.changed.set()
        elif notification.name in _CLIENTS:
            self.clients_changed.set()

    async def stay_connected(self, on_reconnect: Callable[[str], Awaitable[None]]) -> None:
        """Reconnect whenever the connection ends, until cancelled.

        Parameters
        ----------
        on_reconnect
            Called after each new connection, with the reason why the former one ended.
        """
        while True:
            assert self._connection is not None
            # Shielded: cancelling this loop must not cancel what others wait for.
            reason = await asyncio.shield(self._connection.closed)
            self._connected.clear()
            log.warning("tmux_connection_lost", reason=reason)
            await self._connection.close()
            delay = _RETRY_FIRST
            while not self._connected.is_set():
                try:
                    await self.connect()
                except TmuxStartError as error:
                    log.error("tmux_unreachable", error=str(error), retry_seconds=delay)
                    await asyncio.sleep(delay)
                    delay = min(2 * delay, _RETRY_MAX)
            await on_reconnect(reason)

    @property
    def connected(self) -> bool:
        """Whether commands can be sent right now."""
        return self._connected.is_set()

    async def wait_connected(self) -> None:
        """Wait until commands can be sent."""
        await self._connected.wait()

    async def _run(self, *commands: str, more: int = 0) -> list[tuple[str, ...]]:
        connection = self._connection
        if connection is None or not self._connected.is_set():
            raise TmuxUnreachableError("there is no connection to tmux")
        try:
            return await connection.run(*commands, more=more)
        except TmuxUnreachableError:
            # At once, not when `stay_connected` gets its turn: who waits for a connection must wait for another one.
            if connection is self._connection:
                self._connected.clear()
            raise

    async def close(self) -> None:
        """Disconnect; the server and its sessions stay."""
        self._connected.clear()
        if self._connection is not None:
            await self._connection.close()

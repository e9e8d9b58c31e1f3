"""The tmux server that holds the agents: kept connected, and operated by typed commands.

One session, `ANCHOR`, belongs to agentd: the control client is attached to it. What concerns all agents stands in user
options of the server, so that it survives that session. Which run a pane is, its start command tells: it names the
run's launch script, beside which the runtime directory keeps what a later daemon must know to adopt it. Not a user
option of the pane: ``set-option`` makes tmux look at every session and window, so with 1000 sessions the records of
their launches cost it as much CPU as the sessions themselves (2.3-3.0 s instead of 1.65 s).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
from collections.abc import Awaitable, Callable, Iterable
from itertools import islice
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
from agentd.tmux.panes import (
    LIST_FORMAT,
    PANE_FORMAT,
    SCREEN_FORMAT,
    SIZE_FORMAT,
    STATE_FORMAT,
    ListedPane,
    Pane,
    PaneScreen,
    PaneState,
    empty_pane,
    parse_listed,
    parse_pane,
    parse_screen,
    parse_sizes,
    parse_states,
)
from agentd.tmux.protocol import Notification
from agentd.tmux.server_children import ServerChildren, end_readers, ended_with_panes
from agentd.tmux.server_process import end_empty, end_server
from agentd.tmux.setup import ANCHOR, ServerIdentity, ServerSetup, ServerUser
from agentd.tmux.sizes import WindowSizes
from agentd.tmux.socket_file import SocketFile
from agentd.tmux.syntax import command, execute, literal, pane_target, pipe_pane, show_option

log = structlog.get_logger(__name__)

KEY_OPTION = "@agentd_key"

_KILL_LIMIT = 1.0  # seconds for kill-server, which is never executed where hooks make commands wait
_CHANGES = frozenset({"window-close", "unlinked-window-close", "session-renamed"})
"""Notifications after which an agent's pane may be gone, or its session have another name."""
_CLIENTS = frozenset({"client-session-changed", "client-detached"})
"""Notifications after which somebody is attached to a session, or nobody any more."""
_GREETING_LIMIT = 10.0
"""Seconds for a server to greet us; a program that is no tmux never does."""
_HUNG_UP_LIMIT = 1.0
"""Seconds in which a server that hangs up on a client is taken for one on its way out; then another can start."""
_RETRY_FIRST, _RETRY_MAX = 0.05, 2.0
_ATTACHED = re.compile(r"0 \$[0-9]+", re.ASCII)
_MOST_SESSIONS = 100
"""Sessions that are looked at at once because somebody is attached."""
_PIPE_REFUSED = ("fork error", "socketpair error")
"""How tmux begins its answer if it cannot start the process that is to read from a pipe."""
_LAUNCHED = "#{m:/bin/sh *,#{pane_start_command}}"
"""Condition that a pane may have been opened with a launch script."""


class TmuxServer:
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

    # -- connection

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

    async def _run(self, *commands: str) -> list[tuple[str, ...]]:
        connection = self._connection
        if connection is None or not self._connected.is_set():
            raise TmuxUnreachableError("there is no connection to tmux")
        try:
            return await connection.run(*commands)
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

    # -- operations; each raises TmuxError if tmux refuses and TmuxUnreachableError if nothing is known

    async def new_session(
        self, session: str, window: str, workdir: str, script: str, writer: str | None = None
    ) -> Pane:
        """Create a session whose first window executes a launch script.

        What it prints, from the first byte, is also given to `writer`, a shell command.
        """
        target = pane_target(session)
        create = command(
            "new-session", "-d", "-s", literal(session), "-n", window, "-c", literal(workdir),
            "-P", "-F", PANE_FORMAT, *execute(script),
        )  # fmt: skip
        try:
            lines = await self._run(create, *(() if writer is None else (pipe_pane(target, writer),)))
        except TmuxError as error:
            if not str(error).startswith(_PIPE_REFUSED):
                raise
            # The session is there, and its agent runs; that it is not recorded is noticed at the next look.
            lines = await self._run(command("display-message", "-p", "-t", target, PANE_FORMAT))
        return self._pane(lines[0])

    async def respawn(self, pane: Pane, workdir: str, script: str, writer: str | None = None) -> Pane:
        """Execute a launch script in place of whatever the pane runs; with `writer` as in `new_session`.

        Raises
        ------
        TmuxError
            If tmux cannot; then the pane is closed.
        """
        target = pane.pane_id
        show = command("display-message", "-p", "-t", target, PANE_FORMAT)
        commands = [
            command("respawn-pane", "-k", "-t", target, "-c", literal(workdir), *execute(script)),
            show,
            # A pipe of the former run would go on.
            command("pipe-pane", "-t", target) if writer is None else pipe_pane(target, writer),
        ]
        try:
            shown = (await self._run(*commands))[1]
        except TmuxError as error:
            if not str(error).startswith(_PIPE_REFUSED):
                # No process, terminal or descriptor was left, and tmux 3.3a keeps a pane without a process: the next
                # respawn would crash it, with every agent.
                await self.kill_pane(pane)
                raise
            (shown,) = await self._run(show)
        return self._pane(shown)

    async def open_pipe(self, pane: Pane, writer: str) -> None:
        """Pipe what a pane prints from now on to a shell command."""
        await self._run(pipe_pane(pane.pane_id, writer))

    async def close_pipe(self, pane: Pane) -> None:
        """Close a pane's pipe; a missing pane is fine."""
        with contextlib.suppress(TmuxError):
            await self._run(command("pipe-pane", "-t", pane.pane_id))

    async def send_key(self, pane: Pane, key: str) -> None:
        """Type a key into a pane, out of copy mode if an operator left it there."""
        await self._run(
            command("copy-mode", "-q", "-t", pane.pane_id),
            command("send-keys", "-t", pane.pane_id, key),
        )

    async def kill_pane(self, pane: Pane) -> None:
        """Close a pane, and with it its window and session if it was the last; a missing one is fine."""
        with contextlib.suppress(TmuxError):
            await self._run(command("kill-pane", "-t", pane.pane_id))

    async def process_in(self, pane: Pane) -> int | None:
        """What a pane was last opened with; ``None`` where it is gone."""
        try:
            (lines,) = await self._run(command("display-message", "-p", "-t", pane.pane_id, "#{pane_pid}"))
        except TmuxError:
            return None
        return int(lines[0]) if lines and lines[0].isdecimal() else None

    async def rename_session(self, pane: Pane, session: str) -> None:
        """Give a pane's session its declared name back."""
        await self._run(command("rename-session", "-t", pane.session_id, literal(session)))

    async def list_launched_panes(self) -> list[ListedPane]:
        """Every pane that was opened with a launch script, and perhaps some with another script.

        One in which tmux could not start a process is closed.
        """
        (lines,) = await self._run(command("list-panes", "-a", "-f", _LAUNCHED, "-F", LIST_FORMAT))
        listed = []
        for line in lines:
            empty = empty_pane(line)
            if empty is not None:
                await self._run(command("kill-pane", "-t", empty))
                continue
            try:
                listed.append(parse_listed(line, self._user.effective))
            except TmuxError as error:
                log.warning("tmux_pane_left_out", reason=str(error))
        return listed

    async def list_states(self) -> dict[str, PaneState]:
        """The state of every pane, by pane id.

        Less work for tmux than a condition or more fields would be: this is asked at every resync.
        """
        (lines,) = await self._run(command("list-panes", "-a", "-F", STATE_FORMAT))
        return parse_states(lines)

    async def list_attached(self) -> set[str]:
        """The sessions that terminals are attached to, by id."""
        lines = await self._run(command("list-clients", "-F", "#{client_control_mode} #{session_id}"))
        return {line.removeprefix("0 ") for line in lines[0] if _ATTACHED.fullmatch(line)}

    async def list_sizes(self, sessions: Iterable[str]) -> dict[str, tuple[int, int]]:
        """Columns and rows of the panes in these sessions, by pane id; sessions that are gone have none."""
        sizes = {}
        for session in islice(sessions, _MOST_SESSIONS):
            with contextlib.suppress(TmuxError):
                (lines,) = await self._run(command("list-panes", "-s", "-t", session, "-F", SIZE_FORMAT))
                sizes.update(parse_sizes(lines))
        return sizes

    def _pane(self, shown: Iterable[str]) -> Pane:
        return parse_pane("".join(shown), self._user.effective)

    async def capture(self, pane: Pane) -> str:
        """The visible screen of a pane, as text; lines that only the terminal's width broke are whole."""
        lines = await self._run(command("capture-pane", "-p", "-J", "-t", pane.pane_id))
        return "\n".join(lines[0]).rstrip()

    async def show(self, pane: Pane, *, styled: bool) -> PaneScreen:
        """What a pane shows, row by row; with escape sequences for colours if `styled`."""
        state, rows = await self._run(
            command("display-message", "-p", "-t", pane.pane_id, SCREEN_FORMAT),
            command("capture-pane", "-p", *(("-e",) if styled else ()), "-t", pane.pane_id),
        )
        return parse_screen("".join(state), rows)

    async def get_global(self, option: str) -> str | None:
        """A user option of the server."""
        lines = await self._run(show_option(option))
        return lines[0][0] if lines[0] else None

    async def list_globals(self, prefix: str) -> list[str]:
        """The values of the server's user options whose names begin like this."""
        lines = await self._run("show-options -s")
        names = [line.split(" ", 1)[0] for line in lines[0] if line.startswith(prefix)]
        values = await self._run(*map(show_option, names)) if names else []
        return [value[0] for value in values if value]

    async def set_global(self, option: str, value: str | None) -> None:
        """Set or remove a user option of the server."""
        await self._run(
            command("set-option", "-su", option) if value is None else command("set-option", "-s", option, value)
        )

    async def kill_server(self) -> None:
        """End the server with all sessions, and remove the socket file it leaves."""
        identity = self.identity
        children = ServerChildren() if identity is None else await asyncio.to_thread(ServerChildren.of, identity.pid)
        try:
            async with asyncio.timeout(_KILL_LIMIT):
                if not self.connected:
                    await self.connect()
                await self._run("kill-server")
        except (TmuxError, TmuxUnreachableError, TmuxStartError, TimeoutError) as error:
            # The connection may end before the answer comes; whether the server is gone is looked at below.
            log.debug("tmux_server_killed", answer=str(error) or "none in time")
        await self.close()
        server = None if self.identity is None else ProcessIdentity.of(self.identity.pid)
        if self.identity is not None and server is not None and not await end_server(server, self._user.effective):
            log.error("tmux_server_stays", pid=self.identity.pid, socket=str(self.socket))
            return
        await asyncio.gather(ended_with_panes(children.in_panes), end_readers(children.readers, self._user.effective))
        self.file.expect(None)
        self.file.remove()

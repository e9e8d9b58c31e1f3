"""The tmux server that holds the agents, operated by typed commands.

What concerns all agents stands in user options of the server, so that it survives that session. Which run a pane is,
its start command tells: it names the run's launch script, beside which the runtime directory keeps what a later daemon
must know to adopt it. Not a user option of the pane: ``set-option`` makes tmux look at every session and window, so
with 1000 sessions the records of their launches cost it as much CPU as the sessions themselves (2.3-3.0 s instead of
1.65 s).
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import structlog

from agentd.process.identity import ProcessIdentity
from agentd.tmux.errors import (
    TmuxError,
    TmuxStartError,
    TmuxUnreachableError,
)
from agentd.tmux.guard import guarded, refusal
from agentd.tmux.panes import (
    LIST_FORMAT,
    NEWS_FORMAT,
    PANE_FORMAT,
    SCREEN_FORMAT,
    SIZE_FORMAT,
    STATE_FORMAT,
    ListedPane,
    Pane,
    PaneNews,
    PaneScreen,
    PaneState,
    empty_pane,
    parse_listed,
    parse_news,
    parse_pane,
    parse_screen,
    parse_sizes,
    parse_states,
    parse_terminal,
)
from agentd.tmux.reconnecting import ReconnectingClient
from agentd.tmux.server_children import ServerChildren, end_readers, ended_with_panes
from agentd.tmux.server_process import end_server
from agentd.tmux.syntax import command, execute, literal, pane_target, pipe_pane, session_target, show_option

log = structlog.get_logger(__name__)

KEY_OPTION = "@agentd_key"

_KILL_LIMIT = 1.0  # seconds for kill-server, which is never executed where hooks make commands wait
_CLIENTS_FORMAT = "#{session_attached}.#{session_group_attached}.#{window_active_clients}"
_ATTACHED = re.compile(r"0 \$[0-9]+", re.ASCII)
_MOST_SESSIONS = 100
"""Sessions that are looked at at once because somebody is attached."""
_PIPE_REFUSED = ("fork error", "socketpair error")
"""How tmux begins its answer if it cannot start the process that is to read from a pipe."""
_LAUNCHED = "#{m:/bin/sh *,#{pane_start_command}}"
"""Condition that a pane may have been opened with a launch script."""


class TmuxServer(ReconnectingClient):
    """The agents' tmux server.

    Each operation raises `TmuxError` if tmux refuses, and `TmuxUnreachableError` if nothing is known.
    """

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

    async def terminal_of(self, pane: Pane) -> str:
        """The path of a pane's terminal."""
        (lines,) = await self._run(command("display-message", "-p", "-t", pane.pane_id, "#{pane_tty}"))
        return parse_terminal("".join(lines))

    async def paste(self, pane: Pane, file: Path, *, enter: bool) -> str | None:
        """Paste a file into a pane if the run launched in it lives, in brackets if its program asked for that.

        Parameters
        ----------
        enter
            Whether to press Enter behind it.

        Returns
        -------
        Why nothing was pasted; ``None`` if it was.
        """
        buffer = f"agentd-{pane.pane_id}"
        await self._run(command("load-buffer", "-b", buffer, str(file)))
        try:
            return await self._guarded(
                pane,
                command("copy-mode", "-q", "-t", pane.pane_id),
                command("paste-buffer", "-p", "-t", pane.pane_id, "-b", buffer),
                *([command("send-keys", "-t", pane.pane_id, "Enter")] if enter else []),
            )
        finally:
            await self._run(command("delete-buffer", "-b", buffer))

    async def press(self, pane: Pane, key: str) -> str | None:
        """Press a key in a pane, as `paste` pastes."""
        return await self._guarded(
            pane,
            command("copy-mode", "-q", "-t", pane.pane_id),
            command("send-keys", "-t", pane.pane_id, "--", key),
        )

    async def _guarded(self, pane: Pane, *commands: str) -> str | None:
        name, *words = guarded(pane.pane_id, pane.pid, *commands)
        answers = await self._run(command(name, *words), more=len(commands))
        return refusal([line for answer in answers for line in answer], pane.pid)

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

    async def has_session(self, session: str) -> bool:
        """Whether there is a session of this name, whoever opened it."""
        try:
            await self._run(command("has-session", "-t", session_target(session)))
        except TmuxError:
            return False
        return True

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

    async def list_news(self, since: int) -> dict[str, PaneNews]:
        """When panes printed something last, and their titles, by pane id: those that did since then.

        Parameters
        ----------
        since
            In whole seconds since the epoch.
        """
        recent = f"#{{e|>=:#{{window_activity}},{since}}}"
        (lines,) = await self._run(command("list-panes", "-a", "-f", recent, "-F", NEWS_FORMAT))
        return parse_news(lines)

    async def attended(self, pane: Pane) -> bool:
        """Whether a terminal is attached to a pane's session or one of its group, or shows the pane's window elsewhere.

        Of 1000 panes, a list of those with this id takes tmux 7 ms.
        """
        (lines,) = await self._run(command("display-message", "-p", "-t", pane.pane_id, _CLIENTS_FORMAT))
        return any(count not in ("", "0") for count in "".join(lines).split("."))

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

"""The watching of turns, as a part of the daemon: its socket, agents' terminals, and where its news go."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import structlog

from agentd.api.socket_file import ApiSocket
from agentd.daemon.pane_terminal import PaneTerminal
from agentd.daemon.turn_screens import TurnScreens
from agentd.files.path_lock import SocketTakenError
from agentd.harness.base import Harness
from agentd.model.approvals import ApprovalRule
from agentd.model.events import Detail, Event
from agentd.settings.folders import SOCKET_PATH_LIMIT
from agentd.settings.sockets import turns_socket
from agentd.supervise.host import Host
from agentd.turns import peers
from agentd.turns.budgets.ledger import FILE as LEDGER
from agentd.turns.budgets.ledger import Ledger
from agentd.turns.conversations import FILE, Conversations
from agentd.turns.messages.store import FILE as MESSAGES
from agentd.turns.registry import load_adapters
from agentd.turns.requests import Access
from agentd.turns.screen.rules import harnesses_with_rules
from agentd.turns.thread import Setting, TurnsThread

log = structlog.get_logger(__name__)

_CONFIDENTIAL = ("prompt", "text", "name")
"""Values of events that hold what agents and people say."""


class TurnsPart:
    """Runs the thread, and holds its socket.

    Parameters
    ----------
    api_socket
        The API's, beside which ours stands.
    admin_gid
        Numeric group that may talk to agents, or ``None``.
    state_dir
        Where conversations are remembered.
    harnesses
        By name.
    """

    def __init__(
        self,
        host: Host,
        api_socket: Path,
        admin_gid: int | None,
        state_dir: Path,
        harnesses: Mapping[str, Harness],
    ) -> None:
        self._host = host
        self._harnesses = harnesses
        self._conversations = Conversations(state_dir / FILE)
        self._conversations.read()
        self._messages = state_dir / MESSAGES
        self._ledger = Ledger(state_dir / LEDGER)
        self._adapters = load_adapters()
        for text in self._adapters.warnings:
            log.warning("harness", warning=text)
        self._access = Access(host.user.uid, os.geteuid(), admin_gid)
        # The agents' user must reach it, and strangers need not.
        self.socket = ApiSocket(turns_socket(api_socket), admin_gid, self._serve, host.user.uid)
        self._thread: TurnsThread | None = None

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Watch while the context is open; without a socket where none can be made."""
        async with contextlib.AsyncExitStack() as stack:
            reason = self._no_socket()
            path = str(self.socket.path) if reason is None else None
            thread = self._start(path)
            stack.push_async_callback(thread.close)
            if path is not None:
                try:
                    await stack.enter_async_context(self.socket.answering())
                except (SocketTakenError, OSError) as error:
                    reason = str(error)
            if reason is not None:
                log.warning("turns_without_hooks", path=str(self.socket.path), reason=reason)
                thread.without_hooks()
            self._host.watcher = thread
            stack.push_async_callback(self._end, asyncio.create_task(self._screens(thread).run(), name="screens"))
            yield

    def adopted(self) -> None:
        """Say that the runs of a former daemon are all known."""
        assert self._thread is not None
        self._thread.adopted()

    def approve(self, rules: Sequence[ApprovalRule]) -> None:
        """Follow these rules for what agents ask for."""
        assert self._thread is not None
        self._thread.approve(rules)

    def _no_socket(self) -> str | None:
        """Why there can be no socket, if there can be none."""
        if not peers.KNOWN:
            return "this system does not tell who connects"
        length = len(os.fsencode(self.socket.path))
        if length > SOCKET_PATH_LIMIT:
            return f"the path has {length} bytes, a socket's may have {SOCKET_PATH_LIMIT}; shorten --api-socket"
        return None

    def _screens(self, thread: TurnsThread) -> TurnScreens:
        return TurnScreens(self._host, thread, frozenset(harnesses_with_rules()), self._host.clock.wall)

    @staticmethod
    async def _end(task: asyncio.Task[None]) -> None:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled() and task.exception() is not None:
            log.error("screens_not_seen", exc_info=task.exception())

    def _start(self, hook_socket: str | None) -> TurnsThread:
        self._thread = TurnsThread(
            Setting(
                adapters=self._adapters.by_harness,
                user=self._host.user,
                access=self._access,
                hook_socket=hook_socket,
                sink=self._take,
                redact=self._host.redact,
                conversations=self._conversations,
                messages=self._messages,
                ledger=self._ledger,
                changed=self._host.does,
                may_launch=lambda: self._host.state_changed(None),
                terminal=lambda run: PaneTerminal(self._host, run),
                empty_box=self._empty_box,
            )
        )
        return self._thread

    def _empty_box(self, harness: str) -> str | None:
        known = self._harnesses.get(harness)
        return None if known is None else known.facts.empty_box

    @contextlib.asynccontextmanager
    async def _serve(self, bound: socket.socket) -> AsyncIterator[Callable[[socket.socket], Awaitable[None]]]:
        assert self._thread is not None
        await self._thread.listen(bound)
        yield self._thread.listen

    def _take(self, event: Event) -> None:
        data = {name: self._redacted(name, value) for name, value in event.data.items()}
        self._host.emit(replace(event, data=data))

    def _redacted(self, name: str, value: Detail) -> Detail:
        if isinstance(value, str):
            return self._host.redact(value) if name in _CONFIDENTIAL else value
        if isinstance(value, tuple | list):
            return [self._host.redact(each) for each in value]
        return value

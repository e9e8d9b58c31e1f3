"""The watching of turns, as a part of the daemon: its socket, agents' terminals, and where its news go."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import structlog

from agentd.api.socket_file import ApiSocket, Listen
from agentd.daemon.pane_terminal import PaneTerminal
from agentd.daemon.turn_screens import TurnScreens
from agentd.files.path_lock import SocketTakenError
from agentd.harness.base import Harness
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


@dataclass(frozen=True, slots=True)
class TurnsPart:
    """What watches turns while it is at work."""

    thread: TurnsThread
    socket: ApiSocket
    """The thread's, which is there unless the log says why it is not."""


@contextlib.asynccontextmanager
async def watching_turns(
    host: Host,
    api_socket: Path,
    admin_gid: int | None,
    state_dir: Path,
    harnesses: Mapping[str, Harness],
) -> AsyncIterator[TurnsPart]:
    """Watch turns while the context is open; without a socket where none can be made.

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
    path = turns_socket(api_socket)
    reason = _no_socket(path)
    hooks = str(path) if reason is None else None
    async with contextlib.AsyncExitStack() as stack:
        access = Access(host.user.uid, os.geteuid(), admin_gid)
        thread = TurnsThread(_setting(host, access, hooks, state_dir, harnesses))
        stack.push_async_callback(thread.close)
        # The agents' user must reach it, and strangers need not.
        api = ApiSocket(path, admin_gid, partial(_serve, thread), host.user.uid)
        if reason is None:
            try:
                await stack.enter_async_context(api.answering())
            except (SocketTakenError, OSError) as error:
                reason = str(error)
        if reason is not None:
            log.warning("turns_without_hooks", path=str(path), reason=reason)
            thread.without_hooks()
        # Not when the host is made: what the thread sees is emitted by the host, which so is there first.
        host.watcher = thread
        screens = TurnScreens(host, thread, frozenset(harnesses_with_rules()), host.clock.wall)
        stack.push_async_callback(_end, asyncio.create_task(screens.run(), name="screens"))
        yield TurnsPart(thread, api)


def _no_socket(path: Path) -> str | None:
    """Why there can be no socket, if there can be none."""
    if not peers.KNOWN:
        return "this system does not tell who connects"
    length = len(os.fsencode(path))
    if length > SOCKET_PATH_LIMIT:
        return f"the path has {length} bytes, a socket's may have {SOCKET_PATH_LIMIT}; shorten --api-socket"
    return None


def _setting(
    host: Host, access: Access, hook_socket: str | None, state_dir: Path, harnesses: Mapping[str, Harness]
) -> Setting:
    conversations = Conversations(state_dir / FILE)
    conversations.read()
    adapters = load_adapters()
    for text in adapters.warnings:
        log.warning("harness", warning=text)

    def empty_box(harness: str) -> str | None:
        known = harnesses.get(harness)
        return None if known is None else known.facts.empty_box

    return Setting(
        adapters=adapters.by_harness,
        user=host.user,
        access=access,
        hook_socket=hook_socket,
        sink=partial(_emit, host),
        redact=host.redact,
        conversations=conversations,
        messages=state_dir / MESSAGES,
        ledger=Ledger(state_dir / LEDGER),
        changed=host.does,
        may_launch=partial(host.state_changed, None),
        terminal=partial(PaneTerminal, host),
        empty_box=empty_box,
    )


@contextlib.asynccontextmanager
async def _serve(thread: TurnsThread, bound: socket.socket) -> AsyncIterator[Listen]:
    await thread.listen(bound)
    yield thread.listen


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled() and task.exception() is not None:
        log.error("screens_not_seen", exc_info=task.exception())


def _emit(host: Host, event: Event) -> None:
    host.emit(replace(event, data={name: _redacted(host.redact, name, value) for name, value in event.data.items()}))


def _redacted(redact: Callable[[str], str], name: str, value: Detail) -> Detail:
    if isinstance(value, str):
        return redact(value) if name in _CONFIDENTIAL else value
    if isinstance(value, tuple | list):
        return [redact(each) for each in value]
    return value

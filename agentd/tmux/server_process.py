"""The process that is a tmux server: recognised, the socket that it serves, and its end."""

from __future__ import annotations

import contextlib
import os
import signal
from itertools import pairwise

from agentd.process.identity import ProcessIdentity, ends_within, started_by
from agentd.process.proc import PROC, children_of, command_of, read_bytes

_END_LIMIT = 2.0
"""Seconds for the server to end after each attempt; it needs milliseconds."""

_SERVER_NAMES = (b"tmux: server", b"tmux")
"""What a tmux server is called in /proc/PID/comm: 15 bytes at most; the second where the system cannot rename it."""


def is_tmux_server(pid: int) -> bool:
    """Whether a process calls itself a tmux server."""
    return (read_bytes(f"{PROC}/{pid}/comm", 64) or b"").strip() == _SERVER_NAMES[0]


def is_tmux(process: ProcessIdentity) -> bool:
    """Whether a living process is a tmux, as far as the system tells: what others name is not signalled otherwise."""
    if not process.alive():
        return False
    name = read_bytes(f"{PROC}/{process.pid}/comm", 64)
    return name is None or name.startswith(_SERVER_NAMES[1])


def socket_of(server: int) -> str | None:
    """The socket that a tmux server was told to serve."""
    words = command_of(server)
    found = next((word for option, word in pairwise(words) if option == b"-S"), None)
    return None if found is None else os.fsdecode(found)


def end_empty(server: ProcessIdentity | None, owner: int) -> bool:
    """End a server of the uid `owner` that accepts no client and holds no pane, waiting for a client before it ends."""
    if server is None or children_of(server.pid) or not started_by(owner, server.pid):
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(server.pid, signal.SIGKILL)
    return True


async def end_server(server: ProcessIdentity, owner: int) -> bool:
    """Wait for the end of a server, helped by signals where ``kill-server`` did not reach it; says whether it ended."""
    if await ends_within(server, _END_LIMIT):
        return True
    for number in (signal.SIGTERM, signal.SIGKILL):
        # tmux named the pid, and tmux is in the agent user's hands: root ends nothing else by it.
        if server.started is not None and server.alive() and started_by(owner, server.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(server.pid, number)
        if await ends_within(server, _END_LIMIT):
            return True
    return False

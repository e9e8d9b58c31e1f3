"""The process that is a tmux server: recognised, and the socket that it serves."""

from __future__ import annotations

import os
from itertools import pairwise

from agentd.process.identity import ProcessIdentity
from agentd.process.proc import PROC, command_of, read_bytes

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

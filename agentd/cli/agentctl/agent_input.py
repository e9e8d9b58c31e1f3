"""Be the only sender to an agent, while a person waits."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from agentd.cli.agentctl.command import CommandError
from agentd.tmux.agent_input import AgentInput, SenderLock

_LOOK_AFTER = 0.05
"""Seconds between two tries."""


class BusyError(CommandError):
    """Another sender holds the lock."""


@contextlib.contextmanager
def open_input(terminal: str) -> Iterator[AgentInput | None]:
    """Open an agent's terminal; ``None`` if this user may not."""
    own = AgentInput.open(terminal)
    try:
        yield own
    finally:
        if own is not None:
            own.close()


@contextlib.contextmanager
def only_sender(socket: Path, own: AgentInput | None, limit: float) -> Iterator[None]:
    """Hold the lock to type into the agent's terminal.

    Parameters
    ----------
    socket
        The tmux server's.
    own
        The terminal; ``None`` if it may not be opened.
    limit
        Seconds to wait for others.

    Raises
    ------
    BusyError
        If others hold the lock until then.
    CommandError
        If the socket's folder cannot be locked.
    """
    end = time.monotonic() + limit
    try:
        lock = SenderLock(socket, own)
    except OSError as error:
        raise CommandError(
            f"cannot lock {socket.resolve().parent} to be the only sender: {error.strerror};"
            " run this as a user who may read that folder, such as the agents' or root"
        ) from error
    try:
        while not lock.take():
            if time.monotonic() >= end:
                raise BusyError("another agentctl is sending to this agent; try again when it is done", "conflict")
            time.sleep(_LOOK_AFTER)  # noqa: TID251 (a person waits, and nothing reports a lock)
        yield
    finally:
        lock.release()

"""The agent's end of its terminal: unread input, and the lock that one sender at a time holds."""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import termios
import time
from collections.abc import Iterator
from pathlib import Path

from agentd.cli.agentctl.command import CommandError
from agentd.files.locks import try_lock, unlock

LOOK_AFTER = 0.05
"""Seconds between two tries."""

LONGEST_LINE = 4095
"""Longest line, in bytes without its end, that Linux gives a program that reads lines; source: termios(3)."""

_COUNT = struct.Struct("i")
_LOCAL_MODES = 3


class BusyError(CommandError):
    """Another sender holds the lock."""


class AgentInput:
    """The input queue of the agent's terminal, which only the agents' user and root may open."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    @property
    def unread(self) -> int:
        """Bytes that the agent could read and has not; an unfinished line does not count."""
        return int(_COUNT.unpack(fcntl.ioctl(self.descriptor, termios.FIONREAD, _COUNT.pack(0)))[0])

    @property
    def reads_lines(self) -> bool:
        """Whether the terminal collects lines, as for programs without an input box."""
        return bool(termios.tcgetattr(self.descriptor)[_LOCAL_MODES] & termios.ICANON)

    def discard(self) -> None:
        """Discard what the agent has not read."""
        termios.tcflush(self.descriptor, termios.TCIFLUSH)


@contextlib.contextmanager
def open_input(terminal: str) -> Iterator[AgentInput | None]:
    """Open an agent's terminal; ``None`` if this user may not."""
    try:
        descriptor = os.open(terminal, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        yield None
        return
    try:
        yield AgentInput(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def only_sender(socket: Path, agent: AgentInput | None, limit: float) -> Iterator[None]:
    """Hold the lock to type into the agent's terminal.

    A sender locks the agent's terminal, and the socket's folder as shared; one that may not open the terminal locks the
    folder exclusively. So senders to different agents do not wait for each other, and no lock file is left.

    Parameters
    ----------
    socket
        The tmux server's.
    agent
        The terminal; ``None`` if it may not be opened.
    limit
        Seconds to wait for others.

    Raises
    ------
    BusyError
        If others hold the lock until then.
    CommandError
        If the folder cannot be locked.
    """
    end, folder = time.monotonic() + limit, socket.resolve().parent
    with contextlib.ExitStack() as stack:
        try:
            shared = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise CommandError(
                f"cannot lock {folder} to be the only sender: {error.strerror};"
                " run this as a user who may read that folder, such as the agents' or root"
            ) from error
        stack.callback(os.close, shared)
        if agent is None:
            _lock(shared, end)
        else:
            _lock(shared, end, shared=True)
            _lock(agent.descriptor, end)
            stack.callback(unlock, agent.descriptor)
        yield


def _lock(descriptor: int, end: float, *, shared: bool = False) -> None:
    while not try_lock(descriptor, shared=shared):
        if time.monotonic() >= end:
            raise BusyError("another agentctl is sending to this agent; try again when it is done")
        time.sleep(LOOK_AFTER)  # noqa: TID251 (a person waits, and nothing reports a lock)

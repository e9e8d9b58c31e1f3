"""The agent's end of its terminal: what it has not read, and the lock that one sender at a time holds."""

from __future__ import annotations

import fcntl
import os
import struct
import termios
from pathlib import Path

from agentd.files.locks import try_lock, unlock

_COUNT = struct.Struct("i")
_LOCAL_MODES = 3


class AgentInput:
    """The input queue of the agent's terminal, which only the agents' user and root may open."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    @classmethod
    def open(cls, terminal: str, owner: int | None = None) -> AgentInput | None:
        """Open a terminal; ``None`` if this user may not, or it is not that of `owner`, if one is given."""
        try:
            descriptor = os.open(terminal, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        if owner is not None and os.fstat(descriptor).st_uid != owner:
            os.close(descriptor)
            return None
        return cls(descriptor)

    def close(self) -> None:
        """Close it, which gives up a lock on it."""
        os.close(self.descriptor)

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


class SenderLock:
    """The lock to type into an agent's terminal.

    A sender locks the agent's terminal, and the socket's folder as shared; one that may not open the terminal locks the
    folder exclusively. So senders to different agents do not wait for each other, and no lock file is left.

    Parameters
    ----------
    socket
        The tmux server's.
    own
        The terminal; ``None`` if it may not be opened.

    Raises
    ------
    OSError
        If the folder cannot be opened.
    """

    def __init__(self, socket: Path, own: AgentInput | None) -> None:
        self.folder = socket.resolve().parent
        self._own = own
        self._shared = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._has_folder = False

    def take(self) -> bool:
        """Take it, unless somebody else has it; says whether it is ours.

        Raises
        ------
        OSError
            If its file system has no locks.
        """
        self._has_folder = self._has_folder or try_lock(self._shared, shared=self._own is not None)
        return self._has_folder and (self._own is None or try_lock(self._own.descriptor))

    def release(self) -> None:
        """Give it up."""
        os.close(self._shared)
        if self._own is not None:
            unlock(self._own.descriptor)

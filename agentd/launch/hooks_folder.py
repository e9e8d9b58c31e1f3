"""The folder that the sandbox of one run shows to its agent: its socket for hooks, and the file of its watching.

It is mounted as a whole, read-only, so that a later agentd can bind the socket anew where the agent sees it. It stands
in the runtime directory, and belongs to the agents' user: whatever that puts in its place is not followed.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from agentd.launch.owned_folder import OwnedFolder, RuntimeDirectoryError

HOOKS_SUFFIX: Final = ".hooks"
"""After a run's id, the folder's name."""
INSIDE: Final = Path("/run/agentd/hooks")
"""Where the sandbox has it."""
SOCKET: Final = "socket"
FILE: Final = "file"
_BACKLOG: Final = 128


class HooksFolder:
    """The folder of one run.

    Parameters
    ----------
    around
        The runtime directory, open.
    owner, group
        Numeric agent user and group.
    """

    def __init__(self, around: int, run_id: str, owner: int, group: int) -> None:
        self._around = around
        self._name = run_id + HOOKS_SUFFIX
        self._owner = owner
        self._group = group
        # By the open folder: the way to it may lead elsewhere by now, and be too long for a socket.
        self._folder = OwnedFolder(Path(f"/proc/self/fd/{around}/{self._name}"), owner, group)

    def write(self, file: bytes | None) -> None:
        """Make it, with the file if there is one.

        Raises
        ------
        OSError
            If it cannot be made.
        """
        with self._open():
            if file is not None:
                self._folder.create(FILE, file)

    def bind(self) -> socket.socket:
        """Bind the socket, in place of a former one.

        Raises
        ------
        OSError
            If it cannot be made.
        """
        with self._open() as descriptor:
            self._folder.remove(SOCKET)
            bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
            try:
                bound.bind(f"/proc/self/fd/{descriptor}/{SOCKET}")
                os.chown(SOCKET, self._owner, self._group, dir_fd=descriptor, follow_symlinks=False)
                bound.listen(_BACKLOG)
                bound.setblocking(False)
            except BaseException:
                bound.close()
                raise
            return bound

    def remove(self) -> None:
        """Remove it."""
        if not os.access(self._folder.path, os.F_OK):
            return
        try:
            with self._open():
                self._folder.remove(SOCKET)
                self._folder.remove(FILE)
            os.rmdir(self._name, dir_fd=self._around)
        except OSError:
            # Something that the agents' user put there, which nothing takes for a folder of a run.
            return

    @contextlib.contextmanager
    def _open(self) -> Iterator[int]:
        try:
            self._folder.open()
        except RuntimeDirectoryError as error:
            raise OSError(str(error)) from error
        try:
            yield self._folder.descriptor
        finally:
            self._folder.close()

"""The folders of the sockets and of the state: made where they are missing, with the right owner and mode."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from agentd.files.answering import NotAnsweringError
from agentd.files.looks import Looks
from agentd.files.permissions import closed_folder, may_fill
from agentd.launch.identity import AdminGroup
from agentd.model.user import AgentUser
from agentd.settings.settings import Settings


class FolderError(RuntimeError):
    """A folder cannot be made or used; the text says why and what to do."""


class Folders:
    """The folders that agentd itself needs.

    One that is lost comes back with the owner and the mode that it had: a folder that its user has closed is not
    opened, nor is one closed that others come in by.

    Parameters
    ----------
    user
        Whom the agents, and so the tmux server, run as.
    admins
        The group that may use the sockets.
    """

    def __init__(self, settings: Settings, user: AgentUser, admins: AdminGroup | None) -> None:
        self.settings = settings
        self.user = user
        self.admins = admins
        self._seen: dict[Path, os.stat_result] = {}
        """How each was when it was last seen, so long as it is the same one's."""

    @property
    def needed(self) -> tuple[Path, ...]:
        """The folders."""
        settings = self.settings
        data = () if settings.data_dir is None else (settings.data_dir,)
        return settings.api_socket.parent, settings.tmux_socket.parent, settings.state_dir, *data

    async def check_answering(self, looks: Looks) -> None:
        """Check that their file systems answer.

        Raises
        ------
        FolderError
            If one is on a file system that does not.
        """
        for folder in self.needed:
            try:
                await looks.look(folder, lambda: None)
            except NotAnsweringError as error:
                raise FolderError(
                    f"{error.strerror}: it is on the way to the folder {folder}; "
                    "mount it again, unmount it, or name another folder"
                ) from None

    def stand(self) -> bool:
        """Whether `make` has nothing to do and nothing to say."""
        if not all(self._see(folder) for folder in self.needed if self.user.switch or folder != self.settings.data_dir):
            return False
        try:
            if self.user.switch:
                _check_reachable(self.settings.tmux_socket.parent, self.user)
        except FolderError:
            return False
        return True

    def _see(self, folder: Path) -> bool:
        """Whether it is there; remembers how."""
        try:
            found = folder.stat()
        except OSError:
            return False
        if not stat.S_ISDIR(found.st_mode):
            return False
        if found.st_uid == self._seen.get(folder, found).st_uid:
            self._seen[folder] = found
        return True

    def make(self) -> list[Path]:
        """Create those that are missing; says which.

        Raises
        ------
        FolderError
            If one cannot be made, or the agent user cannot make the tmux socket in its.
        """
        settings, user, made = self.settings, self.user, []
        root = os.geteuid() == 0
        # tmux runs as the agent user and makes its socket itself; the admin group must reach it.
        group = user.gid if self.admins is None else self.admins.gid
        wanted = [
            (settings.api_socket.parent, 0o755 if root else 0o700, None),
            (settings.tmux_socket.parent, 0o750 if root else 0o700, (user.uid, group) if root else None),
            (settings.state_dir, 0o700, None),
        ]
        if user.switch and settings.data_dir is not None:
            wanted.append((settings.data_dir, 0o700, (user.uid, user.gid)))
        try:
            for folder, mode, owner in wanted:
                if self._see(folder):
                    continue
                if (before := self._seen.get(folder)) is None:
                    _make(folder, mode, owner)
                else:
                    _make(folder, stat.S_IMODE(before.st_mode), (before.st_uid, before.st_gid))
                self._see(folder)
                made.append(folder)
        except OSError as error:
            raise FolderError(f"cannot make the folder {error.filename}: {error.strerror}") from error
        if user.switch:
            _check_reachable(settings.tmux_socket.parent, user)
        return made


def _make(path: Path, mode: int, owner: tuple[int, int] | None) -> None:
    # Parents too are closed to others unless root makes them: a private folder under a shared one is no use.
    for missing in reversed([folder for folder in path.parents if not folder.exists()]):
        missing.mkdir(mode=0o755 if os.geteuid() == 0 else 0o700)
    path.mkdir(mode=0o700)
    # By descriptor: whoever may write to its parent could put a link in its place meanwhile.
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if os.fstat(folder).st_uid != os.geteuid():
            raise PermissionError(errno.EPERM, "somebody else put another in its place", str(path))
        if owner is not None:
            try:
                os.fchown(folder, *owner)
            except PermissionError:
                # It was another's, whom only root could give it: those rights were not about us.
                mode = 0o700
        os.fchmod(folder, mode)
    finally:
        os.close(folder)


def _check_reachable(folder: Path, user: AgentUser) -> None:
    """Make sure that the agent user can make the tmux socket.

    Raises
    ------
    FolderError
        If not, with what to do.
    """
    closed = closed_folder(folder, user)
    if closed is not None and closed != folder.resolve():
        raise FolderError(
            f"user {user.name} may not enter {closed}, so it cannot make the tmux socket in {folder}: "
            f"chmod o+x {closed}, or name another path with --tmux-socket"
        )
    if not may_fill(user, folder.stat()):
        raise FolderError(
            f"user {user.name} cannot make the tmux socket in {folder}: "
            f"chown it to {user.name}, or name another path with --tmux-socket"
        )

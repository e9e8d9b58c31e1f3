"""The folders of the sockets and of the state: made where they are missing, with the right owner and mode."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from agentd.files.answering import NotAnsweringError
from agentd.files.looks import Looks
from agentd.files.permissions import closed_folder, may_fill
from agentd.launch.identity import AdminGroup
from agentd.model.user import AgentUser
from agentd.settings.settings import Settings


class FolderError(RuntimeError):
    """A folder cannot be made or used; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Folders:
    """The folders that agentd itself needs.

    Parameters
    ----------
    user
        Whom the agents, and so the tmux server, run as.
    admins
        The group that may use the sockets.
    """

    settings: Settings
    user: AgentUser
    admins: AdminGroup | None

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
        if not all(folder.is_dir() for folder in self.needed if self.user.switch or folder != self.settings.data_dir):
            return False
        try:
            if self.user.switch:
                _check_reachable(self.settings.tmux_socket.parent, self.user)
        except FolderError:
            return False
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
        try:
            if _make(settings.api_socket.parent, 0o755 if root else 0o700):
                made.append(settings.api_socket.parent)
            if _make(settings.tmux_socket.parent, 0o750 if root else 0o700):
                made.append(settings.tmux_socket.parent)
                if root:
                    # tmux runs as the agent user and makes its socket itself; the admin group must reach it.
                    group = user.gid if self.admins is None else self.admins.gid
                    os.chown(settings.tmux_socket.parent, user.uid, group)
            if _make(settings.state_dir, 0o700):
                made.append(settings.state_dir)
            if user.switch and settings.data_dir is not None and _make(settings.data_dir, 0o700):
                os.chown(settings.data_dir, user.uid, user.gid)
                made.append(settings.data_dir)
        except OSError as error:
            raise FolderError(f"cannot make the folder {error.filename}: {error.strerror}") from error
        if user.switch:
            _check_reachable(settings.tmux_socket.parent, user)
        return made


def _make(path: Path, mode: int) -> bool:
    if path.is_dir():
        return False
    # Parents too are closed to others unless root makes them: a private folder under a shared one is no use.
    for missing in reversed([folder for folder in path.parents if not folder.exists()]):
        missing.mkdir(mode=0o755 if os.geteuid() == 0 else 0o700)
    path.mkdir(mode=mode)
    path.chmod(mode)
    return True


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

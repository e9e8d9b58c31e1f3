"""Whom agents run as."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class AgentUser:
    """The user that agents and their tmux server run as."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    """Supplementary groups."""
    home: Path
    shell: str
    switch: bool
    """Whether agentd is someone else (root) and must become this user to start agents."""

    def may_execute(self, mode: int, owner: int, group: int) -> bool:
        """Whether permission bits let this user execute a file, or enter a folder."""
        if self.uid == 0:
            return bool(mode & 0o111)
        return self._permitted(0o1, mode, owner, group)

    def may_enter(self, mode: int, owner: int, group: int) -> bool:
        """Whether permission bits let this user enter a folder; root enters any."""
        return self.uid == 0 or self._permitted(0o1, mode, owner, group)

    def may_fill(self, mode: int, owner: int, group: int) -> bool:
        """Whether permission bits let this user make files in a folder."""
        return self.may_enter(mode, owner, group) and (self.uid == 0 or self._permitted(0o2, mode, owner, group))

    def may_read(self, mode: int, owner: int, group: int) -> bool:
        """Whether permission bits let this user read a file."""
        return self.uid == 0 or self._permitted(0o4, mode, owner, group)

    def may_change(self, mode: int, owner: int, group: int) -> bool:
        """Whether this user can write a file or folder, or give itself the right to."""
        return self.uid in (0, owner) or self._permitted(0o2, mode, owner, group)

    def _permitted(self, bit: int, mode: int, owner: int, group: int) -> bool:
        if self.uid == owner:
            return bool(mode & bit << 6)
        if group == self.gid or group in self.groups:
            return bool(mode & bit << 3)
        return bool(mode & bit)

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
        """Whether permission bits let this user execute a file."""
        if self.uid == 0:
            return bool(mode & 0o111)
        if self.uid == owner:
            return bool(mode & 0o100)
        if group == self.gid or group in self.groups:
            return bool(mode & 0o010)
        return bool(mode & 0o001)

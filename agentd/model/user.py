"""The user that agents run as."""

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

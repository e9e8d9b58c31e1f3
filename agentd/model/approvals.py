"""Rules of what agents may do without anybody being asked: the ``[[approve]]`` tables of a jcard."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ApprovalAction(StrEnum):
    """What a rule says of a request that it is about."""

    ALLOW = "allow"
    DENY = "deny"
    ASK = "ask"
    """Somebody decides."""


@dataclass(frozen=True, slots=True)
class ApprovalRule:
    """One rule; the first that is about a request decides."""

    name: str
    """Its own, or the file and line where it stands."""
    action: ApprovalAction
    agents: tuple[str, ...] | None = None
    """Patterns of names, as of a shell; ``None`` is every agent."""
    tools: tuple[str, ...] | None = None
    """Patterns of the tools' names, without regard to case; ``None`` is every tool."""
    commands: tuple[str, ...] = ()
    """Patterns of commands, word by word."""
    paths: tuple[str, ...] = ()
    """Patterns of files; relative ones start at the agent's working directory."""
    whom: tuple[str, ...] = ()
    """Who is told that somebody is asked: as ``[[notify]]`` names them."""
    timeout: float | None = None
    """Seconds after which a request that nobody has answered is denied."""
    declared: frozenset[str] | None = None
    """The agents, in lower case, of the drop-in that has the rule; ``None`` for one of the jcard, which is for all."""

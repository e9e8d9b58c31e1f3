"""What hosts and the Controller say to each other."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from agentd.fleet.leases import LeaseTerms
from agentd.fleet.ledger import HostRecord

_OF: Final = ":"


def instance_of(address: str | None, folder: Path) -> str:
    """Name a host by what no two have in common: its address in the network of the fleet, and its drop-ins' folder."""
    return hashlib.sha256(f"{address} {folder}".encode()).hexdigest()[:16]


def new_token(instance: str) -> str:
    """Make a token of a host."""
    return f"{instance}{_OF}{secrets.token_hex(8)}"


def are_of_two(token: str, other: str) -> bool:
    """Whether two tokens are surely of different hosts; those of an older agentd do not say."""
    (instance, said, _), (another, too, _) = token.partition(_OF), other.partition(_OF)
    return bool(said and too) and instance != another


@dataclass(frozen=True, slots=True)
class HostReport:
    """A host's question: what it has, and so, what it is to have."""

    host: HostRecord
    token: str
    """Of this start of the host's Node; `new_token` makes one."""
    number: int
    """Counts the questions of this start: a late one tells nothing. 0 is the first, of which nothing is concluded."""
    files: Mapping[str, str]
    """Digests of the drop-ins that are there, by agent."""
    present: frozenset[str] | None = None
    """Agents that may run without a drop-in: what agentd still lists, and what was withdrawn a moment ago. ``None`` if
    that is not known: agentd does not answer, or has just started."""
    version: str | None = None
    """Of agentd; ``None`` if it does not answer."""
    note: str | None = None
    """What is wrong."""


@dataclass(frozen=True, slots=True)
class Orders:
    """The answer: what a host is to have, no more and no less."""

    epoch: int
    """Of the Controller: an older one's orders are not followed."""
    terms: LeaseTerms
    files: Mapping[str, str] = field(default_factory=dict)
    """Digests by agent."""
    leased: frozenset[str] = frozenset()
    """The ones among them that have a lease."""
    texts: Mapping[str, str] = field(default_factory=dict)
    """Of those that the host does not have so."""

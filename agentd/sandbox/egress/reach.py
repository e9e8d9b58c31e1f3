"""What the agent of a run reaches: what agentd tells the proxy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from agentd.model.destinations import Destination
from agentd.sandbox.egress.placeholders import Substitution

PORT: Final = 3128
"""Where the proxy listens, on the loopback interface of every sandbox."""


@dataclass(frozen=True, slots=True)
class Reach:
    """What the agent of a run reaches."""

    agent: str
    destinations: tuple[Destination, ...]
    substitutions: tuple[Substitution, ...]
    identity: str | None = field(default=None, repr=False)
    """Key and certificate, in PEM, to be the hosts of the secrets with."""

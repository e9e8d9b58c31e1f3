"""What is told of leases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from agentd.model.json_schema import JsonSchema, Time


@dataclass(frozen=True, slots=True)
class Lease:
    """Somebody works on a path."""

    id: str
    path: str
    """Relative to the repository."""
    repo: str
    mode: Annotated[str, JsonSchema({"enum": ["read", "write"]})]
    owner: str
    acquired_at: Time
    expires_at: Time | None


@dataclass(frozen=True, slots=True)
class LeaseList:
    """The leases of a repository, or of all."""

    leases: Sequence[Lease]


@dataclass(frozen=True, slots=True)
class Released:
    """Leases that were given up."""

    released: Sequence[Lease]

"""Leases: a drop-in that has one counts only while somebody renews it. Pure.

Renewing is moving the file's modification time. The lease is counted by the monotonic clock from the last move that
agentd saw, so neither a wrong wall clock nor a restart of agentd ends one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Renewal:
    """When a file was seen to be renewed last."""

    modified: int
    """Its modification time then, in nanoseconds."""
    seen: float
    """Monotonic, in seconds."""


def renew(before: Mapping[Path, Renewal], modified: Mapping[Path, int], now: float) -> dict[Path, Renewal]:
    """Note which files were renewed.

    Parameters
    ----------
    before
        What was noted so far; a file that is new to it is renewed by being seen.
    modified
        The modification times there are now.
    now
        Monotonic, in seconds.
    """
    renewals = {}
    for path, time in modified.items():
        known = before.get(path)
        renewals[path] = known if known is not None and known.modified == time else Renewal(time, now)
    return renewals


def expired(renewals: Mapping[Path, Renewal], leases: Mapping[Path, float], now: float) -> frozenset[Path]:
    """Name the files whose lease (of `leases`, in seconds) is over `now`, by the monotonic clock."""
    return frozenset(path for path, lease in leases.items() if path in renewals and now >= renewals[path].seen + lease)


def next_expiry(renewals: Mapping[Path, Renewal], leases: Mapping[Path, float], now: float) -> float | None:
    """Say when the next lease will be over unless it is renewed; ``None`` if none will."""
    ends = [renewals[path].seen + lease for path, lease in leases.items() if path in renewals]
    return min((end for end in ends if end > now), default=None)

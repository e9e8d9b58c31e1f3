"""Which leases of a host are over, for whoever sees to them where agentd does not. Pure.

agentd ends what has a lease. While it is dead nobody does, and one that starts anew counts from then. So agentd-fleet
counts as well: from the renewals that it saw, and at its own start from what the files say of theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from agentd.fleet.leases import LeaseTerms

NOTICE: Final = LeaseTerms().notice
"""Seconds after the end of a lease in which agentd sees it by itself."""


@dataclass(frozen=True, slots=True)
class Leased:
    """A drop-in with a lease."""

    renewed: float
    """Its modification time, by the wall clock."""
    lease: float
    """In seconds, as is `grace`."""
    grace: float


@dataclass(frozen=True, slots=True)
class Held:
    """An agent that may run by a lease, whether its drop-in is still there or not."""

    drop_in: Leased
    since: float
    """When its lease was renewed last, by the monotonic clock."""

    def over(self, now: float, notice: float = NOTICE) -> bool:
        """Whether agentd had its time to stop the agent."""
        return now >= self.since + self.drop_in.lease + notice


def hold(before: Mapping[str, Held], found: Mapping[str, Leased], now: float, wall: float) -> dict[str, Held]:
    """Note what was renewed, by agent.

    Parameters
    ----------
    before
        What was noted so far; who is not found any more stays in it.
    now, wall
        The monotonic clock, and that of the files.
    """
    held = dict(before)
    for name, drop_in in found.items():
        known = before.get(name)
        if known is None:
            held[name] = Held(drop_in, now - max(0.0, wall - drop_in.renewed))
        else:
            longest = replace(
                drop_in,
                lease=max(drop_in.lease, known.drop_in.lease),
                grace=max(drop_in.grace, known.drop_in.grace),
            )
            held[name] = Held(longest, known.since if drop_in.renewed == known.drop_in.renewed else now)
    return held

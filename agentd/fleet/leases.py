"""Leases between the Controller and hosts: what keeps an agent from running on two hosts. Pure.

A host asks the Controller again and again; an answer is a grant. The host counts it from its question, the Controller
from its answer, which is later: so the host's end comes first, however long a message takes, and only the rates of the
two clocks matter, not what they show.

The host renews its drop-ins only with an answer that came in time, `LeaseTerms.window`, and agentd stops their agents
once nobody has renewed them for `LeaseTerms.lease`. The Controller takes a host's agents for ended when both have
passed, and beside them what agentd needs to see a renewal, the grace period of the agents, and a margin.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

CLOCK_DRIFT: Final = 0.01
"""By which share of it the clocks of two hosts may count the same time differently. Real ones differ by a hundredth of
that."""


@dataclass(frozen=True, slots=True)
class LeaseTerms:
    """How long things last, in seconds. The Controller decides them, and tells the hosts."""

    lease: float = 30.0
    """Of the drop-ins, as agentd counts it."""
    window: float = 7.5
    """An answer renews only if it comes within this from its question."""
    notice: float = 6.0
    """agentd sees a renewal at most this late: its resync interval and a second."""
    margin: float = 5.0
    """From SIGKILL to a process that has ended; and for a host that stalls while it renews."""

    @classmethod
    def of(cls, lease: float) -> LeaseTerms:
        """Give the terms with this lease."""
        return cls(lease, window=lease / 4)

    @property
    def beat(self) -> float:
        """How often a host asks."""
        return min(2.0, self.lease / 8)

    @property
    def lost_after(self) -> float:
        """How long a host may be silent before it counts as lost; it keeps what it has until `ended_by`."""
        return max(4 * self.beat, self.window)

    def renews(self, asked: float, now: float) -> bool:
        """Whether an answer to a question of `asked` may renew the drop-ins `now`, by the host's clock."""
        return 0 <= now - asked <= self.window

    def withdraws_at(self, asked: float) -> float:
        """When a host takes its drop-ins back itself: its last answered question was at `asked`, by its clock."""
        return asked + self.window + self.lease

    def at_least(self, lease: float) -> LeaseTerms:
        """Give the terms by which what was given a lease of `lease` has ended."""
        return self if lease <= self.lease else replace(self, lease=lease, window=max(self.window, lease / 4))

    def ended_by(self, granted: float, grace: float) -> float:
        """When no agent runs any more on a host that was granted its lease last at `granted`, by our clock.

        Parameters
        ----------
        grace
            The longest grace period of its agents.
        """
        longest = self.window + self.notice + self.lease + self.notice + grace
        return granted + longest * (1 + CLOCK_DRIFT) + self.margin

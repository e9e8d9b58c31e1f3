"""What a launcher says of the end of its run."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ExitReport:
    """What a launcher wrote when its run ended."""

    status: int | None
    """By shell convention: over 128 is 128 + signal. ``None`` when there was no agent to run."""
    error: str | None = None
    written: float = 0.0
    """Seconds since the epoch."""
    uptime: float | None = None
    """Seconds since boot, which no change of the wall clock touches; ``None`` where the launcher could not tell."""

    def age(self, wall: float) -> float:
        """Seconds since the run ended.

        Parameters
        ----------
        wall
            Now, in seconds since the epoch.
        """
        if not hasattr(time, "CLOCK_BOOTTIME"):
            return max(0.0, wall - self.written)
        booted = time.clock_gettime(time.CLOCK_BOOTTIME)
        # Who may write the file may date it, too, but no run is older than the boot.
        return min(booted, max(0.0, wall - self.written if self.uptime is None else booted - self.uptime))

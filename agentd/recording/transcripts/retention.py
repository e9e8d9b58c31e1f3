"""How much of transcripts is kept."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Retention:
    """How much is kept, in bytes."""

    total: int
    run: int
    part: int
    runs: int = 20
    """Runs of each agent."""

    @classmethod
    def of(cls, total: int) -> Retention:
        """Divide `total`, the bytes that there may be in all."""
        run = min(64 << 20, max(64 << 10, total // 4))
        return cls(total, run, run // 8)

    @property
    def parts(self) -> int:
        """Parts of each run; the newest one is on its way to its size."""
        return self.run // self.part

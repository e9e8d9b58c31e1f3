"""One run that is held to its limits: what holds it, and what the kernel has counted of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import structlog

from agentd.model.limits import Enforcer, Limits
from agentd.process.cgroups.group import CONTROLLERS, Group, read_number
from agentd.process.cgroups.hierarchies import UNIFIED

log = structlog.get_logger(__name__)

_PEAKS_KEPT: Final = 0.25
"""Seconds that a peak is taken for current: whoever polls 300 agents makes agentd read 600 files, 2 ms, no oftener."""
NO_GROUP: Final = "the run was launched when nothing held its limits; restart the agent"


@dataclass(frozen=True, slots=True)
class Held:
    """One limit of a run."""

    value: float
    enforced_by: Enforcer | None
    reason: str | None
    """Why nothing enforces it."""
    peak: int | None = None


@dataclass(slots=True)
class HeldRun:
    """What holds one run."""

    enforcer: Enforcer | None = None
    group: Group | None = None
    failed: dict[str, str] = field(default_factory=dict)
    """The limits that do not hold, and why."""
    extra: int = 0
    """Processes that come with its sandbox, and do not count against the agent's."""
    watched: bool = False
    """Whether the kernel tells of each kill."""
    oom_kills: int = 0
    peaks: dict[str, int] = field(default_factory=dict)
    """By controller."""
    _peak_files: Mapping[str, str] = field(default_factory=dict)
    _read_at: float = 0.0
    _reported: tuple[Limits, Mapping[str, Held]] | None = None
    """What was said of it last, while that is so."""
    _above_began: int = 0
    """Kills in the slice of its scope when it began that no run was known to have had."""

    def began(self, counted: int) -> None:
        """Take note that it is in its group, or that it has none.

        Parameters
        ----------
        counted
            Kills of all runs that were told of so far.
        """
        self._reported = None
        if self.group is not None:
            self._peak_files = self.group.peak_files()
            self.count()
            self._above_began = self._above() - counted

    def changed(self, failed: dict[str, str]) -> None:
        """Take note of which limits do not hold from now on."""
        self.failed, self._reported = failed, None

    def count(self) -> bool:
        """Count kills; what was counted is kept when the group is gone. Says whether it is there."""
        try:
            kills = None if self.group is None else self.group.oom_kills()
        except OSError as error:
            log.debug("oom_kills_not_read", error=error.strerror)
            return True
        self.oom_kills = max(self.oom_kills, kills or 0)
        return kills is not None

    def count_gone(self, counted: int) -> None:
        """Count the kill that ended it with its group, if it was one for lack of memory.

        systemd removes a scope that is empty at once, and with it what the kernel counted there. The slice, which all
        scopes are in, has counted that, too.
        """
        if self.enforcer is Enforcer.SYSTEMD and self._above() - counted > self._above_began:
            self.oom_kills += 1

    def _above(self) -> int:
        """How many kills the slice of its scope has seen."""
        folder = None if self.group is None else self.group.folders.get(UNIFIED)
        if folder is None or self.enforcer is not Enforcer.SYSTEMD:
            return 0
        try:
            return Group({UNIFIED: folder.parent}).oom_kills() or 0
        except OSError as error:
            log.debug("oom_kills_not_read", error=error.strerror)
            return 0

    def read_peaks(self) -> None:
        """Read the most that was in use so far."""
        for controller, file in self._peak_files.items():
            peak = read_number(file)
            if peak is not None and peak != self.peaks.get(controller):
                self.peaks[controller] = peak
                self._reported = None

    def report(self, limits: Limits) -> Mapping[str, Held]:
        """Say what holds it to its limits."""
        now = time.monotonic()
        if self.group is not None and now - self._read_at >= _PEAKS_KEPT:
            self._read_at = now
            self.read_peaks()
        if self._reported is None or self._reported[0] != limits:
            self._reported = limits, {name: self._held(name, value) for name, value in limits.declared().items()}
        return self._reported[1]

    def _held(self, name: str, value: float) -> Held:
        peak, reason = self.peaks.get(CONTROLLERS[name]), self.failed.get(name)
        if reason is None and self.enforcer is None:
            reason = NO_GROUP
        return Held(value, None if reason is not None else self.enforcer, reason, peak)

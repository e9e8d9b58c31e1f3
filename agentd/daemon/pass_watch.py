"""A watchdog of the control loop: says that a pass does not come to its end, or that the next one does not begin.

The service manager's watchdog proves only that the event loop turns. A pass may wait forever meanwhile, and then no
change of a file takes effect, though all else answers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import structlog

from agentd.text.durations import format_duration

log = structlog.get_logger(__name__)

LONGEST_PASS: Final = 10.0
"""Seconds that a pass may take; with 1000 agents it takes less than one."""


class PassWatch:
    """Knows which pass is under way.

    Parameters
    ----------
    now
        The monotonic clock, in seconds.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._since = now()
        """When the pass under way began, or when the next one is to begin."""
        self._doing: str | None = None
        """What the pass under way is doing."""

    def begin(self) -> None:
        """A pass begins."""
        self._since, self._doing = self._now(), "begins"

    def does(self, what: str) -> None:
        """The pass under way comes to its next step."""
        self._doing = what

    def end(self, until: float) -> None:
        """The pass has ended; the next one begins at `until` at the latest, on the monotonic clock."""
        problem = self.problem()
        if problem is not None:
            log.warning("pass_took_long", reason=problem)
        self._since, self._doing = until, None

    def problem(self) -> str | None:
        """What is wrong, in words; ``None`` if nothing is."""
        overdue = self._now() - self._since
        if overdue < LONGEST_PASS:
            return None
        lasts = format_duration(float(int(overdue)))
        if self._doing is None:
            return f"the next pass should have begun {lasts} ago: no change of the files takes effect"
        return f"a pass has not ended for {lasts}, it {self._doing}: no change of the files takes effect"

"""The usage limit that a run is at, and what was told of its account's quota."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from agentd.files.named_zones import named_zone
from agentd.files.zones import zone_of
from agentd.model.events import Detail
from agentd.model.states import Activity
from agentd.supervise.usage_limits import LimitHit
from agentd.turns.activity import Shown
from agentd.turns.conversation import Turn
from agentd.turns.quota import QuotaWindow, Zones, limit_hit, news, spent_until, window_of

ZONE: Final = "agentd-zone"
"""In a run's memo: ``TZ`` of the agent."""


class LimitWatch:
    """Follows the limit of one run.

    Parameters
    ----------
    known
        The limit that its conversation was at before it was watched.
    zone
        ``TZ`` of the agent.
    tell
        Takes what is new of a quota.
    """

    def __init__(self, known: LimitHit | None, zone: str | None, tell: Callable[[dict[str, Detail]], None]) -> None:
        self.hit: LimitHit | None = None
        """The limit that it is at."""
        self.known = known
        """The same, also while nothing tells what it does."""
        self._zones = Zones(zone_of(zone), named_zone)
        self._tell = tell
        self._told: dict[str, QuotaWindow] = {}
        self._windows: Sequence[QuotaWindow] = ()
        """What the harness said last."""

    def take(self, source: str, windows: Sequence[QuotaWindow]) -> None:
        """Take what a witness says of the quota."""
        self._windows = tuple(windows)
        self._news(source, self._windows)

    def judge(self, shown: Shown, last: Turn | None) -> bool:
        """Take what the run does; says whether it is at another limit, or at none any more."""
        before, activity = self.hit, shown.doing.activity
        if activity is not Activity.USAGE_LIMIT:
            self.hit = None
            if activity is not Activity.UNKNOWN:
                self.known = None
            return before is not None
        self.hit = self.known = limit_hit(shown, last, self.known, self._windows, self._zones)
        if self.hit != before and spent_until(self._windows) is None:
            self._news(self.hit.source, [window_of(self.hit)])
        return self.hit != before

    def _news(self, source: str, windows: Sequence[QuotaWindow]) -> None:
        for window in news(self._told, windows):
            self._told[window.name] = window
            self._tell(window.told(source))

"""What an account may still use, and the usage limit that a run is at, from what its harness says. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Final

from agentd.model.events import Detail
from agentd.supervise.usage_limits import LimitHit
from agentd.text.timestamps import rfc3339
from agentd.turns.activity import Shown
from agentd.turns.conversation import UNNAMED, Turn
from agentd.turns.events import Ended, Failure, Outcome
from agentd.turns.reset_times import reset_time

SPENT: Final = 100.0
"""Percent."""

_NAMED: Final = re.compile(r"\b(?:hit|reached) your (?P<name>[\w' ]{1,40}? limit)\b", re.IGNORECASE)
_SAME_RESET: Final = 90.0
"""Seconds by which a reset may be told anew without being another: some harnesses compute it from what is left."""


@dataclass(frozen=True, slots=True)
class QuotaWindow:
    """How much of an account's quota is used, as the harness says it."""

    name: str
    used_percent: float
    seconds: float | None = None
    """How long it is."""
    resets_at: float | None = None
    """In seconds since the epoch."""

    def same(self, other: QuotaWindow | None) -> bool:
        """Whether another tells nothing new."""
        if other is None or (self.used_percent, self.seconds) != (other.used_percent, other.seconds):
            return False
        if self.resets_at is None or other.resets_at is None:
            return self.resets_at == other.resets_at
        return abs(self.resets_at - other.resets_at) < _SAME_RESET

    def told(self, source: str) -> dict[str, Detail]:
        """As an event has it."""
        data: dict[str, Detail] = {"window": self.name, "used_percent": self.used_percent, "quota_source": source}
        if self.seconds is not None:
            data["window_seconds"] = self.seconds
        return data if self.resets_at is None else data | {"resets_at": rfc3339(self.resets_at)}


def spent_until(windows: Sequence[QuotaWindow]) -> float | None:
    """When all windows that are used up have reset; ``None`` if none is, or one of them does not say."""
    resets = [window.resets_at for window in windows if window.used_percent >= SPENT]
    known = [reset for reset in resets if reset is not None]
    return max(known) if known and len(known) == len(resets) else None


@dataclass(frozen=True, slots=True)
class Zones:
    """The time zones that a harness may speak in."""

    local: tzinfo
    named: Callable[[str], tzinfo | None]


def limit_hit(
    shown: Shown, last: Turn | None, known: LimitHit | None, windows: Sequence[QuotaWindow], zones: Zones
) -> LimitHit:
    """The limit that a run is at whose activity says that it is at one.

    Parameters
    ----------
    last
        The last turn that ended.
    known
        The limit that it was at before, without having done anything else since.
    windows
        What its harness said last of its quota.
    """
    doing, at, said = shown.doing, shown.since if known is None else known.at, shown.doing.text
    if last is not None and last.ended is not None and last.end is not None and last.end.failure is Failure.USAGE_LIMIT:
        at, said = last.ended, last.end.error or said
    resets_at = doing.resets_at or spent_until(windows)
    if resets_at is None and said is not None:
        resets_at = reset_time(said, at, zones.local, zones.named)
    # Another witness of the same limit is no news.
    source = known.source if known is not None and known.at == at else doing.source
    return LimitHit(at, resets_at, source, doing.text, doing.retries)


def failed_at(hit: LimitHit) -> Turn:
    """The turn that ended at a limit, as far as it is still known."""
    end = Ended(Outcome.FAILED, None, Failure.USAGE_LIMIT, hit.text, hit.resets_at)
    return Turn(UNNAMED, None, hit.at, whole=True, ended=hit.at, end=end)


def window_of(hit: LimitHit) -> QuotaWindow:
    """The window of a limit that was hit, where the harness says nothing else of its quota."""
    named = _NAMED.search(hit.text or "")
    return QuotaWindow(named["name"].lower() if named else "usage limit", SPENT, None, hit.resets_at)


def news(known: Mapping[str, QuotaWindow], windows: Sequence[QuotaWindow]) -> list[QuotaWindow]:
    """Those that tell something new."""
    return [window for window in windows if not window.same(known.get(window.name))]

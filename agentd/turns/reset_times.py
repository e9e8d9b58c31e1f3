"""When a usage limit resets, as harnesses say it in words. Pure.

Each writes it to the minute, cutting off the seconds: a limit has reset for certain once that minute is over. Measured:

- Claude Code 2.1.197: ``resets 4:13pm (Europe/Berlin)``, and if that is over a day away ``resets Dec 3, 4pm (UTC)``;
- older ones: ``Claude AI usage limit reached|1795968000``;
- Codex 0.169.0: ``try again at 5:20 PM.``, and on another day ``try again at Dec 3rd, 2026 5:20 PM.``;
- Gemini CLI 0.61.0: ``Access resets at 5:20 PM UTC.``
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo
from typing import Final

_CLOCK: Final = r"(?P<hour>\d{1,2})(:(?P<minute>\d{2}))?\s?(?P<half>[ap])\.?m\b\.?"
_DAY: Final = r"(?P<month>[A-Z][a-z]{2}) (?P<day>\d{1,2})(st|nd|rd|th)?(, (?P<year>\d{4}))?,? "
_SAID: Final = re.compile(
    rf"\b(?:resets|try again)(?: at)? (?:{_DAY})?{_CLOCK}(?: \((?P<zone>[\w/+-]+)\)| (?P<utc>UTC|GMT)(?![\w+-]))?",
    re.IGNORECASE,
)
_EPOCH: Final = re.compile(r"limit reached\|(?P<at>\d{10})\b")
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")

_PASSED: Final = timedelta(minutes=5)
"""A time of day that is so little before now is today's; else it is tomorrow's."""
_DAYS_BACK: Final = timedelta(days=2)
"""A day without a year that is further back is next year's."""


def reset_time(said: str, at: float, local: tzinfo, named: Callable[[str], tzinfo | None]) -> float | None:
    """The time at which a limit resets, in seconds since the epoch; ``None`` if the text does not say it.

    Parameters
    ----------
    at
        When it was said.
    local
        The zone of times that name none.
    named
        Gives a zone by its name; ``None`` if there is none.
    """
    epoch = _EPOCH.search(said)
    if epoch is not None:
        return float(epoch["at"])
    found = _SAID.search(" ".join(said.split()))
    if found is None:
        return None
    name = found["zone"] or found["utc"]
    zone = named(name) if name else local
    if zone is None:
        return None
    try:
        moment = _moment(found, datetime.fromtimestamp(at, zone))
        return (moment + timedelta(minutes=1)).timestamp()
    except (ValueError, OverflowError):
        return None


def _moment(found: re.Match[str], now: datetime) -> datetime:
    hour = int(found["hour"]) % 12 + (12 if found["half"].lower() == "p" else 0)
    clock = now.replace(hour=hour, minute=int(found["minute"] or 0), second=0, microsecond=0, fold=0)
    if found["month"] is None:
        return clock if clock > now - _PASSED else clock + timedelta(days=1)
    month = _MONTHS.index(found["month"].lower()) + 1
    if found["year"] is not None:
        return clock.replace(year=int(found["year"]), month=month, day=int(found["day"]))
    moment = clock.replace(month=month, day=int(found["day"]))
    return moment if moment > now - _DAYS_BACK else moment.replace(year=now.year + 1)

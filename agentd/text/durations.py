"""Go durations (``300ms``, ``1.5h``, ``1h30m``), the notation of the jcard and of the command line."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

import durationpy

from agentd.text.quoting import quote

DURATION_PATTERN: Final = r"\+?(0|((\d+(\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h))+)"
"""What Go's ``time.ParseDuration`` accepts, except negative durations.

durationpy accepts more: days, weeks and years, digits of other scripts, and anything between two parts.
"""

EXAMPLES: Final = ("30s", "1h30m", "300ms")

_GO_DURATION: Final = re.compile(DURATION_PATTERN, re.ASCII)
_BARE_NUMBER: Final = re.compile(r"\d{1,18}(\.\d+)?", re.ASCII)
_LONGER_UNITS: Final = re.compile(r"(\d{1,9})(d|w)", re.ASCII)
_HOURS: Final = {"d": 24, "w": 7 * 24}

_SECOND: Final = 1_000_000
"""In microseconds."""
_LONGEST: Final = 2**63 / 10**9
"""Seconds: Go counts nanoseconds in a signed 64-bit integer."""


class DurationError(ValueError):
    """Not a duration; the message says what was found and gives an example."""


def parse_duration(text: str) -> float:
    """Parse a Go duration, to the microsecond.

    Returns
    -------
    float
        Seconds, never negative.

    Raises
    ------
    DurationError
        If the text is not exactly a Go duration, is negative, or is longer than Go can count (292 years).
    """
    if not _GO_DURATION.fullmatch(text):
        raise DurationError(_explain(text))
    try:
        seconds = durationpy.from_str(text).total_seconds()
    except durationpy.DurationError:
        seconds = _LONGEST
    if seconds >= _LONGEST:
        raise DurationError(f"found {quote(text)}, longer than the 292 years a Go duration can hold")
    return seconds


def format_duration(seconds: float) -> str:
    """Write seconds in Go's notation without zero parts: ``1h30m``, ``1.5s``, ``300ms``.

    Rounded to the microsecond, so that `parse_duration` reads the same back.

    Raises
    ------
    ValueError
        If negative, infinite, or not a number.
    """
    if not 0 <= seconds < _LONGEST:
        raise ValueError(f"not a duration: {seconds} seconds")
    microseconds = round(seconds * _SECOND)
    if 0 < microseconds < _SECOND:
        return durationpy.to_str(timedelta(microseconds=microseconds))
    # durationpy would write six significant digits of the seconds only, and leave a carry as "60s".
    whole, fraction = divmod(microseconds, _SECOND)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    text = f"{hours}h" if hours else ""
    text += f"{minutes}m" if minutes else ""
    if fraction:
        return text + f"{rest}.{fraction:06}".rstrip("0") + "s"
    return text + f"{rest}s" if rest or not text else text


def _explain(text: str) -> str:
    found = f"found {quote(text)}"
    example = f'expected a duration such as "{EXAMPLES[0]}", "{EXAMPLES[1]}" or "{EXAMPLES[2]}"'
    if text.startswith("-"):
        return f"{found}, which is negative; {example}"
    if _BARE_NUMBER.fullmatch(text):
        return f'{found}, which has no unit: write "{text}s" for seconds; {example}'
    if text != text.strip() and _GO_DURATION.fullmatch(text.strip()):
        return f"{found}, which has white space around it: write {quote(text.strip())}; {example}"
    if longer := _LONGER_UNITS.fullmatch(text):
        hours = int(longer[1]) * _HOURS[longer[2]]
        return f'{found}, but the longest unit is the hour: write "{hours}h"; {example}'
    return f"{found}, {example}"

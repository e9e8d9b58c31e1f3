"""What Codex says of the quota of its account, in its rollout file or by its app-server. Pure.

A window of ``null`` is one that the account does not have: with an API key, both are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from agentd.turns.fields import amount, mapping, text
from agentd.turns.quota import QuotaWindow

_WINDOWS: Final = ("primary", "secondary")
_USED: Final = ("used_percent", "usedPercent")
"""In the file, and by the server."""
_MINUTES: Final = ("window_minutes", "windowDurationMins")
_RESETS: Final = ("resets_at", "resetsAt")


def windows(limits: Mapping[str, object]) -> tuple[QuotaWindow, ...]:
    """The windows that a snapshot has; none if it has none, or is not understood."""
    return tuple(_windows(limits))


def _windows(limits: Mapping[str, object]) -> Iterator[QuotaWindow]:
    # Some models have a quota of their own.
    named = text(limits, "limit_name") or text(limits, "limitName")
    for name in _WINDOWS:
        window = mapping(limits, name)
        used = _first(window, _USED)
        if used is not None:
            minutes = _first(window, _MINUTES)
            seconds = None if minutes is None else minutes * 60
            yield QuotaWindow(f"{named} {name}".strip(), used, seconds, _first(window, _RESETS))


def _first(window: Mapping[str, object], names: tuple[str, ...]) -> float | None:
    return next((value for name in names if (value := amount(window, name)) is not None), None)

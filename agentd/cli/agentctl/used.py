"""What an agent, or one run of it, has used, summed up from events. Each number with its source and its time. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from agentd.cli.agentctl.client import Json
from agentd.cli.agentctl.kept_events import data_of
from agentd.model.usage_sources import cost_source, usage_source
from agentd.text.iso8601 import seconds_of

USAGE, QUOTA = "turn_usage", "turn_quota"
"""The kinds of events."""

TOKENS: Final = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")


@dataclass(slots=True)
class Used:
    """Sums of what was told."""

    turns: int = 0
    tokens: dict[str, int] | None = None
    """``None`` where no program told any."""
    at: str = ""
    """When the latest were told."""
    cost: float | None = None
    cost_at: str = ""
    quota: dict[str, Mapping[str, Json]] = field(default_factory=dict)
    """The latest event of each window."""
    _turn: Json = None
    """The turn of the last event."""
    runs: dict[str, Used] = field(default_factory=dict)
    """By run, in the order of their first number; those of which none was told, or by an agentd that named none, are
    left out."""

    def add(self, event: Mapping[str, Json]) -> None:
        """Count an event, for the agent and for its run."""
        self._count(event)
        run = data_of(event).get("run")
        if isinstance(run, str):
            self.runs.setdefault(run, Used())._count(event)  # noqa: SLF001 (one of its own kind)

    def _count(self, event: Mapping[str, Json]) -> None:
        data = data_of(event)
        if event.get("kind") == QUOTA:
            self.quota[str(data.get("window"))] = event
            return
        turn = data.get("turn")
        # What comes late of a turn is an event of its own.
        self.turns += turn is None or turn != self._turn
        self._turn = turn
        self.at = str(event.get("time") or self.at)
        self.tokens = self.tokens or dict.fromkeys(TOKENS, 0)
        for name in TOKENS:
            value = data.get(name)
            self.tokens[name] += value if isinstance(value, int) else 0
        cost = data.get("cost_usd")
        if isinstance(cost, int | float):
            self.cost = (self.cost or 0.0) + cost
            self.cost_at = self.at


def document(used: Used, harness: str, now: datetime) -> dict[str, Json]:
    """Show the sums; what no program told is null."""
    source = usage_source(harness)
    return {
        "turns": used.turns,
        **(used.tokens or dict.fromkeys(TOKENS)),
        "source": source if used.tokens else None,
        "at": used.at or None,
        "age_seconds": age(used.at, now),
        "cost_usd": used.cost,
        "cost_source": None if used.cost is None else cost_source(harness),
        "cost_at": used.cost_at or None,
        "cost_age_seconds": age(used.cost_at, now),
        "quota": [_window(name, event, now) for name, event in used.quota.items()] or None,
    }


def _window(name: str, event: Mapping[str, Json], now: datetime) -> Json:
    data, at = data_of(event), str(event.get("time") or "")
    return {
        "window": name,
        "used_percent": data.get("used_percent"),
        "window_seconds": data.get("window_seconds"),
        "resets_at": data.get("resets_at"),
        "source": data.get("quota_source"),
        "at": at or None,
        "age_seconds": age(at, now),
    }


def quota_text(quota: Json, now: datetime) -> str:
    """Say in a few words how much of each window is used, when it resets, and how old that is."""
    windows = quota if isinstance(quota, Sequence) and not isinstance(quota, str) else ()
    return "; ".join(_window_text(window, now) for window in windows if isinstance(window, Mapping))


def _window_text(window: Mapping[str, Json], now: datetime) -> str:
    from agentd.text.terminal import span

    used, resets, told = window["used_percent"], window["resets_at"], window["age_seconds"]
    text = f"{window['window']} {used:g} %" if isinstance(used, int | float) else str(window["window"])
    if isinstance(resets, str):
        left = -_seconds(resets, now)
        text += f", resets in {span(left)}" if left > 0 else f", was to reset {span(-left)} ago"
    return text + (f" ({window['source']}, {span(told)} ago)" if isinstance(told, int) else "")


def age(at: str, now: datetime) -> int | None:
    """Seconds since a time; ``None`` if it is none."""
    return max(0, _seconds(at, now)) if at else None


def _seconds(at: str, now: datetime) -> int:
    written = seconds_of(at)
    return 0 if written is None else round(now.timestamp() - written)

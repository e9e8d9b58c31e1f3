"""Hands on what the status line of one run tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from agentd.turns.adapter import Hook, LiveRun, Voice
from agentd.turns.claude.launch import is_new
from agentd.turns.claude.status_line import EVENT, Cost, windows
from agentd.turns.events import Usage

_SOURCE: Final = "status line"
"""As a witness."""


@dataclass(slots=True)
class StatusLine:
    """The status line of a run."""

    voice: Voice
    cost: Cost

    @classmethod
    def of(cls, run: LiveRun, voice: Voice) -> StatusLine:
        """Give that of a run: what a new one costs is told from its first look on."""
        return cls(voice, Cost(0.0 if is_new(run) else None))

    def takes(self, hook: Hook) -> bool:
        """Say whether a hook is of the status line: then tell of the quota, if it has any, and of what it cost."""
        if hook.name != EVENT:
            return False
        body = hook.body or {}
        self.voice.quota(_SOURCE, windows(body))
        if (cost := self.cost.more(body)) is not None:
            self.voice.event(Usage(cost_usd=cost))
        return True

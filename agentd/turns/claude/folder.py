"""Where Claude Code keeps what it remembers."""

from __future__ import annotations

from pathlib import Path

from agentd.turns.adapter import LiveRun
from agentd.turns.claude import launch


def config_of(run: LiveRun) -> Path:
    """Claude Code's own folder."""
    return Path(run.memo.get(launch.CONFIG) or run.facts.home / ".claude")

"""A run that is being recorded, as the event loop knows it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from agentd.recording.transcripts.run_metadata import RunMetadata
from agentd.recording.transcripts.run_on_disk import RunOnDisk
from agentd.supervise.run_recorder import RunEnd, RunFacts
from agentd.tmux.panes import Pane

RETRY_FIRST = 1.0
"""Seconds until recording that has stopped is tried again, the first time."""


@dataclass(slots=True)
class RecordedRun:
    """A run and how its recording goes; times are monotonic."""

    facts: RunFacts
    metadata: RunMetadata
    """As it began."""
    found: asyncio.Future[RunOnDisk | None] | None = None
    """Its folder; ``None`` while there is none yet."""
    pane: Pane | None = None
    opened: float | None = None
    """When its pipe was opened, monotonic; a pane that was looked at before says nothing about it."""
    problem: str | None = None
    mending: bool = False
    retry_at: float = 0.0
    retry_delay: float = RETRY_FIRST
    end: RunEnd | None = None
    pane_gone: bool = False
    give_up: float = 0.0
    """When to wait no more for what tells where its output ends, monotonic."""
    come_by: float = 0.0
    """When to wait no more though output still comes, monotonic."""
    came: int | None = None
    """Bytes of its output when that was last given up."""
    taken: asyncio.Event = field(default_factory=asyncio.Event)

"""What an agent waits for, by what is shown of it, and what counts as progress then. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from agentd.model.stall import UNTOLD, StallPhase
from agentd.model.states import Activity
from agentd.supervise.run_watcher import Told, WatchedRun

BY_PROCESS: Final = "process"
BY_SCREEN: Final = "screen"
"""Witnesses that tell nothing of single steps."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an agent stands."""

    phase: StallPhase | None = None
    """What it waits for; ``None`` if it is not at work, or that is not known."""
    rests: bool = False
    """Whether it is known not to be at work."""
    output: bool = False
    """Whether what it prints counts."""
    cpu: bool = False
    """Whether CPU counts."""
    whole: bool = False
    """Whether that of its own program does, too."""
    tools: tuple[str, ...] = ()
    """Under way."""


def standing_of(harness: str, shown: WatchedRun | None, told: Told | None) -> Standing:
    """Say what an agent waits for.

    Parameters
    ----------
    shown
        What is shown of its run; ``None`` if that is not watched.
    told
        What its program told last of a turn.
    """
    custom = harness == UNTOLD
    activity = Activity.UNKNOWN if shown is None else shown.activity
    source = BY_PROCESS if shown is None else shown.source
    if shown is not None and activity is Activity.WORKING and not shown.background:
        if source == BY_PROCESS:
            # A run that ends with its answer: of its steps nothing tells before.
            return Standing(StallPhase.TOOL, output=True, cpu=True, whole=True)
        if source == BY_SCREEN:
            # Gemini CLI records no tool before it has run; whose record has told nothing may have none that is read.
            return Standing() if told is None else Standing(StallPhase.TOOL, cpu=True, tools=told.tools)
        if told is not None and not told.tools:
            return Standing(StallPhase.MODEL, output=custom)
        # Of tools that began before this daemon nothing may be known.
        return Standing(StallPhase.TOOL, output=custom, cpu=True, tools=() if told is None else told.tools)
    if activity is Activity.UNKNOWN:
        return Standing(StallPhase.TOOL, output=True, cpu=True, whole=True) if custom else Standing()
    return Standing(rests=True)

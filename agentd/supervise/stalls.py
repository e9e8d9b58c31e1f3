"""When an agent at work does not go on, and what is tried then: functions of frozen values, without clock or I/O."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from agentd.model.stall import Stall, StallAction, StallPhase
from agentd.text.durations import format_duration

SHARE: Final = 0.002
"""Of a core: who uses less is taken to do nothing. A program that waits for an answer uses a tenth of that."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look found of a run."""

    run_id: str
    at: float
    """Monotonic, in seconds."""
    phase: StallPhase | None
    """What it waits for; ``None`` if it is not at work, or that is not known."""
    rests: bool = False
    """Whether it is known not to be at work: it is the user's move."""
    recorded: float | None = None
    """When the record of its program last told something, monotonic."""
    printed: float | None = None
    """When it printed something last, on whatever clock; ``None`` where that does not count."""
    cpu: float | None = None
    """Seconds of CPU that what counts has used; ``None`` where that does not count."""
    tools: tuple[str, ...] = ()
    """Names of the tools under way."""


@dataclass(frozen=True, slots=True)
class Silence:
    """Since when a run has not gone on."""

    seen: Seen
    """The last look."""
    since: float
    """Monotonic."""
    acted: float | None = None
    """When something was tried last, monotonic."""

    @property
    def lasts(self) -> float:
        """Seconds at the last look."""
        return max(0.0, self.seen.at - self.since)


@dataclass(frozen=True, slots=True)
class Stalled:
    """An agent that does not go on."""

    phase: StallPhase
    since: float
    """Since when, in seconds since the epoch."""
    taken: int
    """How many actions were tried, whichever daemon did."""
    why: str
    """What was seen, in words."""
    action: StallAction
    """What was tried last."""
    run: str
    """The run that it was tried with."""


def follow(before: Silence | None, seen: Seen) -> tuple[Silence, bool]:
    """Take a look; says also whether the agent has gone on, or is known not to be at work.

    A run that was not seen before has not gone on: a former daemon may have tried something with it, or with the run
    before it.
    """
    if seen.phase is None:
        return Silence(seen, seen.at), seen.rests
    if before is None or before.seen.run_id != seen.run_id or before.seen.phase is None:
        return Silence(seen, seen.at), False
    last = before.seen
    if seen.recorded is not None and seen.recorded != last.recorded:
        return Silence(seen, max(before.since, min(seen.recorded, seen.at))), True
    printed = seen.printed is not None and last.printed is not None and seen.printed != last.printed
    if printed or _worked(last, seen) or last.phase is not seen.phase:
        return Silence(seen, seen.at), True
    # What little CPU each look finds adds up to nothing: it is measured against the last one.
    return replace(before, seen=seen), False


def _worked(last: Seen, seen: Seen) -> bool:
    if seen.cpu is None or last.cpu is None:
        return False
    used = seen.cpu - last.cpu
    return used > 0.0 and used >= SHARE * (seen.at - last.at)


def due(stall: Stall | None, silence: Silence, taken: int) -> StallAction | None:
    """What is to be tried now.

    Parameters
    ----------
    taken
        How many actions were tried already.
    """
    phase = silence.seen.phase
    budget = None if stall is None or phase is None else stall.budget(phase)
    if stall is None or budget is None or taken >= len(stall.action):
        return None
    begun = silence.since if silence.acted is None else max(silence.since, silence.acted)
    return stall.action[taken] if silence.seen.at - begun >= budget else None


def describe(silence: Silence) -> str:
    """Say what was seen, and what was not."""
    seen, lasts = silence.seen, format_duration(float(round(silence.lasts)))
    missing = ["nothing in its program's record"] if seen.recorded is not None else []
    missing += ["no output"] if seen.printed is not None else []
    missing += ["no CPU"] if seen.cpu is not None else []
    nothing = f": {', '.join(missing)}" if missing else ""
    if seen.phase is StallPhase.MODEL:
        return f"no word of its model for {lasts}{nothing}"
    tools = f"its tool {', '.join(seen.tools)}" if seen.tools else "what it runs"
    return f"{tools} has done nothing for {lasts}{nothing}"

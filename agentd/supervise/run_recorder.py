"""What the supervisor tells the recorder of transcripts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from agentd.supervise.policy import Exit
from agentd.tmux.panes import Pane


@dataclass(frozen=True, slots=True)
class RunFacts:
    """A run, as its transcript tells of it; secret values are taken out already."""

    agent: str
    run_id: str
    harness: str
    workdir: str
    argv: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RunEnd:
    """How a run ended."""

    run_id: str
    at: float
    """Seconds since the epoch."""
    exit: Exit
    reason: str
    """In words: what was asked of it, or how it ended by itself."""


@dataclass(frozen=True, slots=True)
class SeenPane:
    """An agent's pane, as tmux just showed it."""

    run_id: str
    pane: Pane
    piped: bool
    """Whether tmux writes what it prints into a pipe."""
    size: tuple[int, int]
    """Columns and rows."""


class RunRecorder:
    """Records what runs print; this one records nothing. Nothing here raises, or delays a launch for long."""

    async def begin(self, facts: RunFacts) -> str | None:  # noqa: ARG002
        """Prepare for a launch: give the shell command that is to read what it prints, if there is one."""
        return None

    def opened(self, run_id: str, pane: Pane) -> None:
        """The run's pane exists."""

    def ended(self, end: RunEnd) -> None:
        """The run ended, or could not be launched."""

    def pane_gone(self, run_id: str) -> None:
        """The run's pane is gone, and nobody prints into it any more."""

    async def taken(self, run_id: str) -> None:
        """Wait, for moments, until all output of an ended run is kept: its pane is about to be closed or reused."""

    def adopt(self, facts: RunFacts, pane: Pane) -> None:
        """A former daemon's run was found."""

    def observe(self, seen: Iterable[SeenPane], since: float) -> None:
        """Take how the agents' panes are; tmux was asked at `since`, in monotonic seconds."""

    def problem(self, agent: str) -> str | None:  # noqa: ARG002
        """Why the agent's run is not being recorded, and what to do; ``None`` while all is well."""
        return None

"""A run whose transcript is kept, as the API shows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agentd.model.json_schema import Count, Positive, Time


@dataclass(frozen=True, slots=True)
class GapView:
    """A time in which a run's output was not kept."""

    end: Time
    """When recording went on."""
    reason: str
    """Why the output was not kept before."""
    offset: Count
    """Bytes of the output before the gap."""


@dataclass(frozen=True, slots=True)
class SizeView:
    """A size of a run's terminal."""

    offset: Count
    """Bytes of the output before it."""
    columns: Count
    """Columns of the terminal from there on."""
    rows: Count
    """Rows of the terminal from there on."""


@dataclass(frozen=True, slots=True)
class RunView:
    """A run whose transcript is kept; times are RFC 3339 in UTC with milliseconds."""

    agent: str
    """Name of the agent."""
    run: Positive
    """Number of the run, counted for each agent, for ever."""
    run_id: str
    """Id of the run, as in the agent's AGENTD_RUN_ID."""
    harness: str
    """The coding agent that was run."""
    workdir: str
    """Folder it worked in."""
    argv: Sequence[str]
    """Its command line, secret values taken out."""
    start: Time
    """When it was launched."""
    end: Time | None
    """When it ended."""
    exit_code: Count | None
    """Its exit status, if it ended by itself."""
    exit_signal: Positive | None
    """The signal that ended it."""
    reason: str | None
    """Why it ended: what was asked of it, or how it ended by itself."""
    first_byte: Count
    """Offset of the first byte of its output that is kept."""
    end_byte: Count
    """Offset after the last byte of its output."""
    columns: Count
    """Columns of its terminal when it began."""
    rows: Count
    """Rows of its terminal when it began."""
    gaps: Sequence[GapView]
    """When its output was not kept."""
    sizes: Sequence[SizeView]
    """Other sizes that its terminal got, in the order of their offsets."""

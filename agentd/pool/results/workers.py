"""What is told of workers: their life, what they ask, what they used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from agentd.model.json_schema import Count, JsonSchema, State, Time
from agentd.pool.results.common import Doing, Event, Exit, Isolation


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker, in short."""

    id: str
    provider: str
    state: State
    activity: Doing | None
    role: str | None
    parent: str | None
    spawned_by: str | None
    """The agent that declared it, and so may talk to it."""
    isolation: Isolation
    repo: str | None
    workdir: str | None
    spawned_at: Time | None
    deadline: Time | None
    exit: Exit | None
    """Of the run that has ended; null while it runs."""
    error: str | None


@dataclass(frozen=True, slots=True)
class Spawned:
    """A worker that was declared."""

    id: str
    state: State
    provider: str
    isolation: Isolation
    repo: str
    attach: str
    """The command that opens its terminal."""
    session: str
    """Its tmux session."""
    drop_in: str
    """The file that declares it."""
    cursor: str
    """For observe: what happens from its launch on."""
    warnings: Sequence[str]
    next: str
    """The command to run next."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What happened first to one of several workers, or nothing yet."""

    event: Event | None
    """Null if the time was over."""
    worker: str | None
    """Whose event it is; of one worker, that one in any case."""
    state: State | None
    activity: Doing | None
    exit: Exit | None
    answer: str | None
    """What it said last, cut off where answer_cut is true."""
    answer_cut: bool
    asks: str | None
    """What it asks, or wants to be allowed."""
    request: str | None
    """Id of that."""
    choices: Sequence[str]
    error: str | None
    """What went wrong."""
    output: Sequence[str] | None
    """The last lines that it printed; only with the details excerpt and full."""
    cursor: str
    """For the next observe: what happens after this."""
    timed_out: bool
    next: str
    """The command to run next."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A message to a worker."""

    worker: str
    message: str
    """Its id."""
    status: str
    """queued, delivering, delivered, started or ended."""
    next: str


@dataclass(frozen=True, slots=True)
class Answered:
    """What a worker asked was decided."""

    worker: str
    decision: Annotated[str, JsonSchema({"enum": ["allow", "deny", "answer"]})]
    waiting: Count
    """Requests that still wait."""
    next: str


@dataclass(frozen=True, slots=True)
class Interrupted:
    """A worker whose turn was to be interrupted."""

    worker: str
    interrupted: bool
    """Whether a turn was under way; otherwise nothing was done."""
    next: str


@dataclass(frozen=True, slots=True)
class Termination:
    """A worker that is ended, and declared no more."""

    worker: str
    was: State | None
    """Its state before."""
    exit: Exit | None
    drop_in: str
    """The file that was removed, or would be."""
    worktree: str | None
    """Its worktree."""
    worktree_stays: bool | None
    """Whether that stays: there is work in it."""
    dry_run: bool


@dataclass(frozen=True, slots=True)
class WorkerList:
    """Workers, the newest first."""

    workers: Sequence[Worker]
    total: Count
    """How many there are, also those that are left out."""


@dataclass(frozen=True, slots=True)
class StatsRow:
    """What the workers of one provider, role or name did."""

    key: str
    workers: Count
    runs: Count
    limits_hit: Count
    """How often one hit the limit of its account."""
    wall_clock_seconds: float
    """From the start of the first run to the end of the last."""
    worker_seconds: float
    """Of all runs together."""
    input_tokens: Count | None
    output_tokens: Count | None
    cache_read_tokens: Count | None
    cache_write_tokens: Count | None
    cost_usd: float | None


@dataclass(frozen=True, slots=True)
class Stats:
    """What workers did, from the journal."""

    since: Time | None
    until: Time
    by: str
    rows: Sequence[StatsRow]
    total: StatsRow
    notes: Sequence[str]
    """What is missing in these numbers, and why."""

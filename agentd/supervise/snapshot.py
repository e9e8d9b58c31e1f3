"""What the status API shows, as frozen values; the field names are the JSON's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class WorktreeStatus:
    """The git worktree of one agent."""

    path: str
    branch: str | None
    """``None`` for a checkout that is not to be changed."""
    base: str | None
    """As declared; ``None`` is what the repository had checked out."""
    repo: str


@dataclass(frozen=True, slots=True)
class AgentStatus:
    """One agent; times are RFC 3339 in UTC, with seconds and a ``Z``."""

    name: str
    running: bool
    session: str
    restarts: int
    type: str
    harness: str
    state: str
    pid: int | None
    started_at: str | None
    uptime_seconds: int
    exit_code: int | None
    exit_signal: int | None
    error: str | None
    next_restart_at: str | None
    deadline: str | None
    workdir: str
    model: str | None
    """As the jcard has it."""
    command: str | None
    """The first word of the jcard's ``command``; the others may be confidential."""
    worktree: WorktreeStatus | None


NOT_READ_YET = "not read yet"
"""What a daemon that has just been started says of the jcard."""


@dataclass(frozen=True, slots=True)
class ConfigStatus:
    """The jcard as the daemon last saw it."""

    path: str
    valid: bool
    error: str | None
    warnings: Sequence[str]
    loaded_at: str | None
    """When the configuration in force was taken."""
    digest: str | None
    """SHA-256 of the file's content as last taken, in hexadecimal."""


@dataclass(frozen=True, slots=True)
class AgentCounts:
    """How many agents there are, by what an operator asks first."""

    total: int
    running: int
    failed: int


@dataclass(frozen=True, slots=True)
class RecordingHealth:
    """How one kind of recording is doing; trouble with it stops no agent."""

    state: str
    """``ok``, ``failing`` or ``off``."""
    error: str | None
    """What failed, where, and what to do, while it is failing."""
    bytes: int
    """What is kept on disk."""
    lost: int
    """Entries that could not be kept or read, since the daemon started."""


NOT_RECORDED = RecordingHealth("off", None, 0, 0)


@dataclass(frozen=True, slots=True)
class Recording:
    """What is kept of what happened."""

    transcripts: RecordingHealth
    journal: RecordingHealth


@dataclass(frozen=True, slots=True)
class Health:
    """The daemon itself."""

    state: str
    """``running``, or ``stopping`` while it shuts down."""
    uptime_seconds: int
    version: str
    pid: int
    config: ConfigStatus
    agents: AgentCounts
    recording: Recording


@dataclass(frozen=True, slots=True)
class PlannedOperation:
    """One thing the daemon would still do."""

    action: str
    """``start``, ``stop``, ``restart`` or ``change``."""
    agent: str
    reason: str
    fields: Sequence[str]
    """What differs, for ``restart`` and ``change``."""


@dataclass(frozen=True, slots=True)
class ObservedAgentView:
    """What ``agentctl plan`` compares a file against."""

    name: str
    state: str
    launch: Mapping[str, str] | None
    """Keyed digests of each part of the launch in force, by part; never the values."""
    policy: Mapping[str, object] | None


@dataclass(frozen=True, slots=True)
class PlanReport:
    """What the daemon would still do, and what it is looking at."""

    operations: Sequence[PlannedOperation]
    observed: Sequence[ObservedAgentView]
    digest_key: str
    """Key of the digests, so that a client can compute comparable ones."""
    agent_user: str
    home: str
    default_workdir: str
    data_dir: str


class StatusSource(Protocol):
    """Where the API gets its answers: cheap, synchronous reads of the supervisor's memory."""

    def health(self) -> Health:
        """The daemon itself."""
        ...

    def agents(self) -> Sequence[AgentStatus]:
        """All agents, sorted by name."""
        ...

    def agent(self, name: str) -> AgentStatus | None:
        """One agent, its name compared without regard to case."""
        ...

    def plan(self) -> PlanReport:
        """What the daemon would still do."""
        ...

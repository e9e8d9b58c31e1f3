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
    recording: str | None
    """Why what it prints is not being kept, and what to do; ``None`` while it is, and where that is off."""
    pane: str | None
    """Id of its pane, such as ``%7``; one within the life of the tmux server."""
    pane_pid: int | None
    """Process that tmux started in the pane: the launcher of the latest run."""
    owner: str | None
    """Subfolder of the drop-in folder that its file is in."""
    source: str | None
    """The file that declares it, or did last."""


NOT_READ_YET = "not read yet"
"""What a daemon that has just been started says of the jcard."""


@dataclass(frozen=True, slots=True)
class ConfigFileStatus:
    """The jcard, or one drop-in."""

    path: str
    valid: bool
    error: str | None
    warnings: Sequence[str]
    agents: int
    """How many it declares."""
    loaded_at: str | None
    """When the content in force was taken."""
    digest: str | None
    """SHA-256 of its content as last taken, in hexadecimal."""


@dataclass(frozen=True, slots=True)
class ConfigStatus:
    """The jcard and its drop-ins as the daemon last saw them."""

    path: str
    valid: bool
    error: str | None
    warnings: Sequence[str]
    loaded_at: str | None
    """When the configuration in force was taken."""
    digest: str | None
    """SHA-256 of the jcard's content as last taken, in hexadecimal."""
    files: Sequence[ConfigFileStatus]
    """The jcard, then the drop-ins by path."""


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
class SlowRead:
    """A look at a path that users name which takes over a second; agents that need it wait or fail, others do not."""

    path: str
    """What does not answer."""
    seconds: int
    """For how long."""


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
    slow_reads: Sequence[SlowRead]
    """What is being waited for, the slowest first."""


@dataclass(frozen=True, slots=True)
class GapView:
    """A time in which a run's output was not kept."""

    end: str
    """When recording went on."""
    reason: str
    offset: int
    """Bytes of the output before it."""


@dataclass(frozen=True, slots=True)
class SizeView:
    """A size of a run's terminal."""

    offset: int
    """Bytes of the output before it."""
    columns: int
    rows: int


@dataclass(frozen=True, slots=True)
class RunView:
    """A run whose transcript is kept; times are RFC 3339 in UTC with milliseconds."""

    agent: str
    run: int
    run_id: str
    harness: str
    workdir: str
    argv: Sequence[str]
    start: str
    end: str | None
    exit_code: int | None
    exit_signal: int | None
    reason: str | None
    first_byte: int
    end_byte: int
    columns: int
    rows: int
    gaps: Sequence[GapView]
    sizes: Sequence[SizeView]
    """Sizes of the terminal after that of the start."""


@dataclass(frozen=True, slots=True)
class Screen:
    """What an agent's terminal shows."""

    name: str
    session: str
    width: int
    """Columns."""
    height: int
    """Rows."""
    cursor_x: int
    """Column, from 0."""
    cursor_y: int
    """Row, from 0."""
    cursor_visible: bool
    lines: Sequence[str]
    """Rows, from the top; blank ones at the end are left out."""


class NoScreenError(Exception):
    """There is no terminal to show; the text says why."""


@dataclass(frozen=True, slots=True)
class PlannedOperation:
    """One thing the daemon would still do."""

    action: str
    """``start``, ``stop``, ``restart`` or ``change``."""
    agent: str
    reason: str
    fields: Sequence[str]
    """What differs, for ``restart`` and ``change``."""
    source: str | None
    """The file that declares the agent, or did last."""


@dataclass(frozen=True, slots=True)
class ObservedAgentView:
    """What ``agentctl plan`` compares a file against."""

    name: str
    state: str
    launch: Mapping[str, str] | None
    """Keyed digests of each part of the launch in force, by part; never the values."""
    policy: Mapping[str, object] | None
    source: str | None
    """The file that declares it, or did last."""


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


class ScreenSource(Protocol):
    """Where the API gets what agents' terminals show."""

    async def screen(self, name: str, *, styled: bool) -> Screen | None:
        """The screen of an agent, with escape sequences for colours if `styled`; ``None`` if there is no such agent.

        Raises
        ------
        NoScreenError
            If the agent has no terminal now, or tmux does not say.
        """
        ...

"""What the status API shows, as frozen values; the field names are the JSON's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Protocol

from agentd.model.json_schema import Count, Digest, JsonSchema, Positive, State, Time
from agentd.model.limits import Enforcer
from agentd.model.sandbox import SandboxStatus
from agentd.model.spec import AgentType
from agentd.model.states import Activity
from agentd.model.usage_limits import LimitAction


@dataclass(frozen=True, slots=True)
class WorktreeStatus:
    """The git worktree of one agent."""

    path: str
    """Folder of the worktree."""
    branch: str | None
    """Branch of its own; null for a checkout that is not to be changed."""
    base: str | None
    """What it starts from, as declared; null is what the repository had checked out."""
    repo: str
    """The repository."""


@dataclass(frozen=True, slots=True)
class LimitStatus:
    """One limit of an agent."""

    value: float
    """As declared: bytes, processes or cores."""
    peak: Count | None
    """The most that the latest run used at once; null where the kernel does not tell, and for cpu."""
    enforced_by: Annotated[str, JsonSchema({"enum": [*Enforcer]})] | None
    """What holds the run to it; before the first run, what would. Null: nothing does."""
    reason: str | None
    """Why nothing does."""


@dataclass(frozen=True, slots=True)
class LimitsStatus:
    """What an agent's runs may use up; null for what is not declared."""

    memory: LimitStatus | None
    """Bytes; beyond it the kernel kills."""
    memory_high: LimitStatus | None
    """Bytes; beyond it the run is slowed down. The peak is that of its memory."""
    pid_limit: LimitStatus | None
    """Processes and threads."""
    cpu: LimitStatus | None
    """Cores."""


@dataclass(frozen=True, slots=True)
class UsageLimitStatus:
    """The usage limit that a running agent is at."""

    since: Time
    """When it hit it."""
    resets_at: Time | None
    """When the limit resets, as the agent's program says; null where it does not say."""
    source: str
    """The witness that tells of the limit."""
    action: Annotated[str, JsonSchema({"enum": [*LimitAction]})] | None
    """What on_usage_limit says; null if it says nothing."""
    resume_at: Time | None
    """When the agent will be told to go on; null if it will not."""
    resumes: Count
    """How often it was told to go on since a turn last ended well."""
    reason: str | None
    """What follows, and why."""


@dataclass(frozen=True, slots=True)
class AgentStatus:
    """One agent; times are RFC 3339 in UTC, with seconds and a ``Z``."""

    name: str
    """Name in the jcard; a replica's ends in its number."""
    running: bool
    """Whether the agent's own process lives: true exactly in the states running and stopping."""
    session: str
    """Name of the tmux session."""
    restarts: Count
    """How often the agent was restarted by its policy, since its definition last changed."""
    type: Annotated[str, JsonSchema({"enum": [*AgentType]})]
    """Where the agent runs."""
    harness: str
    """The coding agent that is run."""
    state: State
    """Where the agent is in its life."""
    pid: Positive | None
    """Process of the run in progress."""
    started_at: Time | None
    """Start of the latest run."""
    uptime_seconds: Count
    """Age of the run in progress, else 0."""
    exit_code: Count | None
    """Exit status of the last run that ended, if it ended by itself."""
    exit_signal: Positive | None
    """Signal that ended the last run that ended."""
    exit_reason: Annotated[str, JsonSchema({"enum": ["oom"]})] | None
    """oom if the last run ended because the kernel killed a process of it for want of memory."""
    oom_kills: Count
    """Processes of the latest run that the kernel killed for want of memory, as far as it had limits."""
    error: str | None
    """Why the agent is not as declared."""
    next_restart_at: Time | None
    """When the back-off is over."""
    deadline: Time | None
    """When the agent's timeout is over."""
    workdir: str
    """Folder the agent works in."""
    limits: LimitsStatus | None
    """What its runs may use up; null if no limit is declared."""
    model: str | None
    """As the jcard has it."""
    command: str | None
    """The first word of the jcard's command; the others may be confidential."""
    worktree: WorktreeStatus | None
    """The agent's own git worktree, if it has one."""
    sandbox: SandboxStatus | None
    """What the agent's sandbox lets it do; null if it has none, or no file declares it."""
    recording: str | None
    """Why what the agent prints is not being kept, and what to do; null while all is well."""
    pane: Annotated[str, JsonSchema({"pattern": "^%[0-9]+$"})] | None
    """Id of the agent's pane in tmux, wherever an operator moved it; null while it has none."""
    pane_pid: Positive | None
    """Process that tmux started in the pane, the launcher; it tells one run and one tmux server from another."""
    owner: str | None
    """Subfolder of the drop-in folder that its file is in; null for any other file."""
    source: str | None
    """The jcard or drop-in that declares it, or did last; null where that is not known."""
    activity: Annotated[str, JsonSchema({"enum": [*Activity]})] | None
    """What the running agent does: whose move it is; unknown where nothing tells, null while it does not run."""
    activity_since: Time | None
    """Since when it does that."""
    activity_source: str | None
    """The witness that tells: hooks, status file, screen, and so on; process where only its process is known."""
    activity_text: str | None
    """The question that it asks, what it wants to be allowed, or what went wrong, in one line."""
    conversation: str | None
    """The harness's own id of its conversation."""
    usage_limit: UsageLimitStatus | None
    """The usage limit that it is at; null if it is at none that is known."""


NOT_READ_YET = "not read yet"
"""What a daemon that has just been started says of the jcard."""


@dataclass(frozen=True, slots=True)
class ConfigFileStatus:
    """The jcard, or one drop-in."""

    path: str
    """The file's path."""
    valid: bool
    """Whether the file as it is now can be used; if not, its last good content stays in force."""
    error: str | None
    """What is wrong with the file: where, what was found, what is allowed."""
    warnings: Sequence[str]
    """What is suspicious in the file."""
    agents: Count
    """How many agents it declares."""
    loaded_at: Time | None
    """When its content in force was taken; null if it never was good."""
    digest: Digest | None
    """SHA-256 of the file as it was last taken, valid or not: what agentctl --wait waits for."""


@dataclass(frozen=True, slots=True)
class ConfigStatus:
    """The jcard and its drop-ins as the daemon last saw them."""

    path: str
    """The jcard's path."""
    valid: bool
    """Whether all files as they are now can be used; if not, see files."""
    error: str | None
    """What is wrong with the first file that cannot be used: where, found what, allowed is what."""
    warnings: Sequence[str]
    """What is suspicious in the files, and in what they name."""
    loaded_at: Time | None
    """When the configuration in force was taken."""
    digest: Digest | None
    """SHA-256 of the jcard as it was last taken, valid or not."""
    files: Sequence[ConfigFileStatus]
    """The jcard, then the drop-ins by path."""


@dataclass(frozen=True, slots=True)
class AgentCounts:
    """How many agents there are, by what an operator asks first."""

    total: Count
    """Agents declared."""
    running: Count
    """Agents whose own process lives."""
    failed: Count
    """Agents in the state failed."""


@dataclass(frozen=True, slots=True)
class RecordingHealth:
    """How one kind of recording is doing; trouble with it stops no agent."""

    state: Annotated[str, JsonSchema({"enum": ["ok", "failing", "off"]})]
    """How it is doing."""
    error: str | None
    """What cannot be written, why, and what to do."""
    bytes: Count
    """What is kept on disk."""
    lost: Count
    """Entries that could not be kept, since the daemon started."""


NOT_RECORDED = RecordingHealth("off", None, 0, 0)


@dataclass(frozen=True, slots=True)
class Recording:
    """What is kept of what happened."""

    transcripts: RecordingHealth
    """What agents print."""
    journal: RecordingHealth
    """Events."""


@dataclass(frozen=True, slots=True)
class SlowRead:
    """A look at a path that users name which takes over a second; agents that need it wait or fail, others do not."""

    path: str
    """What does not answer."""
    seconds: Count
    """For how long."""


@dataclass(frozen=True, slots=True)
class Health:
    """The daemon itself."""

    state: str
    """running, or stopping while the daemon shuts down."""
    uptime_seconds: Count
    """Age of the daemon."""
    version: str
    """Version of the daemon."""
    pid: Positive
    """Process of the daemon."""
    config: ConfigStatus
    """The jcard and its drop-ins."""
    agents: AgentCounts
    """The agents in numbers."""
    recording: Recording
    """What is kept of what happened; trouble with it affects no agent."""
    slow_reads: Sequence[SlowRead]
    """Paths you named that have not answered for a second, the slowest first; what needs one waits or fails."""


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


@dataclass(frozen=True, slots=True)
class Screen:
    """What an agent's terminal shows."""

    name: str
    """Name of the agent."""
    session: str
    """Name of the tmux session."""
    width: Positive
    """Columns of the terminal."""
    height: Positive
    """Rows of the terminal."""
    cursor_x: Count
    """Column of the cursor, from 0."""
    cursor_y: Count
    """Row of the cursor, from 0."""
    cursor_visible: bool
    """Whether the cursor is shown."""
    lines: Sequence[str]
    """Rows from the top, without blank ones at the end and spaces at their ends."""


class NoScreenError(Exception):
    """There is no terminal to show; the text says why."""


@dataclass(frozen=True, slots=True)
class PlannedOperation:
    """One thing the daemon would still do."""

    action: str
    """start, stop, restart, or change for what applies without a restart."""
    agent: str
    """Name of the agent."""
    reason: str
    """Why."""
    fields: Sequence[str]
    """What differs, for restart and change."""
    source: str | None
    """The jcard or drop-in that declares the agent, or did last."""
    sandbox: SandboxStatus | None
    """What the agent's sandbox will let it do; null for one that has none, or stops."""
    sandbox_before: SandboxStatus | None
    """What it lets the agent do now; null for one that has none, or is not there yet."""


@dataclass(frozen=True, slots=True)
class PlannedResume:
    """An agent at its usage limit that will be told to go on."""

    agent: str
    """Name of the agent."""
    resume_at: Time
    """When."""
    reason: str
    """Why then."""


@dataclass(frozen=True, slots=True)
class ObservedAgentView:
    """What ``agentctl plan`` compares a file against."""

    name: str
    """Name of the agent."""
    state: State
    """Where the agent is in its life."""
    launch: Mapping[str, str] | None
    """Keyed digests of the launch in force, by its parts; never the values."""
    policy: Mapping[str, object] | None
    """The policy in force."""
    source: str | None
    """The jcard or drop-in that declares it, or did last."""
    sandbox: SandboxStatus | None
    """What its sandbox lets it do; null for one that has none."""


@dataclass(frozen=True, slots=True)
class PlanReport:
    """What the daemon would still do, and what it is looking at."""

    operations: Sequence[PlannedOperation]
    """What the daemon would still do."""
    resumes: Sequence[PlannedResume]
    """Agents at their usage limit that wait until they are told to go on, by time."""
    observed: Sequence[ObservedAgentView]
    """What is there now."""
    digest_key: str
    """Key of the digests, with which a client computes comparable ones."""
    agent_user: str
    """User the agents run as."""
    home: str
    """Home of that user."""
    default_workdir: str
    """Folder of agents that declare none."""
    data_dir: str
    """Folder of worktrees, workspaces, and homes of sandboxed agents."""
    secrets: Sequence[str] | None
    """Names of the secrets there are; null where no file was read yet."""
    secret_dir: str | None
    """Folder of the secrets."""
    state_dir: str | None
    """Folder of transcripts and events."""


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

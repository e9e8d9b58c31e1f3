"""Agents and the daemon's health as the API shows them; the field names are the JSON's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from agentd.model.budgets import BreachAction
from agentd.model.json_schema import Count, Digest, JsonSchema, Positive, State, Time
from agentd.model.limits import Enforcer
from agentd.model.sandbox import SandboxStatus
from agentd.model.spec import AgentType, ApplyWhen
from agentd.model.stall import StallAction, StallPhase
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

    value: int | float
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
class StalledStatus:
    """An agent that is at work and does not go on."""

    since: Time
    """Since when it has not gone on."""
    phase: Annotated[str, JsonSchema({"enum": [*StallPhase]})]
    """What it waits for: an answer of its model, or a tool; tool also where nothing tells which of both."""
    reason: str
    """What was seen."""
    action: Annotated[str, JsonSchema({"enum": [*StallAction]})]
    """What was tried last."""
    tried: Positive
    """How many actions of stall were tried since it last went on."""
    next: Annotated[str, JsonSchema({"enum": [*StallAction]})] | None
    """What is tried after another such time; null if nothing is left."""


@dataclass(frozen=True, slots=True)
class BoundStatus:
    """One number of a budget."""

    name: Annotated[str, JsonSchema({"enum": ["usd", "day", "turns"]})]
    """usd is US dollars in a run, day is US dollars in a day, turns is turns in a run."""
    limit: float
    """What may be used."""
    used: float | None
    """What was used in the run there is or was last, or today; null where nobody says it."""
    source: str | None
    """Who says it; null where nobody does."""
    told_at: Time | None
    """When it was said last; null for what agentd counts itself, and where it was not said yet."""
    resets_at: Time | None
    """When it begins anew; null for what a new run begins anew."""


@dataclass(frozen=True, slots=True)
class BudgetStatus:
    """What an agent has used of its budget."""

    on_breach: Annotated[str, JsonSchema({"enum": [*BreachAction]})]
    """What follows when it is used up."""
    bounds: Sequence[BoundStatus]
    """Its numbers."""
    breached: bool
    """Whether one is used up, of its own budget or of the agent's that spawned it."""
    reason: str | None
    """Which, and what follows; null if none is."""


@dataclass(frozen=True, slots=True)
class HeldChangeStatus:
    """A change of an agent's definition that waits to be applied, by a restart."""

    since: Time
    """Since when it waits."""
    fields: Sequence[str]
    """The parts of the launch that differ."""
    apply: Annotated[str, JsonSchema({"enum": [*ApplyWhen]})]
    """What apply says."""
    waits: Sequence[str]
    """What it waits for, in words."""
    apply_at: Time | None
    """When it is applied at the latest; null if that is not declared."""


@dataclass(frozen=True, slots=True)
class QueuedStatus:
    """An agent's place in the queue for a slot."""

    place: Positive | None
    """From 1, over all agents that wait for a slot; null for one that waits for another agent."""
    reason: str
    """What it waits for."""
    since: Time
    """Since when it waits."""


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
    """oom if the last run ended because the kernel killed a process of it for lack of memory."""
    oom_kills: Count
    """Processes of the latest run that the kernel killed for lack of memory, as far as it had limits."""
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
    stalled: StalledStatus | None
    """What was tried since it last went on; null while it goes on."""
    budget: BudgetStatus | None
    """What it has used of its budget; null if it has none."""
    ports: Mapping[str, int]
    """Its own ports, by the variable that names each."""
    held_change: HeldChangeStatus | None
    """The change of its definition that waits; null if none does."""
    queued: QueuedStatus | None
    """Its place in the queue; null unless its state is queued."""
    next_start_at: Time | None
    """When its schedule starts it next; null if it has none. In the past, if that start waits."""
    priority: int
    """As the jcard has it: who has a higher one is launched before others that wait."""


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
    problem: str | None
    """Why agentd does nothing though it answers: a pass has not ended, or begun, for 10 s; null while all is well."""

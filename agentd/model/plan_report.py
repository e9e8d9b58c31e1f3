"""What the daemon would still do, as the API shows it and ``agentctl plan`` needs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agentd.model.json_schema import State, Time
from agentd.model.sandbox import SandboxStatus


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
    waits: Sequence[str]
    """What a restart waits for, as the agent's apply says; empty if for nothing."""


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
class PlannedStart:
    """An agent that has ended, and will be started by its schedule."""

    agent: str
    """Name of the agent."""
    start_at: Time
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
    use: Sequence[str]
    """What speaks against a restart of it, in words, as far as that is known."""
    ports: Mapping[str, int]
    """Its own ports, by the variable that names each."""


@dataclass(frozen=True, slots=True)
class PlanReport:
    """What the daemon would still do, and what it is looking at."""

    operations: Sequence[PlannedOperation]
    """What the daemon would still do."""
    resumes: Sequence[PlannedResume]
    """Agents at their usage limit that wait until they are told to go on, by time."""
    starts: Sequence[PlannedStart]
    """Agents that are started by their schedules, and for which nothing else is to be done, by time."""
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

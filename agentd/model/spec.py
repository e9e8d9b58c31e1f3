"""The definition of an agent, with defaults, names and replicas resolved.

These values are complete: nothing above this layer reads TOML again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from agentd.model.budgets import Budget
from agentd.model.limits import NO_LIMITS, Limits, OomPolicy
from agentd.model.placement import Place
from agentd.model.stall import Stall
from agentd.model.usage_limits import UsageLimitPolicy

if TYPE_CHECKING:
    # Not for agentctl, which shows what there is: these cost it CPU, and nothing reads the types of these fields.
    from agentd.model.destinations import Destination
    from agentd.model.order import After, Schedule
    from agentd.model.pool import WorkerFacts
    from agentd.model.triggers import Trigger

AGENT_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}"
"""Regular expression of a whole agent name."""

ENVIRONMENT_NAME: Final = r"[A-Za-z_][A-Za-z0-9_]*"
"""Regular expression of a whole environment variable name, and so of a secret's."""

FORK_POINT: Final = r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}(@[A-Za-z0-9][A-Za-z0-9_-]{0,127})?"
"""Regular expression of what `ForkPoint.parse` reads."""

RESERVED_SESSION: Final = "_agentd"
"""The tmux session agentd keeps for itself."""

AGENT_VARIABLE: Final = "AGENTD_AGENT"
"""Environment variable that tells an agent its name."""

RUN_ID_VARIABLE: Final = "AGENTD_RUN_ID"
"""Environment variable that marks everything one run started."""

WORKTREES: Final = "worktrees"
"""Folder of the agents' worktrees, in the data directory."""

OWN_VARIABLE_PREFIX: Final = "AGENTD_"
"""Environment variables that belong to agentd."""


class RestartPolicy(StrEnum):
    """When an agent that ended is restarted."""

    NO = "no"
    ON_FAILURE = "on-failure"
    ALWAYS = "always"


class Mode(StrEnum):
    """How the harness is asked to treat a prompt."""

    AUTO = "auto"
    ONESHOT = "oneshot"
    INTERACTIVE = "interactive"


class Isolation(StrEnum):
    """Where an agent works in its repository."""

    NONE = "none"
    """The repository itself."""
    WORKTREE = "worktree"
    """A git worktree and branch of its own."""
    READ_ONLY = "read_only"
    """A read-only git worktree of its own."""


class AgentType(StrEnum):
    """Where the agent runs."""

    NATIVE = "native"
    SANDBOXED = "sandboxed"


class ApplyWhen(StrEnum):
    """When a change that makes another launch ends the run there is."""

    NOW = "now"
    IDLE = "idle"
    """Once nobody uses the agent."""
    ASK = "ask"
    """Once somebody says so."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How an agent is restarted, limited and stopped; a change applies to a running agent.

    All durations are seconds.
    """

    restart: RestartPolicy = RestartPolicy.NO
    max_restarts: int = 0
    """Restarts (not runs) allowed; 0 is no limit."""
    restart_delay: float = 3.0
    """First back-off; doubles with each restart."""
    restart_delay_max: float = 300.0
    """Cap of the back-off."""
    restart_reset: float = 600.0
    """A run this long resets the back-off and what counts against ``max_restarts``."""
    success_exit_codes: tuple[int, ...] = (0,)
    timeout: float | None = None
    """Limit for the agent's whole life, restarts included."""
    grace_period: float = 30.0
    """From the first stop signal to SIGKILL."""
    memory: int | None = None
    """This and the next three are `limits`."""
    memory_high: int | None = None
    pid_limit: int | None = None
    cpu: float | None = None
    on_oom: OomPolicy | None = None
    """What follows a run that ran out of memory; ``None`` is what ``restart`` says."""
    on_usage_limit: UsageLimitPolicy | None = None
    """What follows when a running agent has hit its usage limit; ``None`` is nothing."""
    budget: Budget | None = None
    """What it may use up; ``None`` is no limit."""
    apply: ApplyWhen = ApplyWhen.NOW
    """When a change of its launch ends the run there is."""
    apply_deadline: float | None = None
    """How long such a change waits at most; ``None`` is as long as it takes."""
    applied_at: str | None = None
    """Any change of it ends that wait."""
    priority: int = 0
    """Whoever has a higher one is launched before others that wait."""
    reap: float | None = None
    """Seconds that the agent must have been idle until its orphans are ended; ``None``: they are not."""
    growth_notice: int | None = 2 * 1024**3
    """Bytes by which the memory of its processes must have grown to be told; ``None``: it is not."""
    stall: Stall | None = None
    """What is done once it is at work and does not go on; ``None`` is nothing."""

    @property
    def limits(self) -> Limits:
        """What a run may use up."""
        limits = self.memory, self.memory_high, self.pid_limit, self.cpu
        # Asked of each agent for each answer of the API: most have none.
        return NO_LIMITS if limits == (None, None, None, None) else Limits(*limits)


class SandboxKind(StrEnum):
    """What a sandbox is made with."""

    BUBBLEWRAP = "bubblewrap"
    GVISOR = "gvisor"


class Network(StrEnum):
    """What a sandboxed agent reaches over the network."""

    HOST = "host"
    """All that the host does."""
    NONE = "none"
    """A loopback interface of its own, and by name what is declared."""


class SecretMode(StrEnum):
    """How an agent uses a secret that a table grants."""

    EGRESS = "egress"
    """It gets a placeholder; the value is put in on the way to the hosts that the secret is for."""


@dataclass(frozen=True, slots=True)
class EgressSecret:
    """A secret that an agent uses without being able to read it."""

    name: str
    to: tuple[Destination, ...]
    """Where its value is sent, by TLS."""


@dataclass(frozen=True, slots=True)
class SandboxSpec:
    """What ``type = "sandboxed"`` may read, write and reach."""

    extra_packages: tuple[str, ...] = ()
    kind: SandboxKind | None = None
    """``None`` is what there is."""
    network: Network = Network.HOST
    network_allow: tuple[Destination, ...] = ()
    """What it reaches by name without a network."""
    egress_secrets: tuple[EgressSecret, ...] = ()
    read_only_paths: tuple[str, ...] = ()
    """Absolute; what the sandbox would hide and the agent may read."""
    writable_paths: tuple[str, ...] = ()
    """Absolute; what the agent may write beside its workdir."""

    @property
    def reach(self) -> tuple[Destination, ...]:
        """All that it reaches by name: a host that a secret is for need not be declared twice."""
        return tuple(dict.fromkeys((*self.network_allow, *(to for secret in self.egress_secrets for to in secret.to))))


@dataclass(frozen=True, slots=True)
class Checkout:
    """The git worktree that an agent works in, as declared."""

    repo: Path
    """Absolute."""
    path: Path
    """Where the worktree is, absolute."""
    branch: str | None
    """The agent's own branch; ``None`` for a read-only checkout."""
    base: str | None
    """Revision that it starts from; ``None`` for what the repository has checked out."""

    @property
    def read_only(self) -> bool:
        """Whether it must not be changed."""
        return self.branch is None


@dataclass(frozen=True, slots=True)
class ForkPoint:
    """Where a conversation of another agent is, of which one is to be a fork."""

    conversation: str
    """The harness's own id of it."""
    turn: str | None = None
    """The harness's own id of the last turn that both have in common; ``None`` is the last one there is."""

    @classmethod
    def parse(cls, written: str) -> ForkPoint:
        """Read ``CONVERSATION@TURN``, or ``CONVERSATION`` alone."""
        conversation, _, turn = written.partition("@")
        return cls(conversation, turn or None)

    def __str__(self) -> str:
        """Write it as `parse` reads it."""
        return self.conversation if self.turn is None else f"{self.conversation}@{self.turn}"


@dataclass(frozen=True, slots=True)
class AgentSpec:
    """One agent as declared; replicas are already separate specs."""

    name: str
    harness: str
    session: str
    workdir: Path
    """Absolute; inside ``checkout`` where there is one."""
    type: AgentType = AgentType.NATIVE
    mode: Mode = Mode.AUTO
    prompt: str = ""
    prompt_file: Path | None = None
    """Absolute; wins over ``prompt``. Read above this layer."""
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    ports: tuple[str, ...] = ()
    """Variables that name a port of the agent's own each."""
    secrets: tuple[str, ...] | None = None
    """Names of the secrets that the agent may read; ``None`` is all of them."""
    enabled: bool = True
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    model: str | None = None
    restarted_at: str | None = None
    role: str | None = None
    """Templates of the workspace that ``workdir`` is."""
    checkout: Checkout | None = None
    sandbox: SandboxSpec = SandboxSpec()
    turns: bool = True
    """Whether its turns are watched."""
    resume: bool | None = None
    """Whether a run goes on with the conversation of the last; ``None`` as `DesiredAgent.resumes` says."""
    fork_from: ForkPoint | None = None
    """What a run that goes on with no conversation begins with."""
    after: tuple[After, ...] = ()
    """What it is launched after."""
    schedule: Schedule | None = None
    """When it is started; ``None``: at once."""
    triggers: tuple[Trigger, ...] = ()
    """What starts it from outside; empty: nothing."""
    policy: Policy = Policy()
    source: Path | None = None
    """The file that declares it."""
    owner: str | None = None
    """The subfolder of the drop-in folder that the file is in; ``None`` for the jcard and the folder itself."""
    worker: WorkerFacts | None = None
    """What it is beside an agent, if it is a worker whose file says so."""
    place: Place = Place()
    """Where in a fleet it may run; no part of its launch."""


class HarnessTraits(Protocol):
    """What the loader needs to know about a harness to check an agent table."""

    @property
    def takes_model(self) -> bool:
        """Whether ``model`` may be set."""
        ...

    @property
    def takes_command(self) -> bool:
        """Whether ``command`` may be set."""
        ...


@dataclass(frozen=True, slots=True)
class LoadContext:
    """What the relative and default values of a file are resolved against."""

    folder: Path
    """Folder of the jcard or drop-in, absolute: base of relative paths."""
    home: Path
    """The agent user's home, for ``~``."""
    default_workdir: Path
    """For most users the jcard's folder, for drop-ins too."""
    harnesses: Mapping[str, HarnessTraits]
    """The registered harnesses by name."""
    data_dir: Path
    """Where worktrees and workspaces are, absolute."""
    owner: str | None = None
    """As `AgentSpec.owner`."""
    drop_in: bool = False
    """Whether it is a drop-in: some tables count in the jcard alone."""

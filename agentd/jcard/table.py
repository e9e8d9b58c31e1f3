"""The fields of an agent table: types, limits, defaults and meaning.

The JSON Schema, the reference documentation and the loader's checks are derived from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from agentd.jcard.agent_fields import (
    After,
    ApplyChoice,
    Branch,
    Command,
    Cores,
    Cron,
    Destination,
    EnvName,
    EnvValue,
    ExitCode,
    ForkPoint,
    FullPath,
    IsolationChoice,
    Memory,
    ModeChoice,
    Name,
    NetworkChoice,
    OnOomChoice,
    OverlapChoice,
    Package,
    PidLimit,
    RestartChoice,
    Revision,
    SandboxChoice,
    Session,
    Text,
    TimeZone,
    TypeChoice,
    WrittenPath,
)
from agentd.jcard.budget_table import BudgetTable
from agentd.jcard.field_types import Duration, Reap, Size, whole
from agentd.jcard.place_table import PlaceTable
from agentd.jcard.secret_table import Secret
from agentd.jcard.stall_table import StallTable
from agentd.jcard.usage_limit_table import OnUsageLimit
from agentd.model.limits import SANDBOX_LIMITS
from agentd.model.order import CATCH_UP, Overlap
from agentd.model.spec import (
    AGENT_VARIABLE,
    ENVIRONMENT_NAME,
    RUN_ID_VARIABLE,
    AgentType,
    Isolation,
    Mode,
    Policy,
    SandboxSpec,
)
from agentd.text.durations import format_duration
from agentd.text.sizes import format_size

MOST_REPLICAS: Final = 1000
MOST_PRIORITY: Final = 1000

_POLICY: Final = Policy()
_SANDBOX: Final = SandboxSpec()


def _duration_field(default: float, description: str) -> float:
    """Declare a duration field whose default the schema shows in its notation."""
    field: float = Field(default, description=description, json_schema_extra={"default": format_duration(default)})
    return field


class AgentTable(BaseModel):
    """One ``[agent]`` or ``[[agents]]`` table.

    Unknown keys are left to the loader, which warns of them.
    """

    model_config = ConfigDict(
        strict=True, extra="ignore", frozen=True, json_schema_extra={"additionalProperties": False}
    )

    name: Name | None = Field(
        None,
        description="The agent's name, unique also without regard to case. Default: the harness name, "
        "with -0, -1 … where several unnamed agents share a harness.",
    )
    harness: Text = Field(description="The coding agent to run: a registered harness.")
    type: TypeChoice = Field(AgentType.NATIVE, description="Where the agent runs: native, or sandboxed.")
    prompt: str = Field("", description="What the agent is asked to do. Empty means interactive.")
    mode: ModeChoice = Field(
        Mode.AUTO,
        description="How the harness treats the prompt: oneshot answers and exits, interactive stays, "
        "auto is the harness's own way.",
    )
    prompt_file: WrittenPath | None = Field(
        None,
        description="File with the prompt; wins over prompt. Relative to the file's folder, UTF-8, "
        "surrounding white space trimmed.",
    )
    workdir: WrittenPath | None = Field(
        None,
        description="Working directory; ~ and paths relative to the file's folder work. "
        "Default: /home/agent/workspace for the agent user agent, else the jcard's folder. With repo: a folder "
        "inside the repository or the agent's checkout of it; default: its root.",
    )
    repo: WrittenPath | None = Field(
        None, description="Git repository that the agent works in; ~ and paths relative to the file's folder work."
    )
    isolation: IsolationChoice = Field(
        Isolation.NONE,
        description="How the agent gets repo: none is the repository itself; worktree a git worktree and branch of its "
        "own, for each replica; read_only a checkout whose files are write-protected, with the harness's own "
        "read-only or plan mode.",
    )
    branch: Branch | None = Field(
        None,
        description="Branch of the agent's worktree, made where it is missing; with replicas followed by -0, -1 …. "
        "Default: agentd/NAME.",
    )
    base: Revision | None = Field(
        None,
        description="Branch, tag or commit that the worktree starts from, and that changes are shown against. "
        "Default: what repo has checked out.",
    )
    role: Name | None = Field(
        None,
        description="The agent's workdir is a workspace of this role: made from its templates where it is missing, and "
        "with today's daily note at every start.",
    )
    restart: RestartChoice = Field(_POLICY.restart, description="When an agent that ended is run again.")
    max_restarts: int = Field(
        _POLICY.max_restarts,
        ge=0,
        description="Restarts (not runs) allowed: 2 gives at most 3 runs. 0 is no limit.",
    )
    restart_delay: Duration = _duration_field(
        _POLICY.restart_delay, "First back-off before a restart; doubles with each restart, with 10 % jitter."
    )
    restart_delay_max: Duration = _duration_field(_POLICY.restart_delay_max, "Cap of the back-off.")
    restart_reset: Duration = _duration_field(
        _POLICY.restart_reset,
        "A run that lasted this long resets the back-off and what counts against max_restarts.",
    )
    success_exit_codes: list[ExitCode] = Field(
        list(_POLICY.success_exit_codes), description="Exit codes after which on-failure does not restart."
    )
    timeout: Duration | None = Field(
        None,
        description="Limit for the agent's whole life, restarts included; then it is stopped for good. "
        "Default, and 0s: no limit.",
    )
    grace_period: Duration = _duration_field(
        _POLICY.grace_period, "Time from the first stop signal until everything the agent started is killed."
    )
    session: Session | None = Field(
        None, description="Name of the agent's tmux session, unique. Default: the agent's name."
    )
    env: dict[EnvName, EnvValue] = Field(
        {},
        description="Environment variables; they win over secrets of the same name.",
        json_schema_extra={
            "propertyNames": {
                "pattern": whole(ENVIRONMENT_NAME),
                "not": {"enum": [AGENT_VARIABLE, RUN_ID_VARIABLE]},
            }
        },
    )
    ports: list[EnvName] = Field(
        [],
        description="Environment variables that give the agent a free port of its own each; it stays the same as long "
        "as the agent is declared. Each replica has its own.",
    )
    secrets: list[Secret] | None = Field(
        None,
        description="Names of the secrets that reach the agent. Default: all but the gateway's tokens. A table instead "
        "of a name grants a sandboxed agent with network none the use of a secret that it cannot read.",
    )
    replicas: int = Field(
        1,
        ge=0,
        le=MOST_REPLICAS,
        description="How many of this agent run; above 1 they are name-0, name-1 …, each with its own session. "
        "0 declares none.",
    )
    enabled: bool = Field(True, description="false: declared, but not run.")
    command: Command = Field(
        [],
        description="The command line of the harnesses custom and acp. For custom, {prompt} in it is replaced by the "
        "prompt; without it the prompt is the last argument.",
    )
    args: list[str] = Field([], description="Arguments added to what the harness builds, before the prompt.")
    model: Text | None = Field(None, description="Model to use, passed with the harness's own flag.")
    turns: bool = Field(
        True,
        description="Whether agentd watches what the agent does and asks: by options that it adds to the command line "
        "where an agent stays, and by the harness's own files. false: the command line as declared, and no activity.",
    )
    resume: bool | None = Field(
        None,
        description="Whether a run goes on with the conversation of the last one, by the coding agent's own resume; "
        "one that stays is not given its prompt again then. "
        'Default: true for an agent without a prompt that stays and has restart = "always", apply = "idle" or "ask"; '
        "else false.",
    )
    fork_from: ForkPoint | None = Field(
        None,
        description="CONVERSATION@TURN, by the coding agent's own ids: a run that goes on with no conversation begins "
        "with a fork of that one, up to the end of that turn; without @TURN, up to the last. The other one stays as it "
        "is. For claude-code, codex and opencode, where an agent stays.",
    )
    restarted_at: str | None = Field(
        None, description="Any change of it restarts the agent; agentctl restart writes the time here."
    )
    apply: ApplyChoice = Field(
        _POLICY.apply,
        description="When a change that needs a restart ends the running agent: now; idle, once its turn has ended, "
        "nobody is attached and its input box is empty; ask, once agentctl apply says so.",
    )
    apply_deadline: Duration | None = Field(
        None, description="How long such a change waits at most. Default, and 0s: as long as it takes."
    )
    applied_at: str | None = Field(
        None, description="Any change of it applies a change that waits; agentctl apply writes the time here."
    )
    after: list[After] = Field(
        [],
        description="Agents that must have ended before this one is launched: NAME:success, NAME:failure or NAME:end; "
        "NAME alone is NAME:success. The name of replicas is all of them. Until then it is queued.",
    )
    schedule: Cron | None = Field(
        None,
        description="When the agent is started, and only then: a cron expression, minute, hour, day of the month, "
        "month, day of the week; with six fields, the first is the second. Until then it is queued.",
    )
    time_zone: TimeZone | None = Field(
        None,
        description="Time zone of the schedule, by its name in the IANA database such as Europe/Berlin. "
        "Default: the machine's.",
    )
    catch_up: Duration = _duration_field(
        CATCH_UP,
        "How late a start of the schedule may be, such as after agentd or the machine was off; of several that were "
        "missed, the last is made.",
    )
    overlap: OverlapChoice = Field(
        Overlap.SKIP,
        description="What follows when a start of the schedule is due and the last run is not over: skip leaves the "
        "start out, queue makes it after that run, stop ends that run.",
    )
    priority: int = Field(
        _POLICY.priority,
        ge=-MOST_PRIORITY,
        le=MOST_PRIORITY,
        description="Where [limits] or [[pools]] have agents wait, those with a higher number are launched first. "
        "Nobody who runs is stopped for them.",
    )
    reap: Reap | None = Field(
        None,
        description='"idle:30m" ends processes that the agent has left behind, once it has been idle that long: those '
        "whose parents are gone, by SIGTERM and five seconds later SIGKILL, with an event for each. Never while a turn "
        "is under way, never servers that it talks to. Default: they stay.",
    )
    growth_notice: Size = Field(
        _POLICY.growth_notice or 0,
        description="Event processes_grew when the memory of the agent and all it starts has grown by this, at most "
        "once an hour. 0: never.",
    )
    memory: Memory | None = Field(
        None,
        description="Memory that the agent and all it starts may use together: KiB MiB GiB KB MB GB in any case, or "
        "bytes. Beyond it the kernel kills one of these processes. 0 is the default: no limit, "
        f"{format_size(SANDBOX_LIMITS.memory or 0)} for a sandboxed agent.",
    )
    memory_high: Memory | None = Field(
        None,
        description="Memory beyond which the agent is slowed down and its memory is taken back, before anything is "
        "killed. Default, and 0: no limit.",
    )
    pid_limit: PidLimit | None = Field(
        None,
        description="Processes and threads that the agent and all it starts may be at once. 0 is the default: no "
        f"limit, {SANDBOX_LIMITS.pid_limit} for a sandboxed agent.",
    )
    cpu: Cores | None = Field(
        None,
        description="Cores' worth of CPU time that the agent and all it starts may use together, such as 1.5. "
        "Default, and 0: no limit.",
    )
    on_oom: OnOomChoice | None = Field(
        None,
        description="What follows a run that ended because the kernel killed a process of it for lack of memory: "
        "restart runs it again, within max_restarts, stop does not. Default: what restart says.",
    )
    on_usage_limit: OnUsageLimit | None = Field(
        None,
        description="What follows when the running agent has hit its usage limit: wait has it go on once the limit has "
        "reset, stop ends it, notify is an event alone. A table also has jitter, max_resumes and hours. Default: "
        "nothing but its activity.",
    )
    budget: BudgetTable | None = Field(
        None,
        description="What the agent may use up: usd in a run and in a day, turns in a run, and what follows "
        "on_breach. Default: no limit.",
    )
    place: PlaceTable | None = Field(
        None,
        description="Where the agent may run in a fleet of hosts; one agentd by itself ignores it. Default: anywhere, "
        "on one slot.",
    )
    stall: StallTable | None = Field(
        None,
        description="What is done once the agent is at work and does not go on: model is how long it may wait for "
        "its model (10m), tool how long a tool may do nothing (30m), action what is tried then, in order: interrupt, "
        "resume, restart, notify. Default: nothing.",
    )
    extra_packages: list[Package] = Field(
        list(_SANDBOX.extra_packages),
        description="Packages of nixpkgs, such as ripgrep, that a sandboxed agent has first on its PATH; needs Nix.",
    )
    sandbox: SandboxChoice | None = Field(
        None, description="What a sandboxed agent's sandbox is made with. Default: what there is, bubblewrap first."
    )
    network: NetworkChoice = Field(
        _SANDBOX.network,
        description="What a sandboxed agent reaches over the network: host is all that the host does, none is only "
        "what network_allow and secrets name.",
    )
    network_allow: list[Destination] = Field(
        [],
        description="What a sandboxed agent with network none reaches all the same, through a proxy: host:port, where "
        "the host is a name, *.NAME for all names below one, an address or a network.",
    )
    read_only_paths: list[FullPath] = Field(
        [],
        description="Files and folders that a sandboxed agent may read although its sandbox hides them, such as those "
        "in a home; ~ and paths relative to the file's folder work.",
    )
    writable_paths: list[FullPath] = Field(
        [],
        description="Files and folders that a sandboxed agent may write beside its workdir; they must be there. "
        "~ and paths relative to the file's folder work.",
    )


UNSET_WHEN_EMPTY: Final = frozenset(AgentTable.model_fields) - {
    "env",
    "ports",
    "after",
    "secrets",
    "budget",
    "stall",
    "success_exit_codes",
    "command",
    "args",
    "extra_packages",
    "network_allow",
    "place",
    "read_only_paths",
    "writable_paths",
}
"""The scalar fields: an empty text leaves them at their default, since generated jcards write every field."""

CHECKOUT_FIELDS: Final = ("branch", "base")
"""Allowed with an ``isolation`` other than ``none`` only."""

PACKAGES_FIELD: Final = "extra_packages"
"""Refused without a sandbox unless empty: the agent would lack its programs."""

SANDBOX_FIELDS: Final = (
    PACKAGES_FIELD,
    *("sandbox", "network", "network_allow", "read_only_paths", "writable_paths"),
)
"""With an effect only on ``type = "sandboxed"``."""


def is_native(raw: Mapping[str, object]) -> bool:
    """Whether a table declares an agent without a sandbox."""
    return raw.get("type", AgentType.NATIVE) == AgentType.NATIVE


def meaningful(raw: Mapping[str, object]) -> Mapping[str, object]:
    """Leave out what has an effect only in a sandbox of a native agent."""
    if not is_native(raw):
        return raw
    return {field: value for field, value in raw.items() if field not in SANDBOX_FIELDS or field == PACKAGES_FIELD}

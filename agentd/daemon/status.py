"""What the API shows, read from the supervisor's memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TypeAlias

from agentd import __version__
from agentd.daemon.budget_status import budget_status
from agentd.daemon.configuration import ConfigFile, Configuration
from agentd.daemon.pass_watch import PassWatch
from agentd.files.looks import Looks
from agentd.files.zones import zone_of
from agentd.limits.held_run import Held
from agentd.model.limits import LIMIT_FIELDS
from agentd.model.plan_report import ObservedAgentView, PlannedOperation, PlannedResume, PlannedStart, PlanReport
from agentd.model.sandbox import SandboxStatus
from agentd.model.spec import LoadContext
from agentd.model.states import Activity, AgentState
from agentd.model.status import (
    NOT_READ_YET,
    AgentCounts,
    AgentStatus,
    BudgetStatus,
    ConfigFileStatus,
    ConfigStatus,
    Health,
    HeldChangeStatus,
    LimitsStatus,
    LimitStatus,
    QueuedStatus,
    Recording,
    RecordingHealth,
    SlowRead,
    StalledStatus,
    UsageLimitStatus,
)
from agentd.sandbox.granted import shown
from agentd.supervise.agent import Agent
from agentd.supervise.desired import SECRETS_PART, DesiredAgent
from agentd.supervise.hold_changes import held_parts, held_until, waiting_for
from agentd.supervise.host import Clock
from agentd.supervise.life import Life, Run
from agentd.supervise.plan import Action, Fingerprint, Operation
from agentd.supervise.ports import ports_of
from agentd.supervise.reconciler import Reconciler
from agentd.supervise.record import Description
from agentd.supervise.run_watcher import WatchedRun
from agentd.supervise.use import doing
from agentd.text.timestamps import rfc3339
from agentd.tmux.panes import Pane

_Shown: TypeAlias = tuple[
    Life,
    Description,
    int | None,
    float,
    str | None,
    Pane | None,
    Mapping[str, Held],
    WatchedRun | None,
    float | None,
    BudgetStatus | None,
]
"""All that a status is made from."""


@dataclass(slots=True)
class DaemonStatus:
    """Answers the API from the reconciler's agents."""

    reconciler: Reconciler
    clock: Clock
    config_path: str
    secret_dir: str
    state_dir: str
    agent_user: str
    context: LoadContext
    started: float
    """When the daemon started, monotonic."""
    stopping: Callable[[], bool]
    transcripts: Callable[[], RecordingHealth]
    journal: Callable[[], RecordingHealth]
    looks: Looks
    passes: PassWatch
    configuration: Configuration | None = None
    loaded_at: float | None = None
    """When the configuration in force was taken, wall clock."""
    _files: dict[Path, tuple[ConfigFile, ConfigFileStatus]] = field(default_factory=dict)
    _cached: dict[str, tuple[_Shown, AgentStatus]] = field(default_factory=dict)

    def take(self, configuration: Configuration) -> None:
        """Show this configuration from now on."""
        self.configuration = configuration
        now = self.clock.wall()
        before, self._files = self._files, {file.path: self._file(file, now) for file in configuration.files}
        if configuration.valid or any(
            file.valid and file is not before.get(path, (None,))[0] for path, (file, _) in self._files.items()
        ):
            self.loaded_at = now

    def _file(self, file: ConfigFile, now: float) -> tuple[ConfigFile, ConfigFileStatus]:
        """Show one file; what is as it was, with the time at which it was taken."""
        known = self._files.get(file.path)
        if known is not None and known[0] == file:
            return known
        if known is not None and known[0].in_force is file.in_force:
            loaded_at = known[1].loaded_at
        else:
            loaded_at = None if file.in_force is None else rfc3339(now)
        return file, ConfigFileStatus(
            path=str(file.path),
            valid=file.valid,
            error=file.error,
            warnings=file.warnings,
            agents=file.agents,
            loaded_at=loaded_at,
            digest=file.digest,
        )

    def health(self) -> Health:
        """The daemon itself."""
        states = [agent.life.state for agent in self.reconciler.agents.values()]
        configuration = self.configuration
        files = [status for _, status in self._files.values()]
        config = ConfigStatus(
            path=self.config_path,
            valid=configuration is not None and configuration.valid,
            error=NOT_READ_YET if configuration is None else configuration.error,
            warnings=() if configuration is None else configuration.warnings,
            loaded_at=None if self.loaded_at is None else rfc3339(self.loaded_at),
            digest=files[0].digest if files else None,
            files=files,
        )
        counts = AgentCounts(
            total=len(states),
            running=sum(state.live for state in states),
            failed=sum(state is AgentState.FAILED for state in states),
        )
        return Health(
            state="stopping" if self.stopping() else "running",
            uptime_seconds=int(self.clock.now() - self.started),
            version=__version__,
            pid=os.getpid(),
            config=config,
            agents=counts,
            recording=Recording(self.transcripts(), self.journal()),
            slow_reads=[SlowRead(look.path, int(look.seconds)) for look in self.looks.slow()],
            problem=self.passes.problem(),
        )

    def agents(self) -> Sequence[AgentStatus]:
        """All agents, sorted by name."""
        now, offset = self.clock.now(), self.clock.offset()
        held = self.reconciler.agents
        if self._cached.keys() - held.keys():
            self._cached = {name: cached for name, cached in self._cached.items() if name in held}
        return [self._status(held[name], now, offset) for name in sorted(held)]

    def _status(self, agent: Agent, now: float, offset: float) -> AgentStatus:
        """Describe an agent anew only if something changed: for 300 agents that took 3 of a request's 4 ms."""
        life, host = agent.life, agent.host
        run, name = life.run, life.name
        since = None if run is None or run.started is None else run.started
        problem = host.recorder.problem(name)
        uptime = None if since is None else int(now - since)
        held = host.groups.report(agent.run_id, life.policy.limits)
        watched = None if run is None else host.watcher.shown(run.id)
        start = host.scheduler.next_start(name)
        budget = self._budget(agent)
        state = life, agent.described, uptime, offset, problem, agent.pane, held, watched, start, budget
        cached = self._cached.get(name)
        # Tuples compare what is not the same object alone.
        if cached is not None and cached[0] == state:
            return cached[1]
        status = _status(agent, now, offset, self._sandbox(life.desired), held, watched, budget)
        self._cached[name] = state, status
        return status

    def agent(self, name: str) -> AgentStatus | None:
        """One agent, its name compared without regard to case."""
        found = self.reconciler.find(name)
        return None if found is None else self._status(found, self.clock.now(), self.clock.offset())

    def _budget(self, agent: Agent) -> BudgetStatus | None:
        budget, use = agent.life.policy.budget, agent.host.watcher.budget(agent.name)
        if budget is None and use is None:
            return None
        wall, zone = self.clock.wall(), zone_of(os.environ.get("TZ"))
        return budget_status(agent.name, agent.described.harness, budget, use, wall, zone)

    def _sandbox(self, desired: DesiredAgent | None) -> SandboxStatus | None:
        return None if desired is None else shown(desired.spec, self.context.data_dir, desired.secrets)

    def _sandboxes(self, operation: Operation) -> tuple[SandboxStatus | None, SandboxStatus | None]:
        """What an agent's sandbox will let it do, and what it does now."""
        there = self.reconciler.agents.get(operation.agent)
        declared = None if operation.action is Action.STOP else self.reconciler.declared(operation.agent)
        return self._sandbox(declared), None if there is None else self._sandbox(there.life.desired)

    def _starts(self, others: Collection[str]) -> Sequence[PlannedStart]:
        """Who is started by the clock, but for those of whom an operation tells."""
        scheduler = self.reconciler.host.scheduler
        times = ((scheduler.next_start(name), name) for name in self.reconciler.agents if name not in others)
        return [
            PlannedStart(name, rfc3339(time), f"its schedule is {scheduler.in_words(name)}")
            for time, name in sorted((time, name) for time, name in times if time is not None)
        ]

    def plan(self) -> PlanReport:
        """What the daemon would still do."""
        operations = [
            PlannedOperation(
                operation.action.value,
                operation.agent,
                operation.reason,
                operation.fields,
                self.reconciler.source(operation.agent),
                *self._sandboxes(operation),
                operation.waits,
            )
            for operation in self.reconciler.pending()
        ]
        observed = [
            ObservedAgentView(
                name=agent.name,
                state=agent.life.state.value,
                launch=_shown(agent.life.fingerprint),
                policy=asdict(agent.life.policy),
                source=agent.described.source,
                sandbox=self._sandbox(agent.life.desired),
                use=_use(agent),
                ports={} if (declared := agent.life.declared) is None else ports_of(declared.spec),
            )
            for _, agent in sorted(self.reconciler.agents.items())
        ]
        waiting = [
            (limited.due, agent.name, limited.why or "")
            for agent in self.reconciler.agents.values()
            if (limited := agent.life.limited) is not None and limited.due is not None
        ]
        return PlanReport(
            operations=operations,
            starts=self._starts({operation.agent for operation in operations}),
            resumes=[PlannedResume(name, rfc3339(due), why) for due, name, why in sorted(waiting)],
            observed=observed,
            digest_key=self.reconciler.panes.digest_key.hex(),
            agent_user=self.agent_user,
            home=str(self.context.home),
            default_workdir=str(self.context.default_workdir),
            data_dir=str(self.context.data_dir),
            secrets=None if self.configuration is None else sorted(self.configuration.secret_names),
            secret_dir=self.secret_dir,
            state_dir=self.state_dir,
        )


def _shown(fingerprint: Fingerprint | None) -> dict[str, str] | None:
    """The digests that a client can compare; that of the secrets could only serve to test guesses."""
    if fingerprint is None:
        return None
    return {part: digest for part, digest in fingerprint.items() if part != SECRETS_PART}


def _status(
    agent: Agent,
    now: float,
    offset: float,
    sandbox: SandboxStatus | None,
    held: Mapping[str, Held],
    watched: WatchedRun | None,
    budget: BudgetStatus | None,
) -> AgentStatus:
    life, described = agent.life, agent.described
    run, ended, state = life.run, life.last_exit, life.state
    live = state.live and run is not None and run.ended is None
    running_since = run.started if live and run is not None else None
    deadline, pane = life.deadline, agent.pane
    start = agent.host.scheduler.next_start(life.name)
    doing = _doing(run, watched) if live else None
    return AgentStatus(
        name=life.name,
        running=state.live,
        session=described.session,
        restarts=life.restarts,
        type=described.type,
        harness=described.harness,
        state=state.value,
        pid=run.pid if live and run is not None else None,
        started_at=None if run is None or run.started_wall is None else rfc3339(run.started_wall),
        uptime_seconds=0 if running_since is None else max(0, int(now - running_since)),
        exit_code=None if ended is None else ended.code,
        exit_signal=None if ended is None else ended.signal,
        exit_reason=None if ended is None else ended.reason,
        oom_kills=0 if run is None else run.oom_kills,
        error=life.error,
        next_restart_at=None if life.due is None else rfc3339(life.due + offset),
        deadline=None if deadline is None else rfc3339(deadline + offset),
        workdir=described.workdir,
        limits=_shown_limits(held),
        model=None if life.desired is None else life.desired.spec.model,
        command=None if life.desired is None else next(iter(life.desired.spec.command), None),
        worktree=described.worktree,
        sandbox=sandbox,
        recording=agent.host.recorder.problem(agent.name),
        pane=None if pane is None else pane.pane_id,
        pane_pid=None if pane is None else pane.pid,
        owner=described.owner,
        source=described.source,
        activity=None if doing is None else doing.activity.value,
        activity_since=None if doing is None else rfc3339(doing.since),
        activity_source=None if doing is None else doing.source,
        activity_text=None if doing is None else doing.text,
        conversation=None if doing is None else doing.conversation,
        usage_limit=_usage_limit(life) if live else None,
        stalled=_stalled(life) if live else None,
        budget=budget,
        ports={} if life.desired is None else ports_of(life.desired.spec),
        held_change=_held_change(life),
        queued=_queued(life),
        next_start_at=None if start is None else rfc3339(start),
        priority=life.policy.priority,
    )


def _use(agent: Agent) -> tuple[str, ...]:
    if agent.life.state is not AgentState.RUNNING:
        return ()
    hold = agent.life.hold
    return doing(agent.host, agent.life) if hold is None or hold.use is None else hold.use


def _held_change(life: Life) -> HeldChangeStatus | None:
    hold = life.hold
    if hold is None or life.held is None:
        return None
    until = held_until(life)
    return HeldChangeStatus(
        since=rfc3339(hold.since_wall),
        fields=held_parts(life),
        apply=life.policy.apply.value,
        waits=waiting_for(life),
        apply_at=None if until is None else rfc3339(until),
    )


def _queued(life: Life) -> QueuedStatus | None:
    queued = None if life.desired is None or life.state is not AgentState.QUEUED else life.desired.queued
    return None if queued is None else QueuedStatus(queued.place, queued.reason, rfc3339(queued.since))


def _stalled(life: Life) -> StalledStatus | None:
    stalled = life.stalled
    if stalled is None:
        return None
    actions = () if life.policy.stall is None else life.policy.stall.action
    left = actions[stalled.taken :]
    return StalledStatus(
        since=rfc3339(stalled.since),
        phase=stalled.phase.value,
        reason=stalled.why,
        action=stalled.action.value,
        tried=stalled.taken,
        next=left[0].value if left else None,
    )


def _usage_limit(life: Life) -> UsageLimitStatus | None:
    limited, policy = life.limited, life.policy.on_usage_limit
    if limited is None or limited.hit is None:
        return None
    hit = limited.hit
    return UsageLimitStatus(
        since=rfc3339(hit.at),
        resets_at=None if hit.resets_at is None else rfc3339(hit.resets_at),
        source=hit.source,
        action=None if policy is None else policy.action.value,
        resume_at=None if limited.due is None else rfc3339(limited.due),
        resumes=limited.resumes,
        reason=limited.why,
    )


def _shown_limits(held: Mapping[str, Held]) -> LimitsStatus | None:
    limits = {name: LimitStatus(each.value, each.peak, each.enforced_by, each.reason) for name, each in held.items()}
    return LimitsStatus(**{name: limits.get(name) for name in LIMIT_FIELDS}) if limits else None


def _doing(run: Run | None, watched: WatchedRun | None) -> WatchedRun | None:
    """What an agent does; where nobody watches, its process alone is known."""
    if run is None or run.started_wall is None or run.ended is not None:
        return None
    return watched or WatchedRun(Activity.UNKNOWN, run.started_wall, "process", None, None)

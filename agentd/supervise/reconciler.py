"""The reconciler: holds all agents, reconciles desired with observed state, and adopts what it finds.

Level-triggered: each pass computes from the whole state, so a lost event costs one resync, never correctness. A pass
only tells agents what is declared; every agent then converges by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence

import structlog

from agentd.jcard.unknown import UnknownSources
from agentd.launch.census import Census
from agentd.model.capacity import Capacity
from agentd.model.events import Event, EventKind
from agentd.model.pool import OWNER, PoolDeclaration
from agentd.model.spec import AgentSpec
from agentd.model.states import AgentState
from agentd.sandbox.covering import Boxed, is_boxed
from agentd.sandbox.egress.service import Running
from agentd.supervise.admission import Admission
from agentd.supervise.adoption import Adoption
from agentd.supervise.agent import Agent
from agentd.supervise.applying import STARTS
from agentd.supervise.desired import DesiredAgent
from agentd.supervise.hooks import Hooks
from agentd.supervise.host import Host
from agentd.supervise.life import Life, StopReason
from agentd.supervise.pane_observer import PaneObserver
from agentd.supervise.path_looks import PathLooks
from agentd.supervise.plan import Action, Operation, plan
from agentd.supervise.record import Description
from agentd.supervise.watching import declared_agent
from agentd.supervise.worker_policies import by_account, facts_of, provider_of

log = structlog.get_logger(__name__)

_JUDGED = (AgentState.QUEUED, AgentState.BACKOFF)


class Reconciler:
    """All agents, and the passes that reconcile them with what is declared.

    Parameters
    ----------
    make_host
        Makes what all agents share, which needs to ask the reconciler.
    on_pass
        Told how many seconds each pass took.
    """

    def __init__(self, make_host: Callable[[Hooks], Host], on_pass: Callable[[float], None]) -> None:
        self._on_pass = on_pass
        self.agents: dict[str, Agent] = {}
        self._desired: dict[str, DesiredAgent] | None = None
        self._scheduled: Mapping[str, DesiredAgent] = {}
        """What is declared, as its schedules have it."""
        self._sandboxed: set[str] = set()
        """Agents that were declared with a sandbox: each launch and each pass asks for them, and most have none."""
        self._unknown = UnknownSources()
        self._left_alone: list[str] = []
        self._settled: object = None
        """What the last pass went by, if nothing was to be done."""
        self._closing = False
        self._next_pass: asyncio.Handle | None = None
        self._empty = asyncio.Event()
        self.host = host = make_host(
            Hooks(self._specs, self._boxed, self._served, self._look_for_oom, self._state_changed, self.reconcile)
        )
        self._admission = Admission(holds=lambda name: host.watcher.launch_hold(name))  # noqa: PLW0108 (it changes)
        self.panes, self.paths = PaneObserver(host, self.agents), PathLooks(host, self.agents)

    def find(self, name: str) -> Agent | None:
        """An agent by its name, compared without regard to case."""
        exact = self.agents.get(name)
        if exact is not None:
            return exact
        folded = name.lower()
        return next((agent for agent in self.agents.values() if agent.name.lower() == folded), None)

    def _with_sandbox(self) -> Iterable[Agent]:
        return [self.agents[name] for name in self._sandboxed & self.agents.keys()]

    def _boxed(self) -> Iterable[Boxed]:
        lives = [agent.life for agent in self._with_sandbox()]
        return [
            Boxed(life.desired.spec, life.run.pid)
            for life in lives
            if life.desired is not None
            and life.run is not None
            and life.run.pid is not None
            and life.run.ended is None
            and is_boxed(life.desired.spec)
        ]

    def _specs(self) -> Iterable[AgentSpec]:
        return [desired.spec for desired in (self._desired or {}).values()]

    def _served(self) -> Iterable[Running]:
        return [served for agent in self._with_sandbox() if (served := agent.served) is not None]

    # -- adoption

    async def adopt(self, census: Census) -> None:
        """Adopt what former daemons left; called once, before the first pass.

        Parameters
        ----------
        census
            What lives of it.

        Raises
        ------
        TmuxError, TmuxUnreachableError
            If the server cannot be asked.
        """
        same_server = await self.panes.take_over()
        await Adoption(self.host, self.agents, self._add, census).take_over(same_server=same_server)
        if self.agents:
            # Whether what they print is still recorded.
            self.host.tmux.changed.set()

    def _add(self, life: Life, described: Description) -> Agent:
        agent = Agent(self.host, life, described, self._forget)
        self.agents[life.name] = agent
        self._empty.clear()
        return agent

    def _forget(self, agent: Agent) -> None:
        if self.agents.get(agent.name) is agent:
            del self.agents[agent.name]
        agent.forget()
        if not self._closing:
            worktree = agent.described.worktree
            # It stays: work may be in it.
            stays = {} if worktree is None else {"worktree": worktree.path}
            log.info("agent_removed", agent=agent.name, **stays)
            self.host.emit(Event(EventKind.REMOVED, agent.name, None, agent.described.named_source))
        if not self.agents:
            self._empty.set()
        self._state_changed(None)

    def _state_changed(self, state: AgentState | None) -> None:
        """Make a pass soon if an agent waits for a slot: there may be one."""
        waits = self._admission.waits or self.host.scheduler.waits or state in _JUDGED
        if self._next_pass is None and waits and not self._closing:
            self._next_pass = asyncio.get_running_loop().call_soon(self._pass_now)

    def _pass_now(self) -> None:
        self._next_pass = None
        self.reconcile()

    # -- passes

    def declare(
        self,
        desired: Iterable[DesiredAgent],
        unknown: UnknownSources,
        pool: PoolDeclaration | None = None,
        capacity: Capacity | None = None,
    ) -> None:
        """Take a new desired state and make a pass.

        Parameters
        ----------
        desired
            The agents that are declared.
        unknown
            Files of which that is not known: what they declared before is left as it is.
        pool
            What holds for workers; ``None`` is what held before.
        capacity
            How many agents run at once; ``None`` is any number.
        """
        self._admission.pool = pool or self._admission.pool
        self._admission.capacity = capacity
        self._desired = {agent.spec.name: agent for agent in desired}
        self._unknown = unknown
        boxed = {name for name, agent in self._desired.items() if is_boxed(agent.spec)}
        # One that is declared no longer, or without its sandbox, may run on for a while.
        self._sandboxed = boxed | (self._sandboxed & self.agents.keys())
        for agent in self._desired.values():
            self.host.accounts.belongs(agent.spec.name, provider_of(agent.spec))
        told = [declared_agent(self.host, agent) for agent in self._desired.values()]
        self.host.watcher.declared(told, all_known=not unknown.covers(None))
        undeclared = (agent for name, agent in self.agents.items() if name not in self._desired)
        left = sorted(agent.name for agent in undeclared if unknown.covers(agent.described.source))
        if left and left != self._left_alone:
            log.warning("agents_left_alone", agents=left, reason="what their file declares is not known")
        self._left_alone = left
        self.reconcile()

    def plan_for(self, desired: Iterable[DesiredAgent], unknown: UnknownSources) -> Sequence[Operation]:
        """Plan for a desired state, as `declare` takes it."""
        wanted = {agent.spec.name: agent.view for agent in desired}
        observed = [
            agent.life.view
            for name, agent in self.agents.items()
            if name in wanted or not unknown.covers(agent.described.source)
        ]
        return plan(wanted.values(), observed, self.host.clock.now())

    def pending(self) -> Sequence[Operation]:
        """What is still to be done; nothing while no configuration was read."""
        return () if self._desired is None else self.plan_for(self._admitted().values(), self._unknown)

    def _admitted(self) -> Mapping[str, DesiredAgent]:
        """What is declared, of those that must wait with the reason."""
        accounts, pool = self.host.accounts, self._admission.pool
        now = self.host.clock.wall()
        return self._admission.admit(
            self._scheduled,
            self._lives(),
            now,
            {name for name, agent in self.agents.items() if agent.described.owner == OWNER},
            lambda provider: by_account(accounts.account(provider), pool, now),
        )

    def _lives(self) -> Mapping[str, Life]:
        return {name: agent.life for name, agent in self.agents.items()}

    def declared(self, name: str) -> DesiredAgent | None:
        """An agent as it is declared."""
        return None if self._desired is None else self._desired.get(name)

    def source(self, name: str) -> str | None:
        """The file that declares an agent, or did last."""
        declared = self.declared(name)
        if declared is not None:
            return Description.of(declared.spec).source
        agent = self.agents.get(name)
        return None if agent is None else agent.described.source

    def reconcile(self) -> None:
        """Make one pass: give each agent that is not as declared its declaration."""
        if self._closing or self._desired is None:
            return
        begun = self.host.clock.now()
        self._scheduled = self.host.scheduler.apply(
            self._desired, self._lives, all_known=not self._unknown.covers(None)
        )
        if self._seen() != self._settled:
            self._make_pass()
        self.host.egress.converge()
        self._on_pass(self.host.clock.now() - begun)

    def _seen(self) -> object:
        """All that a pass goes by: of 300 agents, comparing it takes 0.03 ms, and a pass 1."""
        agents = [(agent.name, agent.life, agent.described, agent.unrecorded) for agent in self.agents.values()]
        return self._scheduled, self._unknown, agents

    def _make_pass(self) -> None:
        assert self._desired is not None
        seen = self._seen()
        for name, agent in self.agents.items():
            if agent.unrecorded and (declared := self._desired.get(name)) is not None:
                agent.assume(declared)
        admitted = self._admitted()
        operations = self.plan_for(admitted.values(), self._unknown)
        for operation in operations:
            self._execute(operation, admitted.get(operation.agent))
        for name, desired in self._desired.items():
            if not desired.spec.enabled and name not in self.agents:
                self._declare(Life(name, AgentState.DISABLED), desired, "disabled")
        for name, agent in self.agents.items():
            # An adopted agent that is as declared needs no operation, but its declaration for the next launch.
            declared = admitted.get(name)
            if declared is not None and declared.spec.enabled and agent.life.declared is not declared:
                agent.define(declared)
        # A pass with nothing to do has nothing to do again.
        self._settled = None if operations or self._seen() != seen else seen

    def _execute(self, operation: Operation, desired: DesiredAgent | None) -> None:
        agent = self.agents.get(operation.agent)
        if operation.action is Action.STOP:
            assert agent is not None
            if agent.life.stop is None:
                log.info("plan", action=operation.action, agent=operation.agent, reason=operation.reason)
            if desired is not None:
                agent.describe(desired)
            agent.withdraw(StopReason.DISABLED if desired is not None else StopReason.REMOVED)
            return
        assert desired is not None
        known = agent is not None
        if agent is None:
            agent = self._declare(Life(operation.agent), desired, None)
        if agent.life.declared is not desired:
            # Its state shows that an agent is launched; for anything else the reason is news.
            tell = log.debug if operation.action is Action.START else log.info
            tell("plan", action=operation.action, agent=operation.agent, reason=operation.reason)
            if known and agent.life.state is not AgentState.QUEUED and STARTS.keys().isdisjoint(operation.fields):
                source = Description.of(desired.spec).named_source
                data = {"action": operation.action.value, "fields": operation.fields, **source}
                self.host.emit(Event(EventKind.CHANGED, operation.agent, operation.reason, data))
        agent.define(desired)

    def _declare(self, life: Life, desired: DesiredAgent, reason: str | None) -> Agent:
        described = Description.of(desired.spec)
        self.host.emit(
            Event(
                EventKind.DECLARED,
                life.name,
                reason,
                {"state": life.state.value, **facts_of(desired.spec), **described.named_source},
            )
        )
        return self._add(life, described)

    # -- observation

    def restore_records(self) -> int:
        """Write missing files of the runtime directory again; says of how many runs."""
        present = self.host.runtime.file_names()
        return sum(agent.restore_files(present) for agent in list(self.agents.values()))

    def _look_for_oom(self, run_id: str) -> None:
        for agent in self.agents.values():
            if agent.run_id == run_id:
                agent.look_for_oom(run_id)

    # -- the end

    async def shut_down(self) -> None:
        """Stop every agent gracefully, in parallel, and wait until nothing of them is left."""
        self._closing = True
        self.host.runtime.announce_closing()
        for agent in list(self.agents.values()):
            agent.withdraw(StopReason.SHUTDOWN)
        if self.agents:
            await self._empty.wait()

    def kill_now(self) -> None:
        """End every stop under way without grace."""
        for agent in list(self.agents.values()):
            agent.kill_now()

    async def close(self) -> None:
        """Release the agents without touching what runs."""
        self._closing = True
        self.host.scheduler.close()
        await self.paths.close()
        await self.host.egress.close()
        await asyncio.gather(*(agent.close() for agent in self.agents.values()))
        await asyncio.gather(*(agent.record() for agent in self.agents.values()))
        await self.host.reaper.close()

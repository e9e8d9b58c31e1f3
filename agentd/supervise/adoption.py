"""Adoption of what a former daemon left on the tmux server, in the runtime directory and among the processes.

A run is adopted by its record. Where somebody removed that, by its processes: its launcher stands in a pane of ours,
and its id and its agent's name are in the environment of all that it started. What was known only to the record is then
said to be unknown, and the run goes on. What is ours and cannot be adopted is ended before anything is launched.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import structlog

from agentd.launch.census import Census, LivingRun
from agentd.launch.script_path import launched_run
from agentd.model.events import Event, EventKind
from agentd.model.limits import Limits
from agentd.model.states import AgentState
from agentd.process.identity import ProcessIdentity
from agentd.process.proc import PROC, children_of
from agentd.process.reaper import ProcessTree
from agentd.supervise.agent import Agent
from agentd.supervise.host import Host
from agentd.supervise.life import Life, Run
from agentd.supervise.record import VERSION, Description, Record, RecordError
from agentd.supervise.record_check import believable, is_agent_name
from agentd.supervise.record_keeper import ENDED_PREFIX
from agentd.tmux.panes import ListedPane

log = structlog.get_logger(__name__)

_FORGOTTEN = (
    "its record was removed: restarts count from 0 and its timeout from this run on; it is taken to be as declared"
)


class Adoption:
    """Adopts what there is; used once, before the first pass.

    Parameters
    ----------
    agents
        Those taken over so far, which `add` adds to.
    census
        What lives.
    """

    def __init__(
        self,
        host: Host,
        agents: Mapping[str, Agent],
        add: Callable[[Life, Description], Agent],
        census: Census,
    ) -> None:
        self._host = host
        self._agents = agents
        self._add = add
        self._living = census.runs

    async def take_over(self, *, same_server: bool) -> None:
        """Adopt, end what cannot be adopted, and remove what is written of it.

        Parameters
        ----------
        same_server
            Whether the tmux server is one that a former daemon used.

        Raises
        ------
        TmuxError, TmuxUnreachableError
            If the server cannot be asked.
        """
        tmux, runtime = self._host.tmux, self._host.runtime
        for listed in await tmux.list_launched_panes():
            run_id = launched_run(listed.command)
            if run_id is not None and (run_id in self._living or runtime.has_record(run_id)):
                self._adopt_pane(listed, run_id)
        for text in await tmux.list_globals(ENDED_PREFIX):
            self._adopt_ended(text)
        runs = {agent.run_id for agent in self._agents.values() if agent.run_id is not None}
        groups = self._host.groups
        lost = (runtime.run_ids() | self._living.keys() | groups.left()) - runs
        if lost:
            # Their sessions are gone, but something they started may live, and would live beside the next run.
            survivors = await asyncio.gather(*(self._end(run_id) for run_id in lost))
            if any(survivors):
                log.error("processes_survive_sigkill", pids=sorted(set().union(*survivors)))
        if same_server:
            runs |= self._adopt_lost(lost)
        runtime.remove_all_but(runs)

    async def _end(self, run_id: str) -> set[int]:
        living, groups = self._living.get(run_id), self._host.groups
        processes = frozenset() if living is None else living.processes
        # With a process it is found wherever it was made; otherwise where this daemon would make it.
        groups.find(run_id, next((process.pid for process in processes), None), 0, Limits())
        if living is not None:
            log.warning("run_ended", run=run_id, agent=living.agent, reason="it could not be taken over")
        survivors = await self._host.reaper.end(ProcessTree(run_id, None, processes))
        if not survivors:
            await groups.remove(run_id)
            groups.forget(run_id)
        return survivors

    def _adopt_pane(self, listed: ListedPane, run_id: str) -> None:
        living = self._living.get(run_id)
        try:
            record = believable(Record.parse(self._host.runtime.read_record(run_id) or ""))
        except RecordError as error:
            if living is None or living.agent is None:
                self._not_adopted(listed.session, None, str(error))
                return
            record = _recalled(living, living.agent, listed, self._host.clock.now())
            if not is_agent_name(record.agent):
                self._not_adopted(listed.session, None, str(error))
                return
        if record.agent in self._agents:
            self._not_adopted(listed.session, record.agent, "another one is the agent's")
            return
        recalled = record.fingerprint is None and not record.described.harness
        if living is not None:
            self._report_again(living)
        agent = self._add(record.life(session_open=True), record.described)
        became_shell = living is not None and listed.pane.pid in {process.pid for process in living.marked}
        agent.adopt(listed.pane, record.described.session, run_id, ended=became_shell)
        if recalled:
            agent.record_lost(_FORGOTTEN)

    def _report_again(self, living: LivingRun) -> None:
        """Write the launcher's report of the agent's process again where it was removed."""
        process = _agent_process(living)
        if process is not None:
            try:
                self._host.runtime.report_process(living.run_id, process)
            except OSError as error:
                log.warning("launcher_report_not_restored", run=living.run_id, reason=error.strerror)

    def _adopt_lost(self, run_ids: Iterable[str]) -> set[str]:
        """Adopt agents whose session was closed while there was no daemon, from their records; returns their runs."""
        records: list[Record] = []
        for run_id in run_ids:
            text = self._host.runtime.read_record(run_id)
            try:
                records += [] if text is None else [believable(Record.parse(text))]
            except RecordError as error:
                log.error("agent_record_unreadable", reason=str(error))
        held = {agent.run_id for agent in self._agents.values()}
        taken: set[str] = set()
        # A daemon that ended in the middle of a restart left two records; the later one has the higher count.
        for record in sorted(records, key=lambda each: (each.began or 0.0, each.restarts), reverse=True):
            if record.run is None or record.run.id in held or record.agent in self._agents:
                continue
            agent = self._add(record.life(session_open=False), record.described)
            agent.adopt_lost(record.described.session)
            taken.add(record.run.id)
        return taken

    def _not_adopted(self, session: str, agent: str | None, reason: str) -> None:
        log.error("session_not_adopted", session=session, agent=agent, reason=reason)
        self._host.emit(Event(EventKind.NOT_ADOPTED, agent, reason, {"session": session}))

    def _adopt_ended(self, text: str) -> None:
        try:
            record = believable(Record.parse(text))
        except RecordError as error:
            log.error("agent_record_unreadable", reason=str(error))
            return
        if record.agent not in self._agents and record.state.ended:
            self._add(record.life(session_open=False), record.described).remember(text)


def _agent_process(living: LivingRun) -> ProcessIdentity | None:
    """The agent's own process: what its launcher, which executes the script, has started."""
    if living.launcher is None:
        return None
    children = set(children_of(living.launcher.pid))
    return next((process for process in living.marked if process.pid in children), None)


def _recalled(living: LivingRun, agent: str, listed: ListedPane, now: float) -> Record:
    """Describe a run by what its processes tell."""
    process = _agent_process(living)
    try:
        workdir = str(Path(f"{PROC}/{listed.pane.pid if process is None else process.pid}/cwd").readlink())
    except OSError:
        workdir = ""
    return Record(
        v=VERSION,
        agent=agent,
        described=Description("", "native", listed.session, workdir),
        state=AgentState.STARTING,
        run=Run(living.run_id),
        began=now - (0.0 if process is None else process.age()),
    )

"""Reads the values of /metrics from the supervisor's memory when they are asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from agentd import __version__
from agentd.daemon.process_watch import ProcessWatch, trees_of
from agentd.daemon.status import DaemonStatus
from agentd.model.states import Activity, AgentState
from agentd.otel.exporter import Exporter
from agentd.recording.metrics.answer import Readings
from agentd.recording.metrics.measures import (
    AGENT_STATE,
    AGENTS,
    BUILD,
    CONFIG_VALID,
    RECONCILING,
    RECORDING_BYTES,
    RECORDING_LOST,
    RECORDING_OK,
    Family,
)


@dataclass(slots=True)
class DaemonMeasures:
    """Reads what there is to measure."""

    status: DaemonStatus
    processes: ProcessWatch
    exporter: Exporter

    def read(self) -> Readings:
        """What there is at this moment; 1 ms for 300 agents."""
        reconciler = self.status.reconciler
        agents = sorted(reconciler.agents)
        return Readings(tuple(self._families()), agents, tuple(trees_of(reconciler)), reconciler.host.reaper.server)

    def _families(self) -> Iterator[Family]:
        agents = self.status.reconciler.agents
        states = Counter(agent.life.state for agent in agents.values())
        health = self.status.health()
        yield Family(BUILD, {(__version__,): 1})
        yield Family(CONFIG_VALID, {(): health.config.valid})
        yield Family(RECONCILING, {(): health.problem is None})
        activities = Counter(each.activity for each in self.status.agents() if each.activity is not None)
        counted: dict[tuple[str, ...], float] = {(state.value, ""): states[state] for state in AgentState}
        yield Family(AGENTS, counted | {("", each.value): activities[each.value] for each in Activity})
        yield Family(AGENT_STATE, {(name, agent.life.state.value): 1 for name, agent in sorted(agents.items())})
        parts = {"journal": health.recording.journal, "transcripts": health.recording.transcripts}
        kept = {(name,): part for name, part in parts.items() if part.state != "off"}
        yield Family(RECORDING_OK, {labels: part.state == "ok" for labels, part in kept.items()})
        yield Family(RECORDING_BYTES, {labels: part.bytes for labels, part in kept.items()})
        yield Family(RECORDING_LOST, {labels: part.lost for labels, part in kept.items()})
        yield from self.processes.families()
        yield self.exporter.outcomes()

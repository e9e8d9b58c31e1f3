"""OpenCode, watched: its server tells all, asked by its port, or where that cannot be by a plugin."""

from __future__ import annotations

from dataclasses import dataclass

from agentd.harness.additions import Additions, LaunchFacts
from agentd.turns.adapter import Granularity, Ground, LiveRun, Voice, Watch
from agentd.turns.one_turn import OneTurnWatch
from agentd.turns.opencode import launch
from agentd.turns.opencode.plugin import Plugin
from agentd.turns.opencode.port import Port
from agentd.turns.opencode.record import record_of
from agentd.turns.opencode.server import Server
from agentd.turns.opencode.watch import OpenCodeWatch


@dataclass(frozen=True, slots=True)
class OpenCodeAdapter:
    """The adapter of the harness ``opencode``."""

    granularity: Granularity = Granularity.TOKEN

    def additions(self, facts: LaunchFacts) -> Additions:
        """Have it serve on a port of loopback."""
        return launch.additions(facts)

    def watch(self, run: LiveRun, voice: Voice, ground: Ground) -> Watch:
        """Watch a run."""
        if run.facts.stays:
            plugin = Plugin() if launch.PLUGIN in run.memo else None
            door = plugin or _port(run)
            return OpenCodeWatch(run, voice, ground, _server=None if door is None else Server(door), _plugin=plugin)
        return OneTurnWatch(run, voice, ground, record_of(run, ground), on_screen=launch.ONE_TURN not in run.memo)


OPENCODE = OpenCodeAdapter()


def _port(run: LiveRun) -> Port | None:
    port, password = run.memo.get(launch.PORT, ""), run.memo.get(launch.PASSWORD)
    if not port.isdecimal() or password is None:
        return None
    return Port(int(port), password, run.process.pid if launch.GIVEN in run.memo else None)

"""Codex, watched: by its own server, which its terminal program talks to; without one, by its rollout file."""

from __future__ import annotations

from dataclasses import dataclass

from agentd.harness.additions import Additions, LaunchFacts
from agentd.turns.adapter import Granularity, Ground, LiveRun, Voice, Watch
from agentd.turns.codex import launch
from agentd.turns.codex.by_rollout import RolloutWatch, sessions_of
from agentd.turns.codex.by_server import ServerWatch
from agentd.turns.codex.dialogs import Dialogs
from agentd.turns.codex.one_turn import CodexRecord
from agentd.turns.one_turn import OneTurnWatch
from agentd.turns.reading import Reading


@dataclass(frozen=True, slots=True)
class CodexAdapter:
    """The adapter of the harness ``codex``."""

    granularity: Granularity = Granularity.TOKEN

    def additions(self, facts: LaunchFacts) -> Additions:
        """Have a server started beside the terminal program."""
        return launch.additions(facts)

    def watch(self, run: LiveRun, voice: Voice, ground: Ground) -> Watch:
        """Watch a run."""
        if not run.facts.stays:
            born = ground.wall() - run.process.age()
            reading = Reading.of(run, ground)
            sessions = sessions_of(run)
            inside = run.facts.inside(sessions)
            record = CodexRecord(sessions, str(run.facts.workdir), run.process.pid, born, reading, inside)
            return OneTurnWatch(run, voice, ground, record)
        rollout = RolloutWatch(run, voice, ground, Dialogs(voice, run.terminal, ground))
        return ServerWatch(run, voice, ground, rollout) if launch.SERVER in run.memo else rollout


CODEX = CodexAdapter()

"""Gemini CLI, watched: its session file tells the turns, the screen whose move it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from agentd.harness.additions import Additions, LaunchFacts
from agentd.turns.adapter import Granularity, Ground, LiveRun, Voice, Watch
from agentd.turns.gemini import launch
from agentd.turns.gemini.one_turn import GeminiRecord
from agentd.turns.gemini.watch import GeminiWatch
from agentd.turns.one_turn import OneTurnWatch
from agentd.turns.reading import Reading


@dataclass(frozen=True, slots=True)
class GeminiAdapter:
    """The adapter of the harness ``gemini-cli``."""

    granularity: Granularity = Granularity.MESSAGE

    def additions(self, facts: LaunchFacts) -> Additions:
        """Name the conversation."""
        return launch.additions(facts)

    def watch(self, run: LiveRun, voice: Voice, ground: Ground) -> Watch:
        """Watch a run."""
        if run.facts.stays:
            return GeminiWatch(run, voice, ground)
        home = Path(run.memo.get(launch.HOME) or run.facts.home)
        record = GeminiRecord(home, str(run.facts.workdir), ground.wall() - run.process.age(), Reading.of(run, ground))
        return OneTurnWatch(run, voice, ground, record, on_screen=bool(run.memo.get(launch.SCREEN)))


GEMINI = GeminiAdapter()

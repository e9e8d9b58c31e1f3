"""The adapter of Claude Code: how it is launched, and who watches a run of it."""

from __future__ import annotations

from dataclasses import dataclass

from agentd.harness.additions import Additions, LaunchFacts
from agentd.turns.adapter import Granularity, Ground, LiveRun, Voice, Watch
from agentd.turns.claude import launch
from agentd.turns.claude.one_turn import ClaudeRecord
from agentd.turns.claude.watch import ClaudeWatch
from agentd.turns.one_turn import OneTurnWatch


@dataclass(frozen=True, slots=True)
class ClaudeAdapter:
    """The adapter of the harness ``claude-code``."""

    granularity: Granularity = Granularity.LINE

    def additions(self, facts: LaunchFacts) -> Additions:
        """Set hooks, and name the conversation."""
        return launch.additions(facts)

    def watch(self, run: LiveRun, voice: Voice, ground: Ground) -> Watch:
        """Watch a run."""
        if run.facts.stays:
            return ClaudeWatch(run, voice, ground)
        return OneTurnWatch(run, voice, ground, ClaudeRecord.of(run, ground))


CLAUDE = ClaudeAdapter()

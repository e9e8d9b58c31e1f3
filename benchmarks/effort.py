"""How much is measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured."""

    rounds: int
    """Starts and stops of everything, with the first number of agents."""
    rounds_more: int
    """The same with more agents."""
    additions: int
    exits: int
    idle_seconds: float
    api_seconds: float
    commands: int
    """Runs of ``agentctl status``."""
    events: int
    """Told to followers at once."""
    looks: int
    """At the agents' processes, 15 s apart."""
    recordings: int
    """Times that all agents print, recorded and not."""
    recording_seconds: float


FULL = Effort(rounds=5, rounds_more=3, additions=20, exits=50, idle_seconds=60, api_seconds=20, commands=20,
              events=20_000, looks=4, recordings=2, recording_seconds=20)  # fmt: skip
QUICK = Effort(rounds=2, rounds_more=1, additions=5, exits=10, idle_seconds=20, api_seconds=5, commands=5,
               events=5_000, looks=1, recordings=1, recording_seconds=5)  # fmt: skip

"""The two ends of a conversation beside the agent: where it is shown, and who is told of it."""

from __future__ import annotations

from typing import Protocol

from agentd.turns.events import TurnEvent


class Output(Protocol):
    """Where the conversation is shown."""

    def say(self, kind: str, text: str, style: str = "") -> None:
        """Go on with what is being said."""

    def row(self, text: str, style: str = "", mark: str = "") -> None:
        """Print a row."""

    def status(self, text: str, name: str) -> None:
        """Say what goes on."""


class Reporter(Protocol):
    """Who is told of turns."""

    def identified(self, session: str) -> None:
        """The agent's id of the session."""

    def event(self, event: TurnEvent) -> None:
        """Something happened in a turn."""

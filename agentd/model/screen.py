"""What an agent's terminal shows, as the API shows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from agentd.model.json_schema import Count, Positive


@dataclass(frozen=True, slots=True)
class Screen:
    """What an agent's terminal shows."""

    name: str
    """Name of the agent."""
    session: str
    """Name of the tmux session."""
    width: Positive
    """Columns of the terminal."""
    height: Positive
    """Rows of the terminal."""
    cursor_x: Count
    """Column of the cursor, from 0."""
    cursor_y: Count
    """Row of the cursor, from 0."""
    cursor_visible: bool
    """Whether the cursor is shown."""
    lines: Sequence[str]
    """Rows from the top, without blank ones at the end and spaces at their ends."""


class NoScreenError(Exception):
    """There is no terminal to show; the text says why."""


class ScreenSource(Protocol):
    """Where the API gets what agents' terminals show."""

    async def screen(self, name: str, *, styled: bool) -> Screen | None:
        """The screen of an agent, with escape sequences for colours if `styled`; ``None`` if there is no such agent.

        Raises
        ------
        NoScreenError
            If the agent has no terminal now, or tmux does not say.
        """
        ...

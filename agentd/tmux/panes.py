"""Panes, as tmux tells of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Pane:
    """A pane by its ids, which tmux never gives twice."""

    session_id: str
    window_id: str
    pane_id: str
    pid: int
    """Of the launcher."""
    size: tuple[int, int] = field(default=(0, 0), compare=False)
    """Columns and rows when it was asked for."""


@dataclass(frozen=True, slots=True)
class ListedPane:
    """A pane as ``list-panes`` shows it."""

    pane: Pane
    session: str
    command: str
    """What it was started with, quoted as tmux does."""
    dead: bool


@dataclass(frozen=True, slots=True)
class Place:
    """Where a pane is."""

    session_id: str
    session: str
    piped: bool
    """Whether what it prints goes into a pipe too."""
    size: tuple[int, int]
    """Columns and rows."""


@dataclass(frozen=True, slots=True)
class PaneScreen:
    """What a pane shows."""

    width: int
    height: int
    cursor: tuple[int, int]
    """Column and row, from 0."""
    cursor_visible: bool
    rows: Sequence[str]

"""Panes, as tmux tells of them: what it is asked to show, and how that is read.

The server is the agent user's, and may have been made to say anything.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from agentd.process.identity import ProcessIdentity, started_by
from agentd.tmux.errors import TmuxError

PANE_FORMAT = "#{session_id} #{window_id} #{pane_id} #{pane_pid} #{pane_width} #{pane_height}"
# tmux has no tab in a session's name, and shows one in a command by an escape; both have spaces.
LIST_FORMAT = PANE_FORMAT + "\t#{pane_dead}\t#{session_name}\t#{pane_start_command}"
STATE_FORMAT = "#{pane_id} #{session_id} #{pane_pipe} #{pane_width} #{pane_height} #{session_name}"
NEWS_FORMAT = "#{pane_id} #{window_activity} #{pane_title}"
SIZE_FORMAT = "#{pane_id} #{pane_width} #{pane_height}"
SCREEN_FORMAT = "#{pane_width} #{pane_height} #{cursor_x} #{cursor_y} #{cursor_flag}"

_PANE = re.compile(r"(\$[0-9]+) (@[0-9]+) (%[0-9]+) ([0-9]{1,10}) ([0-9]{1,5}) ([0-9]{1,5})", re.ASCII)
_EMPTY_PANE = re.compile(r"\$[0-9]+ @[0-9]+ (%[0-9]+) -1 .*", re.ASCII)
"""A pane in which tmux could not start a process."""
_LISTED_FIELDS = LIST_FORMAT.count("\t") + 1
_STATE = re.compile(r"(%[0-9]+) (\$[0-9]+) ([01]) ([0-9]{1,5}) ([0-9]{1,5}) (.*)", re.ASCII | re.DOTALL)
_NEWS = re.compile(r"(%[0-9]+) ([0-9]{1,12}) (.*)", re.ASCII | re.DOTALL)
_SIZE = re.compile(r"(%[0-9]+) ([0-9]{1,5}) ([0-9]{1,5})", re.ASCII)
_TERMINAL = re.compile(r"/dev/(?:pts/[0-9]{1,9}|tty[A-Za-z0-9]{1,9})", re.ASCII)
_SCREEN_FIELDS = SCREEN_FORMAT.count(" ") + 1


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
class PaneState:
    """What of a pane may have changed since it was opened."""

    session_id: str
    session: str
    piped: bool
    """Whether what it prints goes into a pipe too."""
    size: tuple[int, int]
    """Columns and rows."""


@dataclass(frozen=True, slots=True)
class PaneNews:
    """By what one can tell that a pane shows something else."""

    active: int
    """When its window printed something last, in whole seconds since the epoch."""
    title: str


@dataclass(frozen=True, slots=True)
class PaneScreen:
    """What a pane shows."""

    width: int
    height: int
    cursor: tuple[int, int]
    """Column and row, from 0."""
    cursor_visible: bool
    rows: Sequence[str]


def parse_pane(text: str, owner: int) -> Pane:
    """Read `PANE_FORMAT`.

    Parameters
    ----------
    owner
        Uid of the agent user.

    Raises
    ------
    TmuxError
        If it is something else, or the process is not the agent user's: agentd will end what it started.
    """
    match = _PANE.fullmatch(text)
    if match is None:
        raise TmuxError(f"expected the ids of a pane, found {text[:80]!r}")
    pid = int(match[4])
    if os.geteuid() != owner and ProcessIdentity.of(pid) is not None and not started_by(owner, pid):
        raise TmuxError(f"process {pid} of pane {match[3]} is not the agent user's")
    return Pane(match[1], match[2], match[3], pid, (int(match[5]), int(match[6])))


def empty_pane(line: str) -> str | None:
    """The id of a pane in which tmux could not start a process, from a line of `LIST_FORMAT`."""
    match = _EMPTY_PANE.fullmatch(line.partition("\t")[0])
    return None if match is None else match[1]


def parse_listed(line: str, owner: int) -> ListedPane:
    """Read a line of `LIST_FORMAT`; `owner` and errors as for `parse_pane`."""
    fields = line.split("\t")
    if len(fields) != _LISTED_FIELDS:
        raise TmuxError(f"expected a pane's ids, state, session and command, found {line[:80]!r}")
    ids, dead, session, started = fields
    return ListedPane(parse_pane(ids, owner), session, started, dead == "1")


def parse_states(lines: Iterable[str]) -> dict[str, PaneState]:
    """Read lines of `STATE_FORMAT`, by pane id; others are passed over."""
    found = filter(None, map(_STATE.fullmatch, lines))
    return {each[1]: PaneState(each[2], each[6], each[3] == "1", (int(each[4]), int(each[5]))) for each in found}


def parse_news(lines: Iterable[str]) -> dict[str, PaneNews]:
    """Read lines of `NEWS_FORMAT`, by pane id; others are passed over."""
    return {each[1]: PaneNews(int(each[2]), each[3]) for each in filter(None, map(_NEWS.fullmatch, lines))}


def parse_sizes(lines: Iterable[str]) -> dict[str, tuple[int, int]]:
    """Read lines of `SIZE_FORMAT`, by pane id; others are passed over."""
    return {each[1]: (int(each[2]), int(each[3])) for each in filter(None, map(_SIZE.fullmatch, lines))}


def parse_terminal(text: str) -> str:
    """Read ``#{pane_tty}``.

    Raises
    ------
    TmuxError
        If it is no terminal's path.
    """
    if _TERMINAL.fullmatch(text) is None:
        raise TmuxError(f"expected the path of a terminal, found {text[:80]!r}")
    return text


def parse_screen(state: str, rows: Sequence[str]) -> PaneScreen:
    """Read `SCREEN_FORMAT`, beside the rows it belongs to.

    Raises
    ------
    TmuxError
        If it is something else.
    """
    numbers = state.split(" ")
    if len(numbers) != _SCREEN_FIELDS or not all(map(str.isdecimal, numbers)):
        raise TmuxError(f"expected the size of a pane, found {state[:80]!r}")
    width, height, x, y, visible = map(int, numbers)
    return PaneScreen(width, height, (x, y), bool(visible), rows)

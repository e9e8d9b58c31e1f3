"""Which rollout file is a run's own: one that its process has open, or was started with. Blocks.

The folder and the names tell less: two agents may work in one folder, with one home.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Final

from agentd.files.regular import may_open, open_regular
from agentd.process.proc import PROC, descendants
from agentd.turns.codex.rollout import is_of_user
from agentd.turns.reading import Reading

_NAME: Final = re.compile(r"rollout-.*-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.jsonl")
_LONGEST_FIRST: Final = 1 << 20
"""Bytes of the first line, which holds the model's instructions; it has some 22 000."""


def conversation_of(path: Path) -> str | None:
    """The id of a conversation, as it stands in the name of its file."""
    found = _NAME.fullmatch(path.name)
    return None if found is None else found[1]


def folders(sessions: Path, today: date) -> tuple[Path, ...]:
    """The folders of which one changes when a conversation begins."""
    year = sessions / f"{today:%Y}"
    return sessions, year, year / f"{today:%m}", year / f"{today:%m}" / f"{today:%d}"


def rollout_of(conversation: str, sessions: Path, reading: Reading) -> Path | None:
    """The file of a conversation that is gone on with, which may be of any day."""
    return next(reading.glob(sessions, "*", "*", "*", f"rollout-*-{glob.escape(conversation)}.jsonl"), None)


def own_rollout(
    pid: int, sessions: Path, inside: Path, reading: Reading, is_own: Callable[[bytes], bool] = is_of_user
) -> tuple[Path | None, bool]:
    """The file that a process, or one below it, has open and wrote last, and whether that is sure.

    Parameters
    ----------
    inside
        The folder of conversations as the process names it.

    After ``/new`` the one before stays open, and those of subagents are open, too. It is not sure while the first line
    of a file, which says whose it is, is still to come.
    """
    sessions, named = reading.resolved(sessions), inside.resolve() if inside == sessions else inside
    found: dict[str, None] = {}
    for process in (pid, *descendants(pid)):
        found.update(dict.fromkeys(_open_below(process, f"{os.fspath(named)}/")))
    sure = True
    paths = [sessions / Path(each).relative_to(named) for each in found]
    last = sorted(((reading.changed(path), path.name, path) for path in paths if conversation_of(path)), reverse=True)
    for _, _, path in last:
        line = _first_line(path, reading)
        if line is not None and is_own(line):
            return path, sure
        sure = sure and (line is None or line.endswith(b"\n") or len(line) == _LONGEST_FIRST)
    return None, sure


def _open_below(pid: int, folder: str) -> list[str]:
    try:
        with os.scandir(f"{PROC}/{pid}/fd") as entries:
            links = [entry.path for entry in entries]
    except OSError:
        return []
    found = []
    for link in links:
        try:
            target = os.readlink(link)  # noqa: PTH115 (a path object costs more than the look)
        except OSError:
            continue
        if target.startswith(folder) and target.endswith(".jsonl"):
            found.append(target)
    return found


def _first_line(path: Path, reading: Reading) -> bytes | None:
    try:
        with open_regular(path, reading.beneath) as file:
            return file.readline(_LONGEST_FIRST) if may_open(reading.user, path, file.fileno()) else None
    except OSError:
        return None

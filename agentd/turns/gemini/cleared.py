"""Which conversation Gemini CLI goes on with after ``/clear``: it begins another file, and does not say whose that is.

It is taken for a run's where nothing else can have begun it: its terminal printed something then, in no turn, and no
other Gemini CLI stands in its folder.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import Final

from agentd.process.identity import ProcessIdentity
from agentd.process.proc import PROC, ancestors, command_of, descendants, numbers_in
from agentd.turns.gemini.session_file import Header, Session
from agentd.turns.reading import Reading

_MOST_NEW: Final = 16
"""Files that are looked into at once."""


def names_in(chats: Path, reading: Reading) -> set[str]:
    """The session files of a folder. Blocks."""
    return {path.name for path in reading.glob(chats, "session-*.jsonl")}


def headers(chats: Path, known: Collection[str], reading: Reading) -> dict[str, Header]:
    """The first lines of the files that are not known, by their names. Blocks."""
    found: dict[str, Header] = {}
    for name in sorted(names_in(chats, reading).difference(known))[-_MOST_NEW:]:
        try:
            lines, _ = reading.growing(chats / name, new=True).read()
        except OSError:
            continue
        for recorded in Session().read(lines[0]) if lines else ():
            if isinstance(recorded, Header):
                found[name] = recorded
    return found


def is_alone(process: ProcessIdentity, workdir: Path) -> bool:
    """Whether no other Gemini CLI than this one, and what it started, stands in the folder. Blocks."""
    own, here = {process.pid, *ancestors(process.pid), *descendants(process.pid)}, os.path.realpath(workdir)
    pids = numbers_in(PROC)
    return bool(pids) and not any(_stands(pid, here) for pid in pids if pid not in own)


def _stands(pid: int, here: str) -> bool:
    try:
        # Not a path object: there may be thousands of processes.
        there = os.readlink(f"{PROC}/{pid}/cwd")  # noqa: PTH115
    except OSError:
        return False
    return there == here and any(b"gemini" in word for word in command_of(pid))

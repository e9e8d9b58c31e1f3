"""What the tests wrote into the home of the account that runs them: nothing, it should be."""

from __future__ import annotations

import contextlib
import os
import pwd
from pathlib import Path

NOTES = (".claude.json", ".claude/sessions/*", ".codex/*.toml", ".gemini/*", ".gemini/*/*/*")
"""Where coding agents, and agentd for them, name the folder that an agent works in.

Not their conversations: whoever has a coding agent run the tests has their output in these.
"""
NAMED = (".claude/projects/*",)
"""Folders that are named by the folder of work, with a hyphen for each other sign."""


def account_home() -> Path:
    """Give the account's home as the user database has it; the tests have another HOME."""
    return Path(pwd.getpwuid(os.geteuid()).pw_dir)


def traces(home: Path, folder: Path) -> list[Path]:
    """Find what coding agents that worked below this folder left in that home."""
    sign = "".join(character if character.isalnum() else "-" for character in str(folder))
    found = [path for pattern in NAMED for path in home.glob(pattern) if path.name.startswith(sign)]
    for path in (path for pattern in NOTES for path in home.glob(pattern)):
        # Others use it meanwhile.
        with contextlib.suppress(OSError):
            if path.is_file() and os.fsencode(folder) in path.read_bytes():
                found.append(path)
    return sorted(found)

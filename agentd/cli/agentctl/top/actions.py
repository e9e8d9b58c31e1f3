"""What a key does to an agent: a command of agentctl, so that it does and refuses just what that command does."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Final

from agentd.settings.options import flags_of
from agentd.settings.settings import Settings
from agentd.text.quoting import printable

_LIMIT: Final = 60.0
"""Seconds that a command may take; the longest, ``send``, waits 20 s for the agent."""


class ActionError(Exception):
    """A command failed; the text is what it said."""


def command_line(settings: Settings, *words: str) -> list[str]:
    """Write the command line of a command for the same daemon."""
    return [sys.executable, "-P", "-m", "agentd.cli.agentctl", *flags_of(settings), *words]


def perform(argv: Sequence[str]) -> str:
    """Run a command, and give the first line that it printed.

    Raises
    ------
    ActionError
        If it fails, or takes too long.
    """
    environment = {**os.environ, "NO_COLOR": "1"}
    try:
        done = subprocess.run(
            argv,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_LIMIT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ActionError(f"agentctl did not end within {_LIMIT:.0f} s") from None
    if done.returncode != 0:
        raise ActionError(_first_line(done.stderr) or f"agentctl ended with status {done.returncode}")
    return _first_line(done.stdout)


def _first_line(text: str) -> str:
    return next((printable(line) for line in text.splitlines() if line.strip()), "").removeprefix("agentctl: ")

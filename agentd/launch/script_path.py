"""Paths of launch scripts. Apart from the runtime directory, whose asyncio and structlog cost agentctl 0.1 s of CPU."""

from __future__ import annotations

import re

SUFFIX = ".sh"

RUN_ID = r"[0-9A-Za-z_-]+"
"""What a run's id is made of: nothing that leads out of the folder."""

_LAUNCH_COMMAND = re.compile(rf"/bin/sh .*/({RUN_ID}){re.escape(SUFFIX)}[\"']?", re.ASCII)
"""How tmux shows the command that opened a pane with a launch script."""
_SCRIPT_PATH = re.compile(rf"(.*)/({RUN_ID}){re.escape(SUFFIX)}", re.ASCII | re.DOTALL)


def launched_run(command: str) -> str | None:
    """The run whose launch script a pane's start command, as tmux shows it, names."""
    match = _LAUNCH_COMMAND.fullmatch(command)
    return None if match is None else match[1]


def script_of(path: str) -> tuple[str, str] | None:
    """Read the path of a launch script: the runtime directory, and the run's id."""
    match = _SCRIPT_PATH.fullmatch(path)
    return None if match is None else (match[1], match[2])

"""The program of ours that runs an agent which is none for a terminal, by the interpreter that runs agentd."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import agentd
from agentd.files.looks import Looks
from agentd.files.permissions import closed_folder
from agentd.launch.preflight import PreflightError
from agentd.model.user import AgentUser


def renderer(package: str) -> tuple[str, ...]:
    """Give the first words of the command line of a renderer.

    It starts in the agent's folder and environment, so nothing of these may decide what it imports: isolated, and
    without site-packages, of which it needs none (0.05 s instead of 0.1).
    """
    script = Path(agentd.__file__).parents[1].joinpath(*package.split("."), "__main__.py")
    return (os.path.realpath(sys.executable), "-I", "-S", "-X", "utf8", str(script))


async def check_renderer(looks: Looks, package: str, user: AgentUser) -> None:
    """Check that the agents' user can run a renderer.

    Raises
    ------
    PreflightError
        If it may not enter a folder on the way.
    """
    words = renderer(package)
    for folder in {Path(words[0]).parent, Path(words[-1]).parent}:
        try:
            closed = await looks.look(folder, lambda folder=folder: closed_folder(folder, user))  # type: ignore[misc]
        except OSError as error:
            raise PreflightError(f"cannot look at {folder}, where agentd is installed: {error.strerror}") from None
        if closed is not None:
            raise PreflightError(
                f"user {user.name} may not enter {closed}, so it cannot run {package}, which is installed there;"
                " install agentd where that user can read it"
            )

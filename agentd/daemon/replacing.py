"""agentd in its own place: the program as it is installed now takes over the process, and the agents go on."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import sys
from typing import Final

_TRIED_WITHIN: Final = 60.0
"""Seconds for the installed program to check the configuration; it takes 0.3."""

_WORKS: Final = (0, 1)
"""Exit statuses of ``--check`` of a program that works: whether the files are valid is another question."""


def installed_command() -> list[str]:
    """How this process was started: what is installed there now may be another version."""
    return [sys.executable, *sys.orig_argv[1:]]


async def why_unusable() -> str | None:
    """Try the installed program; ``None`` if it works with this command line. It is ended when this is cancelled."""
    command = [*installed_command(), "--check"]
    try:
        tried = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        return f"{command[0]}: {error.strerror}"
    try:
        async with asyncio.timeout(_TRIED_WITHIN):
            _, said = await tried.communicate()
    except TimeoutError:
        return f"the installed agentd did not end its --check within {_TRIED_WITHIN:g} s"
    finally:
        if tried.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                tried.kill()
            await tried.wait()
    if tried.returncode in _WORKS and b"Traceback" not in said:
        return None
    last = said.decode(errors="replace").strip().rpartition("\n")[2]
    return f"the installed agentd does not work: exit status {tried.returncode}: {last}"


def replace_this_process(open_files: int | None) -> None:
    """Become the installed program; returns only by an error.

    Parameters
    ----------
    open_files
        The soft limit of open files that this process was started with, which agents are to have again.

    Raises
    ------
    OSError
        If there is no such program any more.
    """
    if open_files is not None:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (open_files, hard))
    # Whoever asks again before it handles signals must not end it.
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    sys.stdout.flush()
    sys.stderr.flush()
    command = installed_command()
    os.execv(command[0], command)  # noqa: S606 (its own command line, and no shell is meant)

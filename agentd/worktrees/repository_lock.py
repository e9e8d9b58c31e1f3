"""Taking turns in a repository: agentd, agentctl, and the git that either of them left at work when it was killed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from agentd.files.locks import try_lock, unlock
from agentd.files.regular import may_open
from agentd.process.runner import LIMIT, Runner, RunnerError

_LOOK: Final = 0.02
"""Seconds between looks whether it is our turn."""


@contextmanager
def alone_in(runner: Runner, repo: Path, before_waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Change a repository's worktrees while nobody else of agentd's does.

    The lock is one on the repository's folder. Every git that is run meanwhile inherits it, so that one which outlives
    a killed agentd holds it on; what it may leave in the background after an end in order does not. The agents' user
    gets no descriptor of a folder that it could not open itself: it could have made the path lead there. Where folders
    cannot be locked, all goes on without.

    Parameters
    ----------
    runner
        What is run by it inherits the lock.
    repo
        The repository's folder.
    before_waiting
        Called once if somebody else has the lock.

    Raises
    ------
    RunnerError
        If it is not our turn within a minute.
    """
    folder = _open(repo)
    if folder is None:
        yield
        return
    try:
        if not _lock(folder):
            before_waiting()
            _wait(runner, repo, folder)
        if not runner.user.switch or may_open(runner.user, repo, folder):
            runner.kept = folder
        yield
    finally:
        runner.kept = None
        with suppress(OSError):
            unlock(folder)
        os.close(folder)


def _open(repo: Path) -> int | None:
    # What is wrong with a folder that cannot be opened is for git to say.
    with suppress(OSError, ValueError):
        return os.open(repo, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    return None


def _lock(folder: int) -> bool:
    try:
        return try_lock(folder)
    except OSError:
        return True


def _wait(runner: Runner, repo: Path, folder: int) -> None:
    for _ in range(int(LIMIT / _LOOK)):
        if _lock(folder):
            return
        runner.pause(_LOOK)
    raise RunnerError(
        f"another agentd or agentctl, or git that one of them left at work, is busy in {repo} for {LIMIT:.0f} s now; "
        "see who has that folder open"
    )

"""The lock that agentd, agentctl and their git processes hold while they change a repository's worktrees."""

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
"""Seconds between attempts."""


@contextmanager
def repository_lock(runner: Runner, repo: Path, before_waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Lock a repository while its worktrees are changed.

    The lock is an ``flock`` on the repository's folder. Programs that `runner` starts inherit it, so a git that
    outlives a killed agentd keeps it. The agents' user inherits it only if it may open the folder itself: it could
    have made the path lead anywhere. On file systems without locks there is none.

    Parameters
    ----------
    runner
        The programs it runs inherit the lock.
    before_waiting
        Called once if the lock is taken.

    Raises
    ------
    RunnerError
        If the lock is still taken after a minute.
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
    # If it cannot be opened, git says why.
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
        f"another agentd or agentctl, or a git that one of them left running, has been busy in {repo} "
        f"for {LIMIT:.0f} s; find out which process has that folder open"
    )

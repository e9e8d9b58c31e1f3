"""Ending workers."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from pathlib import Path
from typing import Final

from agentd.files.worker import in_thread
from agentd.jcard.edit.drop_ins import remove_drop_in
from agentd.model.spec import WORKTREES
from agentd.pool.around import Around, DeclaredWorker, look_around
from agentd.pool.errors import Code, PoolError
from agentd.pool.pool import Pool
from agentd.pool.results.common import Exit
from agentd.pool.results.workers import Termination
from agentd.pool.statuses import KEPT_WITHIN, Status, events_of, exit_told, status_of, unknown_worker
from agentd.process.runner import RunnerError
from agentd.worktrees.git import GitError
from agentd.worktrees.inspect import inspect
from agentd.worktrees.record import RecordError, Worktree, read_record
from agentd.worktrees.removal import Allowed, remove, verdict
from agentd.worktrees.repository import RepositoryGoneError
from agentd.worktrees.repository_lock import repository_lock

_BEYOND_GRACE: Final = 10.0
"""Seconds beyond the grace period in which nothing of a worker is left."""
_LOOK_AFTER: Final = 0.05


async def terminate(pool: Pool, worker: str, *, dry_run: bool = False) -> Termination:
    """Have a worker stopped within its grace period, and declared no more; a worktree with work stays.

    Raises
    ------
    PoolError
        If there is no such worker, or its drop-in cannot be removed.
    """
    around = await look_around(pool)
    declared = around.workers.get(worker.lower())
    if declared is None:
        raise unknown_worker(worker)
    status = await status_of(pool, declared.name)
    worktree = await in_thread("pool-record", partial(_worktree, around, declared.name))
    exit_, stays = None if status is None else status.exit, None
    if not dry_run:
        since = await _newest(pool, declared.name)
        await pool.thread.do(partial(_remove_file, declared))
        await _gone(pool, declared)
        ran = status is not None and status.number("pid") is not None
        exit_ = exit_ or await _exit_since(pool, declared.name, since, KEPT_WITHIN if ran else 0.0)
    if worktree is not None:
        stays = await in_thread("pool-worktree", partial(_clean, around, worktree, dry_run=dry_run))
    return Termination(
        worker=declared.name,
        was=None if status is None else status.state.value,
        exit=exit_,
        drop_in=str(declared.path),
        worktree=None if worktree is None else str(worktree.path),
        worktree_stays=stays,
        dry_run=dry_run,
    )


def _worktree(around: Around, name: str) -> Worktree | None:
    path = around.daemon.data_dir / WORKTREES / name
    try:
        record = read_record(path)
    except RecordError as error:
        raise PoolError(Code.FAILED, str(error), "agentctl worktrees") from error
    return None if record is None else Worktree(path, record)


def _remove_file(declared: DeclaredWorker) -> None:
    try:
        remove_drop_in(declared.path)
    except OSError as error:
        message = f"{declared.path}: cannot be removed: {error.strerror}"
        raise PoolError(Code.NOT_PERMITTED, message, "agentctl doctor", path=str(declared.path)) from error


async def _gone(pool: Pool, declared: DeclaredWorker) -> None:
    """Wait until nothing of it is left."""
    grace = 30.0 if declared.spec is None else declared.spec.policy.grace_period
    end = time.monotonic() + grace + _BEYOND_GRACE
    status: Status | None = None
    while time.monotonic() < end:
        status = await status_of(pool, declared.name)
        if status is None:
            return
        await asyncio.sleep(_LOOK_AFTER)
    state = "unknown" if status is None else status.state.value
    raise PoolError(
        Code.FAILED,
        f"{declared.name} is declared no more, but not gone yet, it is {state}",
        f"agentctl status {declared.name}",
        worker=declared.name,
    )


async def _newest(pool: Pool, name: str) -> str:
    events = await events_of(pool, (), [name], tail=1)
    return str(events[-1].get("seq", 0)) if events else "0"


async def _exit_since(pool: Pool, name: str, since: str, patience: float) -> Exit | None:
    """Give the exit that the events tell, which may be kept a moment after the agent is gone."""
    end = time.monotonic() + patience
    while True:
        found = await exit_told(pool, name, since)
        if found is not None or time.monotonic() >= end:
            return found
        await asyncio.sleep(_LOOK_AFTER)


def _clean(around: Around, worktree: Worktree, *, dry_run: bool) -> bool:
    """Remove a worktree in which nothing would be lost; says whether it stays."""
    git = around.git(Path("/"))
    try:
        if dry_run:
            return verdict(inspect(git, worktree), Allowed(ignored=True)) is not None
        with repository_lock(git.runner, Path(worktree.record.repo)):
            return remove(git, worktree, Allowed(), time.time()).kept is not None
    except (GitError, RecordError, RunnerError, RepositoryGoneError):
        # What cannot be told to be without work stays.
        return True

"""A round trip with each harness."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Final

from agentd.files.worker import in_thread
from agentd.model.pool import PoolProvider, WorkerEvent, WorkerIsolation
from agentd.pool.around import Around, look_around
from agentd.pool.checking import SpawnRequest
from agentd.pool.ending import terminate
from agentd.pool.errors import Code, PoolError
from agentd.pool.observing import observe
from agentd.pool.pool import Pool
from agentd.pool.results.providers import SmokeReport, SmokeResult
from agentd.pool.spawning import spawn
from agentd.worktrees.git import GitError

TASK: Final = "Reply with the one word: ready"

_EVENTS: Final = (WorkerEvent.COMPLETED, WorkerEvent.ERROR, WorkerEvent.USAGE_LIMIT, WorkerEvent.EXITED)


async def smoke(pool: Pool, provider: str | None = None, patience: float = 120.0) -> SmokeReport:
    """Spawn a worker of each provider that is installed, have it answer, and end it.

    Raises
    ------
    PoolError
        If there is no such provider, or agentd does not answer.
    """
    around = await look_around(pool)
    # One after the other: together they would be slower than each bears.
    results = [await _round_trip(pool, around, each, patience) for each in around.chosen(provider)]
    tried = [each for each in results if not each.skipped]
    wanted = provider is not None
    return SmokeReport(all(each.passed for each in tried) and bool(tried or not wanted), results)


async def _round_trip(pool: Pool, around: Around, provider: PoolProvider, patience: float) -> SmokeResult:
    begun = time.monotonic()

    def result(
        *, passed: bool = False, skipped: bool = False, answer: str | None = None, error: str | None = None
    ) -> SmokeResult:
        return SmokeResult(provider.id, passed, skipped, round(time.monotonic() - begun, 2), answer, error)

    # In a worktree of a repository of ours, whose folder agentd has the programs trust.
    folder = await in_thread("pool-smoke", partial(_repository, around))
    worker = None
    try:
        request = SpawnRequest(
            provider.id, TASK, str(folder), WorkerIsolation.WORKTREE, role="smoke", max_runtime=patience + 60
        )
        worker = (await spawn(pool, request)).id
        seen = await observe(pool, [worker], _EVENTS, patience=patience)
        good = seen.event == WorkerEvent.COMPLETED and bool(seen.answer)
        why = None if good else seen.error or f"{seen.event or 'nothing'} after {time.monotonic() - begun:.0f} s"
        return result(passed=good, answer=seen.answer, error=why)
    except PoolError as error:
        return result(skipped=error.code is Code.PROVIDER_UNAVAILABLE, error=str(error))
    finally:
        if worker is not None:
            with contextlib.suppress(PoolError):
                await asyncio.shield(terminate(pool, worker))
        await in_thread("pool-smoke", partial(shutil.rmtree, folder, ignore_errors=True))


def _repository(around: Around) -> Path:
    """Make a repository with one commit."""
    data_dir = around.daemon.data_dir
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="smoke-", dir=data_dir))
    git = around.git(folder)
    try:
        git.out("init", "--quiet")
        git.out("commit", "--quiet", "--allow-empty", "--message", "A repository to try agents in")
    except GitError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise PoolError(Code.FAILED, str(error), "agentctl doctor") from error
    return folder

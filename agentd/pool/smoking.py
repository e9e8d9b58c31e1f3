"""A round trip with each harness, and with a stand-in, which shows what of a failure is not the harness's.

The stand-in is offline, and needs no key: in an installation without any coding agent it tries all that is agentd's.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import shutil
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Final

from agentd.files.worker import in_thread
from agentd.model.pool import PoolProvider, WorkerEvent, WorkerIsolation
from agentd.pool import stand_in
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

STAND_IN: Final = "stand-in"
"""What the stand-in is called, unless a provider of the jcard has this id."""

_COMMAND_LINES: Final = "custom"
"""The harness, and so the provider, of programs of one's own."""

_RUN: Final = 'p=$1; [ -x "$p" ] || p=python3; shift; exec "$p" -I -S -c "$@"'
"""The agents' user may not be let into the folder of our interpreter."""

_NOT_TRIED: Final = (Code.PROVIDER_UNAVAILABLE, Code.POLICY)
"""Why a provider cannot be tried."""

_EVENTS: Final = (WorkerEvent.COMPLETED, WorkerEvent.ERROR, WorkerEvent.USAGE_LIMIT, WorkerEvent.EXITED)


async def smoke(pool: Pool, provider: str | None = None, patience: float = 120.0) -> SmokeReport:
    """Spawn a worker of the stand-in and of each provider that is installed, have it answer, and end it.

    It is passed if something was tried, and nothing failed.

    Raises
    ------
    PoolError
        If there is no such provider, or agentd does not answer.
    """
    around = await look_around(pool)
    ours = STAND_IN not in around.providers
    chosen = [] if ours and provider == STAND_IN else around.chosen(provider)
    named = [(each.id, each) for each in chosen]
    if ours and provider in (None, STAND_IN):
        named.insert(0, (STAND_IN, _stand_in()))
    # One after the other: together they would be slower than each bears.
    results = [await _round_trip(pool, around, name, each, patience) for name, each in named]
    tried = [each for each in results if not each.skipped]
    return SmokeReport(bool(tried) and all(each.passed for each in tried), results)


def _stand_in() -> PoolProvider:
    command = ("/bin/sh", "-c", _RUN, "sh", sys.executable, inspect.getsource(stand_in))
    return PoolProvider(_COMMAND_LINES, _COMMAND_LINES, command)


async def _round_trip(pool: Pool, around: Around, name: str, provider: PoolProvider, patience: float) -> SmokeResult:
    begun = time.monotonic()

    def result(
        *, passed: bool = False, skipped: bool = False, answer: str | None = None, error: str | None = None
    ) -> SmokeResult:
        return SmokeResult(name, passed, skipped, round(time.monotonic() - begun, 2), answer, error)

    # In a worktree of a repository of ours, whose folder agentd has the programs trust.
    folder = await in_thread("pool-smoke", partial(_repository, around))
    worker = None
    try:
        request = SpawnRequest(
            provider.id, TASK, str(folder), WorkerIsolation.WORKTREE, role="smoke", max_runtime=patience + 60
        )
        worker = (await spawn(pool, request, provider)).id
        seen = await observe(pool, [worker], _EVENTS, patience=patience)
        good = seen.event == WorkerEvent.COMPLETED and bool(seen.answer)
        why = None if good else seen.error or f"{seen.event or 'nothing'} after {time.monotonic() - begun:.0f} s"
        return result(passed=good, answer=seen.answer, error=why)
    except PoolError as error:
        return result(skipped=error.code in _NOT_TRIED, error=str(error))
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

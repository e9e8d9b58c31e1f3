"""The ends of runs: waits until all is on disk that an ended run printed, and completes it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

import structlog

from agentd.files.worker import Worker
from agentd.recording.transcripts.disk import TranscriptDisk
from agentd.recording.transcripts.recorded_run import RecordedRun
from agentd.supervise.run_recorder import RunEnd

log = structlog.get_logger(__name__)

_END_LIMIT = 1.0
"""Seconds that a launcher has to say that its run's output has ended; it takes a millisecond or two. It never does if
it was killed."""
_STILL_COMES, _STILL_COMES_LIMIT = 0.25, 10.0
"""Seconds in which more of the output has to come for that to be waited for longer, and how long at most."""
_LOOK_FIRST, _LOOK_LAST = 0.002, 0.05
_WRITER_ENDS = 0.02
"""Seconds in which a writer whose pipe was closed has written what it still had."""


class RunEnds:
    """Completes runs that have ended.

    Parameters
    ----------
    disk
        Where they are kept.
    worker
        Whose thread writes that.
    runs
        All that are recorded, by run id.
    over
        Called with runs of which nothing comes any more, before they are completed; takes them out of `runs`.
    """

    def __init__(
        self,
        disk: TranscriptDisk,
        worker: Worker,
        runs: Mapping[str, RecordedRun],
        over: Callable[[Sequence[RecordedRun]], Awaitable[None]],
    ) -> None:
        self._disk = disk
        self._worker = worker
        self._runs = runs
        self._over = over
        self._unwritten: list[tuple[RunEnd, int | None]] = []
        self._task: asyncio.Task[None] | None = None

    def wait_for(self, run: RecordedRun) -> None:
        """Complete a run that has ended as soon as all is kept that it printed."""
        now = time.monotonic()
        recorded = run.found is not None and run.problem is None
        run.come_by = now + _STILL_COMES_LIMIT if recorded else now
        run.give_up = now + _END_LIMIT if recorded and not run.pane_gone else now
        if self._task is None:
            self._task = asyncio.create_task(self._complete_all(), name="ends of transcripts")
            self._task.add_done_callback(self._done)

    def write_later(self, end: RunEnd) -> None:
        """Complete a run that has a folder only now, at the next `write`."""
        self._unwritten.append((end, None))

    async def finish(self) -> None:
        """Wait, for moments, until everything that ended runs printed is kept."""
        if self._task is not None:
            await asyncio.wait([self._task], timeout=_END_LIMIT)

    async def close(self) -> None:
        """Wait no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _complete_all(self) -> None:
        """Wait until what ended runs printed is on disk, and complete them."""
        pause = _LOOK_FIRST
        while ending := {run_id: run for run_id, run in self._runs.items() if run.end is not None}:
            now = time.monotonic()
            ends = await self._find_ends(ending.keys())
            late = [run_id for run_id, run in ending.items() if run_id not in ends and run.give_up <= now]
            late = await self._come_to_rest({run_id: ending[run_id] for run_id in late})
            if late:
                ends |= await self._find_ends(late, thoroughly=True)
            done = [run for run_id, run in ending.items() if run_id in ends or run_id in late]
            if done:
                await self._complete(done, ends)
                pause = _LOOK_FIRST
            else:
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LOOK_LAST)

    async def _come_to_rest(self, late: dict[str, RecordedRun]) -> list[str]:
        """Those of which nothing comes any more; the others are given more time."""
        if not late:
            return []
        came = await self._worker.do(lambda: self._disk.sizes(late.keys()))
        now = time.monotonic()
        at_rest = []
        for run_id, run in late.items():
            run.came, before = came.get(run_id, 0), run.came
            if run.came == before or run.come_by <= now:
                at_rest.append(run_id)
            else:
                run.give_up = now + _STILL_COMES
        return at_rest

    async def _find_ends(self, run_ids: Iterable[str], *, thoroughly: bool = False) -> dict[str, int]:
        return await self._worker.do(lambda: self._disk.find_ends(run_ids, thoroughly=thoroughly))

    def _done(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if not task.cancelled() and task.exception() is not None:
            log.error("transcript_work_failed", exc_info=task.exception())

    async def _complete(self, runs: list[RecordedRun], ends: dict[str, int]) -> None:
        await self._over(runs)
        await asyncio.sleep(_WRITER_ENDS)
        self._unwritten += [
            (run.end, ends.get(run.facts.run_id)) for run in runs if run.end is not None and run.found is not None
        ]
        await self.write()

    async def write(self) -> None:
        """Write down how runs ended; what the disk does not take is tried again at the next call."""
        if self._unwritten:
            ends, self._unwritten = self._unwritten, []
            self._unwritten += await self._worker.do(lambda: _write(self._disk, ends))


def _write(disk: TranscriptDisk, ends: Iterable[tuple[RunEnd, int | None]]) -> list[tuple[RunEnd, int | None]]:
    """Complete runs; give those that could not be written."""
    unwritten = []
    for end, offset in ends:
        try:
            disk.complete(end, offset)
        except OSError as error:
            log.debug("transcript_not_completed", run=end.run_id, reason=error.strerror)
            unwritten.append((end, offset))
    return unwritten

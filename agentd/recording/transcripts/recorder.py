"""Transcripts of runs: everything an agent prints is written to disk, by processes that outlive agentd.

tmux gives what a pane prints to a ``split`` of its own (coreutils), which writes what it reads at once into parts of a
fixed size. So nothing is lost when agentd is killed, rotation needs nobody, and what is written costs agentd nothing.
agentd makes the folders, writes down what ran and how it ended, and removes what is too much. Whatever goes wrong with
it is told in the status, mended once it can be, and noticed by no agent.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from functools import partial

import structlog

from agentd.files.worker import Worker
from agentd.model.status import RecordingHealth
from agentd.recording.transcripts.disk import TranscriptDisk
from agentd.recording.transcripts.ends import RunEnds
from agentd.recording.transcripts.recorded_run import RETRY_FIRST, RecordedRun
from agentd.recording.transcripts.run_metadata import RunMetadata
from agentd.recording.transcripts.run_on_disk import RunOnDisk
from agentd.recording.transcripts.terminal_sizes import TerminalSizes
from agentd.recording.transcripts.writer import writer_command
from agentd.supervise.run_recorder import RunEnd, RunFacts, RunRecorder, SeenPane
from agentd.text.timestamps import rfc3339_milliseconds
from agentd.tmux.errors import TmuxError, TmuxUnreachableError
from agentd.tmux.panes import Pane
from agentd.tmux.server import TmuxServer
from agentd.tmux.sizes import SIZE

log = structlog.get_logger(__name__)

_PATIENCE = 1.0
"""Seconds that a launch waits for the disk, which takes a millisecond; up to 50 launches wait for each other."""
_END_PATIENCE = 3.0
"""Seconds that the closing of a pane, or its next run, waits until all is kept that the ended one printed: some
milliseconds, but 0.25 s were not enough on two cores with a load of 9."""
_STUCK = 2.0
"""Seconds after which a disk that does not answer is not waited for at all."""
_SWEEP, _SWEEP_BUSY = 10.0, 1.0
"""Seconds between two looks at how much there is; the shorter one while parts are being filled."""
_RETRY_LAST = 60.0
_GOES_ON = "recording goes on by itself once that is mended"


class Transcripts(RunRecorder):
    """Keeps what runs print.

    Parameters
    ----------
    disk
        Where it is kept.
    tmux
        The server whose panes are recorded.
    writer
        Path of GNU ``split``.
    wall
        Seconds since the epoch.
    """

    def __init__(
        self, disk: TranscriptDisk, tmux: TmuxServer, writer: str | None, wall: Callable[[], float] = time.time
    ) -> None:
        self._disk = disk
        self._tmux = tmux
        self._writer = writer
        self._wall = wall
        self._worker = Worker("transcripts")
        self._sizes = TerminalSizes(tmux, disk, self._worker)
        self._runs: dict[str, RecordedRun] = {}
        self._latest: dict[str, RecordedRun] = {}
        """By agent."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._ends = RunEnds(disk, self._worker, self._runs, self._over)
        self._sweeping: asyncio.Task[None] | None = None
        self._sweep_now = asyncio.Event()
        self._problem: str | None = None
        """What is wrong with all of it."""
        self._told: str | None = None
        self._bytes = 0
        self._lost = 0

    # -- life

    async def prepare(self) -> None:
        """Make the folders; called before anything else. What goes wrong is told in the health."""
        if self._writer is None:
            self._problem = (
                "there is no GNU split on the PATH: install coreutils, or start agentd with --transcripts off"
            )
        else:
            try:
                async with asyncio.timeout(_STUCK):
                    await self._worker.do(self._disk.prepare)
            except OSError as error:
                self._problem = _sentence(error)
            except TimeoutError:
                self._problem = self._stuck()
        self._tell()

    def start(self) -> None:
        """Begin to look after what is kept; called once former runs were adopted."""
        self._sweeping = asyncio.create_task(self._sweep_for_ever(), name="transcripts")
        self._sweeping.add_done_callback(self._done)
        self._sizes.start()

    async def finish(self) -> None:
        """Wait, for moments, until everything that ended runs printed is kept: tmux is about to be closed."""
        await self._ends.finish()

    async def close(self) -> None:
        """End; what could be written is."""
        await self._ends.finish()
        await self._sizes.close()
        await self._ends.close()
        for task in (self._sweeping, *self._tasks):
            if task is not None:
                task.cancel()
                await asyncio.wait([task])
        self._worker.close()

    # -- what the supervisor tells

    async def begin(self, facts: RunFacts) -> str | None:
        """Make a run's folder, and say what is to read what it prints."""
        run = self._add(facts)
        if self._writer is None:
            return None
        if self._worker.busy_for() > _STUCK:
            self._trouble(run, self._stuck())
            return None
        run.found = self._worker.do(partial(self._begin, run.metadata, prepared=self._problem is None))
        try:
            # The worker goes on with it whatever becomes of this launch.
            async with asyncio.timeout(_PATIENCE):
                on_disk = await asyncio.shield(run.found)
        except OSError as error:
            run.found = None
            self._trouble(run, _sentence(error))
            return None
        except TimeoutError:
            run.found.add_done_callback(_look_at)
            self._trouble(run, self._stuck())
            return None
        assert on_disk is not None
        self._problem = None
        return self._command(on_disk, 0)

    def _begin(self, metadata: RunMetadata, *, prepared: bool) -> RunOnDisk | None:
        if not prepared:
            self._disk.prepare()
        return self._disk.begin(metadata)

    def _add(self, facts: RunFacts) -> RecordedRun:
        metadata = RunMetadata(
            agent=facts.agent,
            run=0,
            run_id=facts.run_id,
            harness=facts.harness,
            workdir=facts.workdir,
            argv=facts.argv,
            start=rfc3339_milliseconds(self._wall()),
            columns=SIZE[0],
            rows=SIZE[1],
        )
        run = self._runs[facts.run_id] = self._latest[facts.agent] = RecordedRun(facts, metadata)
        return run

    def _command(self, run: RunOnDisk, part: int) -> str:
        assert self._writer is not None
        return writer_command(self._writer, run.folder.output, part, self._disk.limits.part)

    def opened(self, run_id: str, pane: Pane) -> None:
        """A run's pane exists."""
        run = self._runs.get(run_id)
        if run is None:
            # It has ended meanwhile, and was completed.
            self._spawn(self._close_pipe(pane))
        else:
            run.pane, run.opened = pane, time.monotonic()
            # That of a pane which is used again may be another than that of a new one.
            if run.found is not None:
                self._sizes.note(run_id, pane, pane.size, offset=0)

    def ended(self, end: RunEnd) -> None:
        """A run ended."""
        run = self._runs.get(end.run_id)
        if run is None or run.end is not None:
            return
        run.end = end
        self._sizes.forget(end.run_id)
        self._ends.wait_for(run)

    def pane_gone(self, run_id: str) -> None:
        """A run's pane is gone: a launcher that has not said yet that the output has ended never will."""
        run = self._runs.get(run_id)
        if run is not None:
            run.pane_gone, run.give_up = True, time.monotonic()

    async def taken(self, run_id: str) -> None:
        """Wait, for moments, until all is kept that an ended run printed."""
        run = self._runs.get(run_id)
        if run is None or run.end is None or self._worker.busy_for() > _STUCK:
            return
        try:
            async with asyncio.timeout(_END_PATIENCE):
                await run.taken.wait()
        except TimeoutError:
            log.debug("transcript_end_not_seen", agent=run.facts.agent, run=run_id)

    def adopt(self, facts: RunFacts, pane: Pane) -> None:
        """Go on with a former daemon's run."""
        run = self._add(facts)
        run.pane, run.opened = pane, 0.0
        if self._writer is not None:
            run.found = self._worker.do(lambda: self._disk.find(facts.agent, facts.run_id))
            run.found.add_done_callback(_look_at)

    def observe(self, seen: Iterable[SeenPane], since: float) -> None:
        """Notice writers that have ended, and close what is open for nobody."""
        for each in seen:
            run = self._runs.get(each.run_id)
            if run is None:
                if each.piped:
                    self._spawn(self._close_pipe(each.pane))
                continue
            if run.end is None and run.found is not None:
                self._sizes.note(each.run_id, each.pane, each.size)
            if run.end is None and run.opened is not None and run.opened < since:
                if each.piped:
                    self._goes_on(run)
                elif self._writer is not None:
                    self._mend_soon(run)
        self._tell()

    # -- trouble

    def problem(self, agent: str) -> str | None:
        """Why an agent's run is not being recorded."""
        run = self._latest.get(agent)
        return None if run is None or run.end is not None else run.problem or self._problem

    def health(self) -> RecordingHealth:
        """How recording is doing."""
        error = self._overall()
        return RecordingHealth("ok" if error is None else "failing", error, self._bytes, self._lost)

    def _overall(self) -> str | None:
        if self._problem is not None:
            return self._problem
        if self._worker.busy_for() > _STUCK:
            return self._stuck()
        failing = [run for run in self._latest.values() if run.end is None and run.problem is not None]
        if not failing:
            return None
        others = f" and {len(failing) - 1} more" if len(failing) > 1 else ""
        return f"not recorded: {failing[0].facts.agent}{others}: {failing[0].problem}"

    def _stuck(self) -> str:
        return f"the disk of {self._disk.files.root} does not answer; {_GOES_ON}"

    def _trouble(self, run: RecordedRun, problem: str) -> None:
        if run.problem is None:
            self._lost += 1
        run.problem = problem
        if self._told is None:
            # At the next look, hundreds of agents are told of in one line.
            self._told = f"{run.facts.agent} is not recorded: {problem}"
            log.error("transcripts_failing", error=self._told)

    def _goes_on(self, run: RecordedRun) -> None:
        if run.problem is not None:
            run.problem = None
            run.retry_delay = RETRY_FIRST

    def _tell(self) -> None:
        """Log what goes wrong once, not once for each of hundreds of agents."""
        error = self._overall()
        if error is not None and self._told is None:
            log.error("transcripts_failing", error=error)
        elif error is None and self._told is not None:
            log.info("transcripts_go_on")
        self._told = error

    def _mend_soon(self, run: RecordedRun) -> None:
        now = time.monotonic()
        if run.problem is None:
            self._trouble(run, f"the process that wrote it has ended; {_GOES_ON}")
        if run.mending or now < run.retry_at or self._worker.busy_for() > _STUCK:
            return
        run.retry_at, run.retry_delay = now + run.retry_delay, min(2 * run.retry_delay, _RETRY_LAST)
        run.mending = True
        self._spawn(self._mend(run))

    async def _mend(self, run: RecordedRun) -> None:
        """Open a run's pipe again."""
        try:
            if self._problem is not None:
                await self._worker.do(self._disk.prepare)
                self._problem = None
            reason = run.problem or ""
            mended = self._worker.do(lambda: self._disk.mend(run.metadata, reason.partition(";")[0], self._wall()))
            on_disk, part = await mended
            if run.found is None:
                run.found = asyncio.get_running_loop().create_future()
                run.found.set_result(on_disk)
            if run.end is not None:
                # It was completed as one that has no folder.
                self._ends.write_later(run.end)
            elif run.pane is not None:
                run.opened = None
                await self._tmux.open_pipe(run.pane, self._command(on_disk, part))
                run.opened = time.monotonic()
        except OSError as error:
            self._trouble(run, _sentence(error))
        except (TmuxError, TmuxUnreachableError) as error:
            run.opened = 0.0
            self._trouble(run, f"tmux gives nothing to record: {error}; {_GOES_ON}")
        finally:
            run.mending = False

    async def _over(self, runs: Sequence[RecordedRun]) -> None:
        """All is taken that these runs printed: close their pipes, and forget them."""
        # A newer run's pipe has taken the place of this one's in the same pane, or is about to.
        newest = [run for run in runs if self._latest.get(run.facts.agent) is run]
        await asyncio.gather(*(self._close_pipe(run.pane) for run in newest if run.pane is not None))
        for run in runs:
            run.taken.set()
            self._runs.pop(run.facts.run_id, None)
            if self._latest.get(run.facts.agent) is run:
                del self._latest[run.facts.agent]
        self._sweep_now.set()

    async def _close_pipe(self, pane: Pane) -> None:
        try:
            await self._tmux.close_pipe(pane)
        except TmuxUnreachableError as error:
            # Then the next look finds it open.
            log.debug("transcript_pipe_stays", pane=pane.pane_id, reason=str(error))

    # -- how much there is

    async def _sweep_for_ever(self) -> None:
        if self._writer is None:
            return
        try:
            # One agent at a time, so that launches need not wait for a look at thousands of runs.
            for agent in await self._worker.do(self._disk.files.agents):
                await self._worker.do(partial(self._disk.take_stock, agent))
        except OSError as error:
            log.warning("transcripts_not_swept", reason=_sentence(error))
        while True:
            pause = _SWEEP
            try:
                kept = await self._worker.do(self._disk.sweep)
                self._bytes = kept.size
                pause = _SWEEP_BUSY if kept.grew else _SWEEP
            except OSError as error:
                log.warning("transcripts_not_swept", reason=_sentence(error))
            await self._ends.write()
            self._sweep_now.clear()
            try:
                async with asyncio.timeout(pause):
                    await self._sweep_now.wait()
                # Many runs may end together.
                await asyncio.sleep(_SWEEP_BUSY)
            except TimeoutError:
                continue

    # -- tasks

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("transcript_work_failed", exc_info=task.exception())


def _look_at(future: asyncio.Future[RunOnDisk | None]) -> None:
    """Say what went wrong where nobody awaits it."""
    if not future.cancelled() and (error := future.exception()) is not None:
        log.warning("transcript_not_found", reason=str(error))


def _sentence(error: OSError) -> str:
    where = f" {error.filename}" if error.filename else ""
    return f"cannot write{where}: {error.strerror}; {_GOES_ON}"

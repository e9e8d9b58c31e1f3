"""Runs that have ended: what is kept of them, and what goes when it is too much."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import structlog

from agentd.recording.transcripts.files import TranscriptFiles
from agentd.recording.transcripts.run_folder import TranscriptError
from agentd.recording.transcripts.run_metadata import RunMetadata
from agentd.recording.transcripts.run_on_disk import RunOnDisk

log = structlog.get_logger(__name__)

_CUT_AGAIN = (60.0, 0.0)
"""Seconds, the last first, after which the next sweep looks at a completed run again: its writer may have had something
left to write. With 1800 runs that ended in the last minute, one look at each takes 0.1 s."""


@dataclass(slots=True)
class CompletedRun:
    """A run that is complete: no more than limits ask for, since there are twenty of each agent."""

    agent: str
    number: int
    start: str
    size: int
    """Bytes that are kept."""
    unwritten: RunMetadata | None = None
    """How it ended, where the disk did not take that."""


@dataclass(slots=True)
class _Cut:
    """A run that was cut where its output ended, not long ago."""

    run: RunOnDisk
    again: list[float]
    """When to look again, the next time last; monotonic."""


class CompletedRuns:
    """All runs that are complete."""

    def __init__(self, files: TranscriptFiles) -> None:
        self._files = files
        self._runs: dict[str, dict[int, CompletedRun]] = {}
        """By agent and number."""
        self._cuts: dict[Path, _Cut] = {}

    def add(self, run: RunOnDisk, *, cut_again: bool) -> CompletedRun:
        """Take a run that is complete; with `cut_again`, look later whether something came after its end."""
        folder = run.folder
        size = sum(part.size for part in run.parts())
        completed = CompletedRun(folder.agent, folder.number, run.metadata.start, size)
        self._runs.setdefault(folder.agent, {})[folder.number] = completed
        if cut_again:
            again = [time.monotonic() + later for later in _CUT_AGAIN]
            self._cuts[folder.path] = _Cut(RunOnDisk(folder, run.metadata), again)
        return completed

    def has(self, agent: str, number: int) -> bool:
        """Whether a run is complete."""
        return number in self._runs.get(agent, ())

    @property
    def size(self) -> int:
        """Bytes that are kept of all."""
        return sum(run.size for runs in self._runs.values() for run in runs.values())

    def forget_removed(self) -> None:
        """Forget agents of which somebody removed everything."""
        if not self._files.root.exists():
            # A disk may come back.
            return
        for agent in [agent for agent in self._runs if not self._files.has(agent)]:
            for number in self._runs.pop(agent):
                self._cuts.pop(self._files.folder(agent, number).path, None)

    def cut_again(self) -> None:
        """Cut off what came after the end of runs that were cut a while ago."""
        now = time.monotonic()
        for cut in [cut for cut in self._cuts.values() if cut.again[-1] <= now]:
            end = cut.run.metadata.bytes
            if end is not None:
                with self._files.lock:
                    cut.run.folder.cut(cut.run.parts(), end)
            cut.again.pop()
            if not cut.again:
                del self._cuts[cut.run.folder.path]

    def keep_newest(self, count: int) -> None:
        """Keep only the newest `count` runs of each agent."""
        for runs in self._runs.values():
            for run in sorted(runs.values(), key=_began)[: max(0, len(runs) - count)]:
                self._remove(run)

    def _remove(self, run: CompletedRun) -> None:
        folder = self._files.folder(run.agent, run.number)
        with self._files.lock:
            folder.remove()
        del self._runs[run.agent][run.number]
        self._cuts.pop(folder.path, None)

    def shrink(self, size: int, limit: int) -> int:
        """Remove the oldest until all transcripts fit; give their size then.

        The newest run of each agent stays, and says how it ended.

        Parameters
        ----------
        size
            Of all transcripts, in bytes.
        limit
            What they may take, in bytes.
        """
        oldest_first = sorted((run for runs in self._runs.values() for run in runs.values()), key=_began)
        newest = {run.agent: run for run in oldest_first}
        for run in oldest_first:
            if size <= limit:
                break
            size -= run.size
            if newest[run.agent] is run:
                self._empty(run)
            else:
                self._remove(run)
        return size

    def _empty(self, run: CompletedRun) -> None:
        """Remove all that a run printed, but not how it ended."""
        folder = self._files.folder(run.agent, run.number)
        run.size = 0
        try:
            on_disk = RunOnDisk(folder, run.unwritten or folder.read())
        except TranscriptError as error:
            log.warning("transcript_damaged", agent=run.agent, run=run.number, reason=str(error))
            for part in folder.parts_there_are():
                folder.remove_part(part.name)
            return
        parts = on_disk.parts()
        on_disk.drop(parts, len(parts), self._files.lock)
        cut = self._cuts.get(folder.path)
        if cut is not None:
            cut.run = on_disk


def _began(run: CompletedRun) -> tuple[str, int]:
    return run.start, run.number

"""What is done to transcripts on disk: runs begun, mended and completed, and what is too much removed.

All of it happens in one thread, one after the other, so that nothing else changes what is known here.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import structlog

from agentd.model.run_view import GapView
from agentd.recording.transcripts.completed_runs import CompletedRuns
from agentd.recording.transcripts.files import TranscriptFiles
from agentd.recording.transcripts.retention import Retention
from agentd.recording.transcripts.run_folder import RunFolder, TranscriptError
from agentd.recording.transcripts.run_metadata import MOST_GAPS, RunMetadata, bounded_size
from agentd.recording.transcripts.run_on_disk import RunOnDisk
from agentd.supervise.run_recorder import RunEnd
from agentd.text.sizes import format_size
from agentd.text.timestamps import rfc3339_milliseconds

log = structlog.get_logger(__name__)

_ROOM = 1 << 20
"""Bytes that must be free on the disk for recording to begin, or to go on."""


class NoRoomError(OSError):
    """The disk is full."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What is there after a sweep."""

    size: int
    """Bytes."""
    grew: bool
    """Whether a run has begun another part."""


@dataclass(slots=True)
class TranscriptDisk:
    """All transcripts, and what may be done to them."""

    files: TranscriptFiles
    limits: Retention
    _live: dict[str, RunOnDisk] = field(default_factory=dict)
    """By run id."""
    _completed: CompletedRuns = field(init=False)
    _parts: dict[str, int] = field(default_factory=dict)
    """The newest part of each live run, by run id."""

    def __post_init__(self) -> None:
        """Know of no completed run yet."""
        self._completed = CompletedRuns(self.files)

    def prepare(self) -> None:
        """Make the folders.

        Raises
        ------
        OSError
            If they cannot be made or reached; the text says which one and what to do.
        """
        self.files.prepare()
        closed = self.files.closed()
        if closed is not None:
            advice = "the agents' user may not enter it: chmod o+x it, or name another --state-dir"
            raise PermissionError(None, advice, str(closed))

    def begin(self, metadata: RunMetadata) -> RunOnDisk:
        """Make the folder of a run.

        Raises
        ------
        OSError
            If that is not possible.
        """
        self._require_room()
        try:
            folder, metadata = self.files.create(metadata)
        except FileNotFoundError:
            # The state directory was removed, or mounted over.
            self.prepare()
            folder, metadata = self.files.create(metadata)
        return self._hold(folder, metadata)

    def _hold(self, folder: RunFolder, metadata: RunMetadata) -> RunOnDisk:
        run = self._live[metadata.run_id] = RunOnDisk(folder, metadata)
        return run

    def _require_room(self) -> None:
        found = os.statvfs(self.files.state)
        # Of agents that are not root's, what root may use too does not help.
        if found.f_bavail * found.f_frsize < _ROOM or found.f_favail == 0 < found.f_files:
            raise NoRoomError(None, "no space left on the disk", str(self.files.state))

    def find(self, agent: str, run_id: str) -> RunOnDisk | None:
        """Find a former daemon's run."""
        found = self.files.find(agent, run_id)
        if found is None:
            return None
        folder, metadata = found
        folder.remove_dropped(metadata)
        return self._hold(folder, metadata)

    def mend(self, metadata: RunMetadata, reason: str, now: float) -> tuple[RunOnDisk, int]:
        """Prepare that recording goes on; give the run, and the number of its next part.

        Raises
        ------
        OSError
            If it cannot go on.
        """
        run = self._live.get(metadata.run_id)
        if run is None:
            run = self.begin(metadata)
        else:
            self._require_room()
        parts = run.parts()
        offset = run.printed(parts)
        gap = GapView(rfc3339_milliseconds(now), reason, offset)
        noted = replace(run.metadata, gaps=(*run.metadata.gaps, gap)[-MOST_GAPS:])
        try:
            run.folder.write(noted)
        except FileNotFoundError:
            # Somebody removed the run's folder: it goes on in another one.
            self._forget(metadata.run_id)
            return self.begin(noted.anew()), 0
        run.metadata = noted
        return run, parts[-1].number + 1 if parts else run.metadata.first_part

    def resize(self, run_id: str, size: tuple[int, int], offset: int | None = None) -> None:
        """Note that a run's terminal has this size, columns and rows.

        Parameters
        ----------
        offset
            From which byte of its output on; ``None`` for the end of it.

        Raises
        ------
        OSError
            If that cannot be written.
        """
        run = self._live.get(run_id)
        if run is None:
            return
        if offset is None:
            offset = run.printed()
        noted = run.metadata.resized(bounded_size(offset, *size))
        if noted is not run.metadata:
            run.folder.write(noted)
            run.metadata = noted

    # -- the end of runs

    def find_ends(self, run_ids: Iterable[str], *, thoroughly: bool) -> dict[str, int]:
        """Where these runs' output ends, as far as their launchers have said so; offsets by run id.

        Of a run whose folder was removed nothing will be found: its output ends with what is not kept.
        """
        found = {}
        for run_id in run_ids:
            run = self._live.get(run_id)
            try:
                end = None if run is None else run.find_end(thoroughly=thoroughly)
                if end is None and run is not None and not run.folder.path.exists():
                    end = run.metadata.dropped
            except OSError as error:
                log.debug("transcript_end_not_found", run=run_id, reason=error.strerror)
                continue
            if end is not None:
                found[run_id] = end
        return found

    def sizes(self, run_ids: Iterable[str]) -> dict[str, int]:
        """How much each of these runs has printed so far, in bytes, by run id."""
        found = {}
        for run_id in run_ids:
            run = self._live.get(run_id)
            if run is not None:
                found[run_id] = run.printed()
        return found

    def complete(self, end: RunEnd, offset: int | None) -> None:
        """Write down how a run ended, and keep nothing after `offset`.

        Raises
        ------
        OSError
            If that cannot be written; it can be tried again.
        """
        run = self._live.get(end.run_id)
        if run is None:
            return
        if self.files.root.exists() and not self.files.has(run.folder.agent):
            # All of the agent's was removed, and stays so; without the root, a disk may come back.
            self._forget(end.run_id)
            return
        with self.files.lock:
            parts = run.parts()
            if offset is None:
                offset = run.printed(parts)
            run.folder.cut(parts, offset)
        run.metadata = replace(
            run.metadata,
            end=rfc3339_milliseconds(end.at),
            exit_code=end.exit.code,
            exit_signal=end.exit.signal,
            reason=end.reason,
            bytes=offset,
        )
        run.folder.write(run.metadata)
        self._completed.add(run, cut_again=True)
        self._forget(end.run_id)

    def _forget(self, run_id: str) -> None:
        self._live.pop(run_id, None)
        self._parts.pop(run_id, None)

    def take_stock(self, agent: str) -> None:
        """Look at what former daemons left of an agent; runs that nobody has taken over are over."""
        live = {run.folder.number for run in self._live.values() if run.folder.agent == agent}
        numbers = self.files.numbers(agent)
        for number in numbers:
            if number in live or self._completed.has(agent, number):
                continue
            folder = self.files.folder(agent, number)
            if not folder.whole and folder.cut_off:
                folder.remove()
                continue
            try:
                metadata = folder.read()
            except TranscriptError as error:
                log.warning("transcript_damaged", agent=agent, run=number, reason=str(error))
                continue
            folder.remove_dropped(metadata)
            run = RunOnDisk(folder, metadata)
            if metadata.end is None:
                self._lost(run)
            else:
                self._completed.add(run, cut_again=number == numbers[-1])

    def _lost(self, run: RunOnDisk) -> None:
        """Complete a run that ended while no agentd was there."""
        parts = run.parts()
        end = run.find_end(thoroughly=True)
        if end is None:
            end = run.printed(parts)
        run.folder.cut(parts, end)
        run.metadata = replace(
            run.metadata,
            # The last sign of it that there is; without any end it would count as one that goes on.
            end=run.last_written(parts) or run.metadata.start,
            reason="agentd was not there when it ended",
            bytes=end,
        )
        completed = self._completed.add(run, cut_again=True)
        try:
            run.folder.write(run.metadata)
        except OSError as error:
            completed.unwritten = run.metadata
            log.info("transcript_not_completed", agent=run.metadata.agent, run=run.metadata.run, reason=error.strerror)

    # -- limits

    def sweep(self) -> Kept:
        """Remove what is too much, and let each ``output.log`` be the newest part."""
        size, grew = 0, False
        for run_id, run in list(self._live.items()):
            parts = run.parts_again()
            newest = parts[-1].number if parts else 0
            if self._parts.get(run_id, 0) != newest:
                self._parts[run_id] = newest
                grew = True
                if parts:
                    self._point(run.folder, parts[-1].name)
            parts = run.drop(parts, len(parts) - self.limits.parts, self.files.lock)
            size += sum(part.size for part in parts)
        self._completed.forget_removed()
        self._completed.cut_again()
        self._completed.keep_newest(self.limits.runs)
        before = size = size + self._completed.size
        if size > self.limits.total:
            size = self._shorten_live(self._completed.shrink(size, self.limits.total))
            log.info("transcripts_trimmed", limit=format_size(self.limits.total), before=before, after=size)
        return Kept(size, grew)

    def _point(self, folder: RunFolder, name: str) -> None:
        try:
            folder.point_at(name)
        except OSError as error:
            log.debug("transcript_link_stays", folder=str(folder.path), reason=error.strerror)

    def _shorten_live(self, size: int) -> int:
        """Remove old parts of runs under way, those of the longest first."""
        if size <= self.limits.total:
            return size
        live = [(run, run.parts()) for run in self._live.values()]
        for run, parts in sorted(live, key=lambda each: len(each[1]), reverse=True):
            excess = size - self.limits.total
            count = next(
                (n for n in range(len(parts)) if sum(part.size for part in parts[:n]) >= excess), len(parts) - 1
            )
            size -= sum(part.size for part in parts[: max(0, count)])
            run.drop(parts, count, self.files.lock)
            if size <= self.limits.total:
                break
        return size

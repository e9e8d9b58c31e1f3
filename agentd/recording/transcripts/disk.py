"""What is done to transcripts on disk: runs begun, mended and completed, and what is too much removed.

All of it happens in one thread, one after the other, so that nothing else changes what is known here.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import structlog

from agentd.recording.transcripts.files import Part, RunFolder, TranscriptError, TranscriptFiles
from agentd.recording.transcripts.marks import find_end
from agentd.recording.transcripts.run_metadata import MOST_GAPS, Account, Gap, Size
from agentd.supervise.run_recorder import RunEnd
from agentd.text.sizes import format_size
from agentd.text.timestamps import rfc3339_milliseconds

log = structlog.get_logger(__name__)

_ROOM = 1 << 20
"""Bytes that must be free on the disk for recording to begin, or to go on."""
_CUT_AGAIN = (60.0, 0.0)
"""Seconds, the last first, after which the next sweep looks at a completed run again: its writer may have had something
left to write. With 1800 runs that ended in the last minute, one look at each takes 0.1 s."""


class NoRoomError(OSError):
    """The disk is full."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is kept, in bytes."""

    total: int
    run: int
    part: int
    runs: int = 20
    """Runs of each agent."""

    @classmethod
    def of(cls, total: int) -> Limits:
        """Divide what there may be in all."""
        run = min(64 << 20, max(64 << 10, total // 4))
        return cls(total, run, run // 8)

    @property
    def parts(self) -> int:
        """Parts of each run; the newest one is on its way to its size."""
        return self.run // self.part


@dataclass(slots=True)
class RunOnDisk:
    """A run that is not complete, as its thread knows it."""

    folder: RunFolder
    account: Account


@dataclass(frozen=True, slots=True)
class Kept:
    """What is there after a sweep."""

    size: int
    """Bytes."""
    grew: bool
    """Whether a run has begun another part."""


@dataclass(slots=True)
class _Complete:
    """A run that is complete: no more than limits ask for, since there are twenty of each agent."""

    agent: str
    number: int
    start: str
    size: int
    """Bytes that are kept."""
    unwritten: Account | None = None
    """How it ended, where the disk did not take that."""


@dataclass(slots=True)
class _Cut:
    """A run that was cut where its output ended, not long ago."""

    folder: RunFolder
    account: Account
    again: list[float]
    """When to look again, the next time last; monotonic."""


@dataclass(slots=True)
class TranscriptDisk:
    """All transcripts, and what may be done to them."""

    files: TranscriptFiles
    limits: Limits
    _live: dict[str, RunOnDisk] = field(default_factory=dict)
    """By run id."""
    _complete: dict[str, dict[int, _Complete]] = field(default_factory=dict)
    """By agent and number."""
    _cuts: dict[Path, _Cut] = field(default_factory=dict)
    _parts: dict[str, int] = field(default_factory=dict)
    """The newest part of each live run, by run id."""

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

    def begin(self, account: Account) -> RunOnDisk:
        """Make the folder of a run.

        Raises
        ------
        OSError
            If that is not possible.
        """
        self._require_room()
        try:
            folder, account = self.files.create(account)
        except FileNotFoundError:
            # The state directory was removed, or mounted over.
            self.prepare()
            folder, account = self.files.create(account)
        return self._hold(folder, account)

    def _hold(self, folder: RunFolder, account: Account) -> RunOnDisk:
        run = self._live[account.run_id] = RunOnDisk(folder, account)
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
        folder, account = found
        folder.remove_dropped(account)
        return self._hold(folder, account)

    def mend(self, account: Account, reason: str, now: float) -> tuple[RunOnDisk, int]:
        """Prepare that recording goes on; give the run, and the number of its next part.

        Raises
        ------
        OSError
            If it cannot go on.
        """
        run = self._live.get(account.run_id)
        if run is None:
            run = self.begin(account)
        else:
            self._require_room()
        parts = run.folder.parts(run.account)
        offset = _printed(parts, run.account)
        gap = Gap(rfc3339_milliseconds(now), reason, offset)
        noted = replace(run.account, gaps=(*run.account.gaps, gap)[-MOST_GAPS:])
        try:
            run.folder.write(noted)
        except FileNotFoundError:
            # Somebody removed the run's folder: it goes on in another one.
            self._forget(account.run_id)
            return self.begin(noted.anew()), 0
        run.account = noted
        return run, parts[-1].number + 1 if parts else run.account.first_part

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
            offset = _printed(run.folder.parts(run.account), run.account)
        noted = run.account.resized(Size.bounded(offset, *size))
        if noted is not run.account:
            run.folder.write(noted)
            run.account = noted

    # -- the end of runs

    def find_ends(self, run_ids: Iterable[str], *, thoroughly: bool) -> dict[str, int]:
        """Where these runs' output ends, as far as their launchers have said so; offsets by run id.

        Of a run whose folder was removed nothing will be found: its output ends with what is not kept.
        """
        found = {}
        for run_id in run_ids:
            run = self._live.get(run_id)
            try:
                end = None if run is None else _end_of(run.folder, run.account, thoroughly=thoroughly)
                if end is None and run is not None and not run.folder.path.exists():
                    end = run.account.dropped
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
                found[run_id] = _printed(run.folder.parts(run.account), run.account)
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
        with self.files.lock:
            parts = run.folder.parts(run.account)
            if offset is None:
                offset = _printed(parts, run.account)
            run.folder.cut(parts, offset)
        run.account = replace(
            run.account,
            end=rfc3339_milliseconds(end.at),
            exit_code=end.exit.code,
            exit_signal=end.exit.signal,
            reason=end.reason,
            bytes=offset,
        )
        run.folder.write(run.account)
        self._completed(run.folder, run.account)
        self._cut_later(run.folder, run.account)
        self._forget(end.run_id)

    def _forget(self, run_id: str) -> None:
        self._live.pop(run_id, None)
        self._parts.pop(run_id, None)

    def _completed(self, folder: RunFolder, account: Account) -> _Complete:
        size = sum(part.size for part in folder.parts(account))
        run = _Complete(folder.agent, folder.number, account.start, size)
        self._complete.setdefault(run.agent, {})[run.number] = run
        return run

    def _cut_later(self, folder: RunFolder, account: Account) -> None:
        self._cuts[folder.path] = _Cut(folder, account, [time.monotonic() + later for later in _CUT_AGAIN])

    def take_stock(self, agent: str) -> None:
        """Look at what former daemons left of an agent; runs that nobody has taken over are over."""
        live = {run.folder.number for run in self._live.values() if run.folder.agent == agent}
        numbers = self.files.numbers(agent)
        for number in numbers:
            if number in live or number in self._complete.get(agent, ()):
                continue
            folder = self.files.folder(agent, number)
            if not folder.whole and folder.cut_off:
                folder.remove()
                continue
            try:
                account = folder.read()
            except TranscriptError as error:
                log.warning("transcript_damaged", agent=agent, run=number, reason=str(error))
                continue
            folder.remove_dropped(account)
            if account.end is None:
                self._lost(folder, account)
                continue
            self._completed(folder, account)
            if number == numbers[-1]:
                self._cut_later(folder, account)

    def _lost(self, folder: RunFolder, account: Account) -> None:
        """Complete a run that ended while no agentd was there."""
        parts = folder.parts(account)
        end = _end_of(folder, account, thoroughly=True)
        if end is None:
            end = _printed(parts, account)
        folder.cut(parts, end)
        account = replace(
            account,
            # The last sign of it that there is; without any end it would count as one that goes on.
            end=_last_written(folder, parts) or account.start,
            reason="agentd was not there when it ended",
            bytes=end,
        )
        run = self._completed(folder, account)
        self._cut_later(folder, account)
        try:
            folder.write(account)
        except OSError as error:
            run.unwritten = account
            log.info("transcript_not_completed", agent=account.agent, run=account.run, reason=error.strerror)

    # -- limits

    def sweep(self) -> Kept:
        """Remove what is too much, and let each ``output.log`` be the newest part."""
        size, grew = 0, False
        for run_id, run in list(self._live.items()):
            parts = run.folder.parts(run.account)
            newest = parts[-1].number if parts else 0
            if self._parts.get(run_id, 0) != newest:
                self._parts[run_id] = newest
                grew = True
                if parts:
                    self._point(run.folder, parts[-1].name)
            parts = self._drop(run, parts, len(parts) - self.limits.parts)
            size += sum(part.size for part in parts)
        self._cut_again()
        self._remove_surplus_runs()
        size += sum(run.size for runs in self._complete.values() for run in runs.values())
        return Kept(self._remove_to_fit(size), grew)

    def _point(self, folder: RunFolder, name: str) -> None:
        try:
            folder.point_at(name)
        except OSError as error:
            log.debug("transcript_link_stays", folder=str(folder.path), reason=error.strerror)

    def _drop(self, run: RunOnDisk, parts: list[Part], count: int) -> list[Part]:
        if count <= 0:
            return parts
        try:
            with self.files.lock:
                run.account = run.folder.drop(run.account, parts[:count])
        except OSError as error:
            log.warning("transcript_not_trimmed", folder=str(run.folder.path), reason=error.strerror)
            return parts
        return parts[count:]

    def _cut_again(self) -> None:
        now = time.monotonic()
        for cut in [cut for cut in self._cuts.values() if cut.again[-1] <= now]:
            end = cut.account.bytes
            if end is not None:
                with self.files.lock:
                    cut.folder.cut(cut.folder.parts(cut.account), end)
            cut.again.pop()
            if not cut.again:
                del self._cuts[cut.folder.path]

    def _remove_surplus_runs(self) -> None:
        for runs in self._complete.values():
            for run in sorted(runs.values(), key=_began)[: max(0, len(runs) - self.limits.runs)]:
                self._remove(run)

    def _remove(self, run: _Complete) -> None:
        folder = self.files.folder(run.agent, run.number)
        with self.files.lock:
            folder.remove()
        del self._complete[run.agent][run.number]
        self._cuts.pop(folder.path, None)

    def _remove_to_fit(self, size: int) -> int:
        """Remove the oldest of everything until it fits; the newest run of each agent stays, and says how it ended."""
        if size <= self.limits.total:
            return size
        before = size
        oldest_first = sorted((run for runs in self._complete.values() for run in runs.values()), key=_began)
        newest = {run.agent: run for run in oldest_first}
        for run in oldest_first:
            if size <= self.limits.total:
                break
            size -= run.size
            if newest[run.agent] is run:
                self._empty(run)
            else:
                self._remove(run)
        size = self._shorten_live(size)
        log.info("transcripts_trimmed", limit=format_size(self.limits.total), before=before, after=size)
        return size

    def _empty(self, run: _Complete) -> None:
        """Remove all that a complete run printed, but not how it ended."""
        folder = self.files.folder(run.agent, run.number)
        run.size = 0
        try:
            on_disk = RunOnDisk(folder, run.unwritten or folder.read())
        except TranscriptError as error:
            log.warning("transcript_damaged", agent=run.agent, run=run.number, reason=str(error))
            for part in folder.parts_there_are():
                folder.remove_part(part.name)
            return
        parts = folder.parts(on_disk.account)
        self._drop(on_disk, parts, len(parts))
        cut = self._cuts.get(folder.path)
        if cut is not None:
            cut.account = on_disk.account

    def _shorten_live(self, size: int) -> int:
        """Remove old parts of runs under way, those of the longest first."""
        if size <= self.limits.total:
            return size
        live = [(run, run.folder.parts(run.account)) for run in self._live.values()]
        for run, parts in sorted(live, key=lambda each: len(each[1]), reverse=True):
            excess = size - self.limits.total
            count = next(
                (n for n in range(len(parts)) if sum(part.size for part in parts[:n]) >= excess), len(parts) - 1
            )
            size -= sum(part.size for part in parts[: max(0, count)])
            self._drop(run, parts, count)
            if size <= self.limits.total:
                break
        return size


def _printed(parts: Sequence[Part], account: Account) -> int:
    """How much a run has printed so far, in bytes."""
    return parts[-1].start + parts[-1].size if parts else account.dropped


def _began(run: _Complete) -> tuple[str, int]:
    return run.start, run.number


def _end_of(folder: RunFolder, account: Account, *, thoroughly: bool) -> int | None:
    return find_end(folder, account.run_id, folder.parts(account), thoroughly=thoroughly)


def _last_written(folder: RunFolder, parts: Sequence[Part]) -> str | None:
    if not parts:
        return None
    try:
        with folder.open_part(parts[-1].name) as file:
            return rfc3339_milliseconds(os.fstat(file.fileno()).st_mtime)
    except OSError:
        return None

"""Writing the journal's files: appending, beginning new ones, removing old ones. Blocks, and runs in a thread."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, islice
from pathlib import Path

from agentd.model.events import EventKind
from agentd.recording.journal.files import Segment, backwards, segment_path, segments
from agentd.recording.journal.lines import Entry

SEGMENT_BYTES = 4 * 1024 * 1024
TOTAL_BYTES = 64 * 1024 * 1024
"""Kept altogether: some 300 000 events."""

_RECENT = 4096
"""Events of a daemon that did not end in order that are looked through for the runs whose end it told: 20 ms, and more
than 1000 agents cause at the same moment."""

_FOLDER_MODE = 0o700
_FILE_MODE = 0o600


class JournalWriteError(Exception):
    """Why something could not be written: where, and what the system says."""

    def __init__(self, path: Path, error: OSError, written: int = 0) -> None:
        super().__init__(f"{path}: {error.strerror}")
        self.written = written
        """How many of the events are written all the same."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a former daemon left."""

    last: int
    """Number of its last event."""
    clean: bool
    """Whether it ended in order, so that this certainly was the last number that it gave away."""
    ended: frozenset[str] = frozenset()
    """Runs whose end was told not long before an end that was not in order."""


class JournalWriter:
    """Appends to the newest file of a folder."""

    def __init__(self, folder: Path, segment_bytes: int = SEGMENT_BYTES, total_bytes: int = TOTAL_BYTES) -> None:
        self.folder = folder
        self._segment_bytes = segment_bytes
        self._total_bytes = total_bytes
        self.bytes = 0
        """What is kept on disk."""
        self.oldest = 0
        """Number of the first event in the files, 0 without files."""
        self._segments: list[Segment] = []
        self._sizes: dict[int, int] = {}
        self._descriptor: int | None = None
        self._half_line = False
        self._new_file = False
        self._swap = threading.Lock()
        """Held only while the descriptor changes, never while the disk is waited for."""

    def find(self) -> Found:
        """Look at what there is, without changing it.

        Raises
        ------
        OSError
            If it cannot be read.
        """
        self._take(segments(self.folder))
        newest = next(backwards(self.folder), None)
        if newest is None:
            return Found(max((segment.first - 1 for segment in self._segments), default=0), not self._segments)
        last = max(newest.seq, self._segments[-1].first - 1)
        clean = newest.kind == EventKind.DAEMON_STOPPED
        return Found(last, clean, frozenset() if clean else self._recently_ended())

    def _recently_ended(self) -> frozenset[str]:
        recent = islice(backwards(self.folder), _RECENT)
        runs = (_run_of(entry) for entry in recent if entry.kind == EventKind.EXITED)
        return frozenset(run for run in runs if run is not None)

    def _take(self, found: list[Segment]) -> None:
        self._segments = found
        self._sizes = {segment.first: segment.path.stat().st_size for segment in found}
        self.bytes = sum(self._sizes.values())
        self.oldest = found[0].first if found else 0

    def append(self, entries: Sequence[Entry]) -> None:
        """Write events to the newest file, or to a new one if that is full.

        Raises
        ------
        JournalWriteError
            If not all could be written; it says how many were.
        """
        lines = [entry.line for entry in entries]
        try:
            descriptor = self._open(entries[0].seq)
            size = os.fstat(descriptor).st_size
        except OSError as error:
            raise JournalWriteError(self.folder, error) from error
        data = b"".join([b"\n", *lines] if self._half_line else lines)
        kept, problem = self._write(descriptor, data, size)
        newest = self._segments[-1]
        self._sizes[newest.first] = size + kept
        self.bytes = sum(self._sizes.values())
        if problem is not None:
            raise JournalWriteError(newest.path, problem, _whole_lines(lines, kept)) from problem

    def _write(self, descriptor: int, data: bytes, size: int) -> tuple[int, OSError | None]:
        """Write, and say how many bytes were and what went wrong."""
        written = 0
        try:
            while written < len(data):
                written += os.write(descriptor, data[written:])
        except OSError as error:
            # A line of which only a part found room is taken back; where even that fails, it is ended later.
            whole = data.rfind(b"\n", 0, written) + 1
            self._half_line = self._half_line and whole == 0
            try:
                os.ftruncate(descriptor, size + whole)
            except OSError:
                self._half_line = self._half_line or whole < written
            return whole, error
        self._half_line = False
        return written, None

    def _open(self, seq: int) -> int:
        """Give the file to append to."""
        descriptor = self._descriptor
        if descriptor is not None:
            found = os.fstat(descriptor)
            if found.st_size < self._segment_bytes and self._stands(found):
                return descriptor
            # It is full, or somebody removed or moved it.
            self._close_file()
        return self._begin(seq)

    def _stands(self, found: os.stat_result) -> bool:
        try:
            return bool(self._segments) and os.path.samestat(found, self._segments[-1].path.lstat())
        except OSError:
            return False

    def _begin(self, seq: int) -> int:
        if not self.folder.is_dir():
            self.folder.mkdir(mode=_FOLDER_MODE)
        self._take(segments(self.folder))
        newest = self._segments[-1] if self._segments else None
        if newest is None or self._sizes[newest.first] >= self._segment_bytes:
            newest = Segment(seq, segment_path(self.folder, seq))
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(newest.path, flags, _FILE_MODE)
        size = os.fstat(descriptor).st_size
        self._half_line = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        with self._swap:
            self._descriptor = descriptor
        self._new_file = True
        self._remove_old()
        self._take(segments(self.folder))
        return descriptor

    def _remove_old(self) -> None:
        """Remove the oldest files until there is room for another full one."""
        kept = self.bytes
        for segment in self._segments[:-1]:
            if kept <= self._total_bytes - self._segment_bytes:
                return
            segment.path.unlink(missing_ok=True)
            kept -= self._sizes[segment.first]

    def sync(self) -> None:
        """Have everything that is written survive a power failure.

        Raises
        ------
        JournalWriteError
            If the system cannot.
        """
        try:
            with self._swap:
                if self._descriptor is None:
                    return
                descriptor, new = os.dup(self._descriptor), self._new_file
                self._new_file = False
            try:
                os.fdatasync(descriptor)
                if new:
                    self._sync_folder()
            finally:
                os.close(descriptor)
        except OSError as error:
            raise JournalWriteError(self.folder, error) from error

    def _sync_folder(self) -> None:
        descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _close_file(self) -> None:
        with self._swap:
            descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            try:
                os.fdatasync(descriptor)
            finally:
                os.close(descriptor)

    def close(self) -> None:
        """Let go of the file.

        Raises
        ------
        JournalWriteError
            If what is written may not survive a power failure.
        """
        try:
            self._close_file()
        except OSError as error:
            raise JournalWriteError(self.folder, error) from error


def _run_of(entry: Entry) -> str | None:
    """The run that an event is about; ``None`` too where somebody else made the line."""
    try:
        values = json.loads(entry.body)
    except ValueError:
        return None
    data = values.get("data") if isinstance(values, dict) else None
    run = data.get("run") if isinstance(data, dict) else None
    return run if isinstance(run, str) else None


def _whole_lines(lines: Sequence[bytes], written: int) -> int:
    """How many lines fit into the bytes that were written."""
    ends = accumulate(map(len, lines))
    return sum(end <= written for end in ends)

"""The journal's files: which there are, where a reader begins in them, and reading on in pieces.

Each file is named by the number of its first event, so a reader finds its file by the names and its place in the file
by bisection: without reading what lies before. Everything here may block and runs in a thread.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from agentd.recording.journal.lines import LONGEST_LINE, Entry, parse_line

_NAME = re.compile(r"([0-9]{16})\.jsonl")

PIECE = 64 * 1024
"""Bytes read in one go, 2 ms; at least a whole line."""

_STRIDE = 16 * 1024
"""Bytes that are read through rather than bisected further."""


@dataclass(frozen=True, slots=True, order=True)
class Segment:
    """One file of the journal."""

    first: int
    """Number of its first event."""
    path: Path


def segment_path(folder: Path, first: int) -> Path:
    """Name the file that begins with this event."""
    return folder / f"{first:016}.jsonl"


def segments(folder: Path) -> list[Segment]:
    """List the files, oldest first; none where there is no folder."""
    try:
        names = [(_NAME.fullmatch(path.name), path) for path in folder.iterdir()]
    except FileNotFoundError:
        return []
    return sorted(Segment(int(name.group(1)), path) for name, path in names if name is not None)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events a reader wants."""

    agents: frozenset[str] = frozenset()
    """Names in lower case; none means all, and what concerns no agent."""
    kinds: frozenset[str] = frozenset()
    """None means all."""

    def takes(self, entry: Entry) -> bool:
        """Whether an event is wanted."""
        if self.kinds and entry.kind not in self.kinds:
            return False
        return not self.agents or (entry.agent is not None and entry.agent.lower() in self.agents)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a reader is."""

    segment: int
    """Number of the file's first event."""
    offset: int
    """Byte at which a line begins."""


# -- where to begin


def place_after(folder: Path, seq: int) -> Place | None:
    """Find where events later than this number begin; ``None`` where there are no files."""
    found = segments(folder)
    if not found:
        return None
    earlier = [segment for segment in found if segment.first <= seq]
    segment = earlier[-1] if earlier else found[0]
    return Place(segment.first, _offset(segment.path, lambda entry: entry.seq <= seq))


def last_before(folder: Path, time: str) -> int:
    """Give the number of the last event before a time (RFC 3339 in UTC), as the clock was; 0 if all are later."""
    for segment in reversed(segments(folder)):
        with segment.path.open("rb") as file:
            first = _next_entry(file, 0, _size(file))
            if first is None or first[1].time >= time:
                continue
            last = 0
            file.seek(_offset_in(file, lambda entry: entry.time < time))
            for line in file:
                entry = parse_line(line.rstrip(b"\n"))
                if entry is not None and entry.time >= time:
                    return last or entry.seq - 1
                last = last if entry is None else entry.seq
            return last
    return 0


def _offset(path: Path, before: Callable[[Entry], bool]) -> int:
    try:
        with path.open("rb") as file:
            return _offset_in(file, before)
    except OSError:
        # Whoever reads on from here will find out, and say so.
        return 0


def _offset_in(file: BinaryIO, before: Callable[[Entry], bool]) -> int:
    """Give the start of a line not far before the first event of which `before` is false."""
    low, high = 0, _size(file)
    while high - low > _STRIDE:
        middle = (low + high) // 2
        found = _next_entry(file, middle, high)
        if found is not None and before(found[1]):
            low = found[0]
        else:
            high = middle
    return low


def _size(file: BinaryIO) -> int:
    return file.seek(0, 2)


def _next_entry(file: BinaryIO, start: int, end: int) -> tuple[int, Entry] | None:
    """Give the first whole line that begins from ``start`` to before ``end``, and where."""
    offset = max(0, start - 1)
    file.seek(offset)
    if start > 0:
        offset += len(file.readline())
    while offset < end:
        line = file.readline(LONGEST_LINE)
        if not line:
            return None
        entry = parse_line(line.rstrip(b"\n"))
        if entry is not None:
            return offset, entry
        offset += len(line)
    return None


# -- reading on


@dataclass(frozen=True, slots=True)
class Piece:
    """What was read in one go."""

    entries: tuple[Entry, ...]
    """Those that are wanted."""
    place: Place | None
    """Where to read on."""
    last: int
    """Number of the last event that was looked at, wanted or not."""
    damaged: tuple[Place, ...]
    """Lines that hold no event."""
    done: bool
    """Whether there is no more for now."""
    error: str | None = None
    """Why a file could not be read; the next one is read on."""


def read_piece(folder: Path, place: Place | None, after: int, wanted: Wanted) -> Piece:
    """Read on from a place; without one, or if its file is gone, from the first event later than ``after``."""
    if place is None:
        place = place_after(folder, after)
        if place is None:
            return Piece((), None, after, (), done=True)
    error = None
    try:
        with segment_path(folder, place.segment).open("rb") as file:
            file.seek(place.offset)
            data = file.read(PIECE)
    except FileNotFoundError:
        data = b""
    except OSError as problem:
        data, error = b"", f"{segment_path(folder, place.segment)}: {problem.strerror}"
    whole = data[: data.rfind(b"\n") + 1]
    if not whole:
        following = next((segment for segment in segments(folder) if segment.first > place.segment), None)
        if following is not None:
            # What is left here may be a line that was never finished.
            rest = _understand(data + b"\n", place, after, wanted)
            return replace(rest, place=Place(following.first, 0), error=error)
        if len(data) < PIECE:
            return Piece((), place, after, (), done=True, error=error)
        return Piece((), Place(place.segment, place.offset + len(data)), after, (place,), done=False)
    return _understand(whole, place, after, wanted)


def _understand(data: bytes, place: Place, after: int, wanted: Wanted) -> Piece:
    entries, damaged, offset = [], [], place.offset
    for line in data[:-1].split(b"\n"):
        entry = parse_line(line)
        if entry is None:
            if line:
                damaged.append(Place(place.segment, offset))
        elif entry.seq > after:
            after = entry.seq
            if wanted.takes(entry):
                entries.append(entry)
        offset += len(line) + 1
    return Piece(tuple(entries), Place(place.segment, offset), after, tuple(damaged), done=False)


# -- reading back


def backwards(folder: Path) -> Iterator[Entry]:
    """Give the events from the last to the first.

    Raises
    ------
    OSError
        If a file cannot be read.
    """
    for segment in reversed(segments(folder)):
        with segment.path.open("rb") as file:
            for line in _lines_backwards(file):
                entry = parse_line(line)
                if entry is not None:
                    yield entry


def _lines_backwards(file: BinaryIO) -> Iterator[bytes]:
    end, rest = _size(file), b""
    while end > 0:
        start = max(0, end - _STRIDE)
        file.seek(start)
        lines = (file.read(end - start) + rest).split(b"\n")
        # The first may have begun before; what is too long for a line is none, however it begins.
        rest = lines.pop(0) if start > 0 else b""
        rest = rest[-LONGEST_LINE:]
        yield from reversed(lines)
        end = start


def before_last(folder: Path, count: int, wanted: Wanted, newest: int) -> int:
    """Give the number after which the last ``count`` wanted events up to the number ``newest`` come.

    Raises
    ------
    OSError
        If a file cannot be read.
    """
    for entry in backwards(folder):
        if entry.seq <= newest and wanted.takes(entry):
            count -= 1
            if count == 0:
                return entry.seq - 1
    return 0

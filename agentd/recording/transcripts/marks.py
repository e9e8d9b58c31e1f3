"""Where a run's output ends: its launcher says so in the terminal, before the shell that follows greets."""

from __future__ import annotations

from collections.abc import Sequence

from agentd.launch.launcher import end_mark
from agentd.recording.transcripts.run_folder import Part, RunFolder

_TAIL = 16 * 1024
"""Bytes in which the mark is looked for first; the shell that follows greets with a few hundred."""
_BLOCK = 1 << 20


def find_end(folder: RunFolder, run_id: str, parts: Sequence[Part], *, thoroughly: bool) -> int | None:
    """Give the offset of the last mark; among the last bytes only, unless it is to be looked for `thoroughly`."""
    mark = end_mark(run_id)
    if not parts:
        return None
    first, last = parts[0].start, parts[-1].start + parts[-1].size
    block = _BLOCK if thoroughly else _TAIL
    end = last
    while end > first:
        start = max(first, end - block)
        found = _read(folder, parts, start, end).rfind(mark)
        if found >= 0:
            return start + found
        if not thoroughly or start == first:
            return None
        # A mark may lie across two blocks.
        end = start + len(mark) - 1
    return None


def end_so_far(folder: RunFolder, run_id: str, parts: Sequence[Part]) -> int | None:
    """Give the offset of a mark at the end of a run that is not complete yet, be it only the beginning of a mark."""
    found = find_end(folder, run_id, parts, thoroughly=False)
    if found is not None or not parts:
        return found
    mark = end_mark(run_id)
    end = parts[-1].start + parts[-1].size
    last = _read(folder, parts, max(parts[0].start, end - len(mark)), end)
    length = next((length for length in range(len(mark) - 1, 0, -1) if last.endswith(mark[:length])), 0)
    return end - length if length else None


def _read(folder: RunFolder, parts: Sequence[Part], start: int, end: int) -> bytes:
    pieces = []
    for part in parts:
        low, high = max(start, part.start), min(end, part.start + part.size)
        if low < high:
            pieces.append(folder.read_part(part, low, high - low).ljust(high - low, b"\0"))
    return b"".join(pieces)

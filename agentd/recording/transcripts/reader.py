"""Reading transcripts: by bytes, by lines from the end, and on as they grow."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from agentd.files.worker import Worker
from agentd.recording.transcripts.files import TranscriptFiles
from agentd.recording.transcripts.marks import end_so_far
from agentd.recording.transcripts.run_folder import Part, RunFolder, TranscriptError
from agentd.recording.transcripts.run_metadata import RunMetadata

T = TypeVar("T")

BLOCK = 64 * 1024
"""Bytes that are read at once: well under a millisecond from the cache, and what a stream holds for its client."""
_POLL_FIRST, _POLL_LAST = 0.05, 0.5
"""Seconds between two looks at a run that prints nothing."""
_SEARCHED = 8 << 20
"""Bytes in which the beginning of the last lines is looked for; what is before are no lines for people."""


@dataclass(frozen=True, slots=True)
class Extent:
    """What there is of a run's output."""

    metadata: RunMetadata
    parts: tuple[Part, ...]
    marked: int | None
    """Where the output of a run ends that is not complete yet, as far as its launcher has said so."""

    @property
    def first(self) -> int:
        """Offset of the first byte that is kept."""
        return self.parts[0].start if self.parts else self.metadata.dropped

    @property
    def end(self) -> int:
        """Offset after the last byte."""
        end = self.parts[-1].start + self.parts[-1].size if self.parts else self.metadata.dropped
        # What stands after the end of a run is about to be cut off.
        known = self.metadata.bytes if self.metadata.bytes is not None else self.marked
        return end if known is None else max(self.first, min(end, known))


@dataclass(slots=True)
class TranscriptReader:
    """Reads transcripts in threads of its own, so that a slow disk holds up nothing else.

    Parameters
    ----------
    files
        Where they are kept.
    """

    files: TranscriptFiles
    _worker: Worker = field(default_factory=lambda: Worker("transcript-reader", threads=4))

    async def find(self, agent: str, run: str | None) -> tuple[RunFolder, Extent]:
        """Find a run.

        Parameters
        ----------
        run
            Its number, or ``previous`` for the one before the newest; ``None`` for the newest.

        Raises
        ------
        TranscriptError
            If there is none; the text says which ones there are.
        """
        return await self._worker.do(lambda: self._find(agent, run))

    def _find(self, agent: str, run: str | None) -> tuple[RunFolder, Extent]:
        numbers = self.files.numbers(agent)
        if not numbers:
            raise TranscriptError(f"no run of {agent} was recorded")
        if run is None:
            number = numbers[-1]
        elif run == "previous":
            if len(numbers) < 2:  # noqa: PLR2004
                raise TranscriptError(f"of {agent} only run {numbers[-1]} is kept, none before it")
            number = numbers[-2]
        else:
            number = int(run)
            if number not in numbers:
                raise TranscriptError(f"run {number} of {agent} is not kept; there are {_ranges(numbers)}")
        folder = self.files.folder(agent, number)
        return folder, self._extent(folder)

    def _extent(self, folder: RunFolder) -> Extent:
        metadata, parts = self.files.snapshot(folder)
        marked = end_so_far(folder, metadata.run_id, parts) if metadata.end is None else None
        return Extent(metadata, tuple(parts), marked)

    async def runs(self, agent: str) -> list[Extent]:
        """Every run of an agent that is kept, oldest first; none if the agent is not known here.

        Raises
        ------
        TranscriptError
            If that can be no name of an agent.
        """
        return await self._worker.do(lambda: self._runs(agent))

    def _runs(self, agent: str) -> list[Extent]:
        found = []
        for number in self.files.numbers(agent):
            # A damaged one is no reason to hide the others.
            with contextlib.suppress(TranscriptError):
                found.append(self._extent(self.files.folder(agent, number)))
        return found

    async def extent(self, folder: RunFolder) -> Extent:
        """Look again at what there is of a run.

        Raises
        ------
        TranscriptError
            If it was removed.
        """
        return await self._worker.do(lambda: self._extent(folder))

    async def read(self, folder: RunFolder, extent: Extent, start: int, limit: int) -> bytes:
        """Read up to `limit` bytes from the offset `start` on, at most to the end of a part; none where nothing is."""
        return await self._worker.do(lambda: _read(folder, extent, start, limit))

    async def start_of_lines(self, folder: RunFolder, extent: Extent, count: int) -> int:
        """The offset at which the last `count` lines begin; a last line may have no line break."""
        return await self._worker.do(lambda: _start_of_lines(folder, extent, count))

    async def do(self, job: Callable[[], T]) -> T:
        """Do other work that takes time."""
        return await self._worker.do(job)

    async def pieces(
        self, folder: RunFolder, extent: Extent, start: int, end: int | None, *, follow: bool
    ) -> AsyncGenerator[bytes, None]:
        """Give a run's output from an offset on, up to `end`; on until the run has ended if asked to `follow`.

        Then an empty piece says that for a moment nothing more came.
        """
        position, pause, unreadable = max(start, extent.first), _POLL_FIRST, -1
        while end is None or position < end:
            limit = BLOCK if end is None else min(BLOCK, end - position)
            data = await self.read(folder, extent, position, limit)
            if data:
                position, pause = position + len(data), _POLL_FIRST
                yield data
                continue
            if position >= extent.end:
                if extent.metadata.end is not None or not follow:
                    return
                await asyncio.sleep(pause)
                if pause == _POLL_FIRST:
                    yield b""
                pause = min(2 * pause, _POLL_LAST)
            elif unreadable == position:
                # Something else stands in its place.
                position = next(part.start + part.size for part in extent.parts if position < part.start + part.size)
                continue
            else:
                unreadable = position
            try:
                extent = await self.extent(folder)
            except TranscriptError:
                return
            # What was removed before it was read is left out.
            position = max(position, extent.first)

    def close(self) -> None:
        """End the threads."""
        self._worker.close()


def _ranges(numbers: list[int]) -> str:
    """Write numbers with their neighbours joined: ``3, 7 to 12``."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and spans[-1][-1] == number - 1:
            spans[-1][1:] = [number]
        else:
            spans.append([number])
    return ", ".join(" to ".join(map(str, span)) for span in spans)


def _read(folder: RunFolder, extent: Extent, start: int, limit: int) -> bytes:
    for part in extent.parts:
        if part.start <= start < part.start + part.size:
            # Not past what is known of it: a part may have grown, and a run's end be about to be cut off.
            known = min(part.start + part.size, extent.end) - start
            return folder.read_part(part, start, min(limit, known)) if known > 0 else b""
    return b""


def _start_of_lines(folder: RunFolder, extent: Extent, count: int) -> int:
    if count == 0:
        return extent.end
    position, missing = extent.end, count + 1
    lowest = max(extent.first, extent.end - _SEARCHED)
    while position > lowest:
        start = max(lowest, position - BLOCK)
        data = b""
        while start + len(data) < position:
            more = _read(folder, extent, start + len(data), position - start - len(data))
            if not more:
                return position
            data += more
        if position == extent.end and not data.endswith(b"\n"):
            missing -= 1
        found = len(data)
        while missing and (found := data.rfind(b"\n", 0, found)) >= 0:
            missing -= 1
            if missing == 0:
                return start + found + 1
        position = start
    return lowest

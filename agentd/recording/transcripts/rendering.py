"""A run's output on its way to text, read with the size that the terminal had at each byte."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from agentd.recording.transcripts.readable import Readable, TooSlowError

if TYPE_CHECKING:
    from agentd.model.run_view import RunView
    from agentd.recording.transcripts.run_metadata import RunMetadata

_COLUMNS, _ROWS = 80, 24
"""Of runs whose size nobody noted."""


class Rendering:
    """Turns the bytes of a run's output into lines.

    Parameters
    ----------
    start
        Offset of the first byte that is fed.
    effort
        Seconds of this thread's CPU after which `feed` gives up.
    """

    def __init__(self, run: RunMetadata | RunView, start: int, *, effort: float = math.inf) -> None:
        self._effort = effort
        self._position = start
        size = next((size for size in reversed(run.sizes) if size.offset <= start), None)
        columns, rows = (run.columns, run.rows) if size is None else (size.columns, size.rows)
        self._readable = Readable(columns or _COLUMNS, rows or _ROWS)
        self._sizes = run.sizes

    def learn(self, run: RunMetadata | RunView) -> None:
        """Take the sizes that are known by now."""
        self._sizes = run.sizes

    def feed(self, data: bytes) -> list[str]:
        """Take bytes, and give the lines that scrolled off.

        Raises
        ------
        TooSlowError
            If that takes too long.
        """
        lines: list[str] = []
        until = time.thread_time() + self._effort
        for size in self._sizes:
            ahead = size.offset - self._position
            if 0 <= ahead <= len(data):
                lines += self._take(data[:ahead], until)
                data = data[ahead:]
                self._readable.resize(size.columns or _COLUMNS, size.rows or _ROWS)
        return lines + self._take(data, until)

    def _take(self, data: bytes, until: float) -> list[str]:
        self._position += len(data)
        left = until - time.thread_time()
        if left <= 0:
            raise TooSlowError
        return self._readable.feed(data, effort=left) if data else []

    def settled(self) -> list[str]:
        """Give lines that nothing is likely to change any more, each once."""
        return self._readable.settled()

    def rest(self) -> list[str]:
        """Give what the terminal shows, as far as it was not given yet."""
        return self._readable.rest()

"""What is known of a run: ``run.json`` beside its output."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from pydantic import TypeAdapter
from pydantic_core import PydanticSerializationError

from agentd.model.run_view import GapView, SizeView

MOST_GAPS = 100
MOST_SIZES = 200
_LARGEST = 1000
"""Columns or rows; a terminal of more than that is none that anybody looks at."""


@dataclass(frozen=True, slots=True)
class RunMetadata:
    """A run, as ``run.json`` tells of it; times are RFC 3339 in UTC."""

    agent: str
    run: int
    run_id: str
    harness: str
    workdir: str
    argv: tuple[str, ...]
    start: str
    end: str | None = None
    exit_code: int | None = None
    exit_signal: int | None = None
    reason: str | None = None
    """Why it ended."""
    bytes: int | None = None
    """What it printed in all, once it has ended."""
    dropped: int = 0
    """Bytes at the beginning that are not kept any more."""
    first_part: int = 0
    """Number of the first part that is kept; an earlier one is about to be removed."""
    gaps: Sequence[GapView] = ()
    columns: int = 0
    rows: int = 0
    """Size of the terminal at the start."""
    sizes: tuple[SizeView, ...] = ()
    """Other sizes that it got, in the order of their offsets."""

    def resized(self, size: SizeView) -> RunMetadata:
        """Note a size of the terminal; gives the metadata itself if that is nothing new."""
        # What was printed meanwhile may have been cut off.
        before = [each for each in self.sizes if each.offset < size.offset]
        columns, rows = (before[-1].columns, before[-1].rows) if before else (self.columns, self.rows)
        if (columns, rows) == (size.columns, size.rows):
            return self if len(before) == len(self.sizes) else replace(self, sizes=tuple(before))
        if size.offset == 0:
            return replace(self, columns=size.columns, rows=size.rows, sizes=())
        return replace(self, sizes=(*before, size)[-MOST_SIZES:])

    def without(self, dropped: int, first_part: int) -> RunMetadata:
        """Note that so many bytes at the beginning are not kept any more, nor any part before this one."""
        gone = [size for size in self.sizes if size.offset <= dropped]
        sizes = (*gone[-1:], *self.sizes[len(gone) :])
        return replace(self, dropped=dropped, first_part=first_part, sizes=sizes)

    def anew(self) -> RunMetadata:
        """The same run, of which nothing is kept yet."""
        sizes = self.sizes[-1:]
        columns, rows = (sizes[0].columns, sizes[0].rows) if sizes else (self.columns, self.rows)
        return replace(self, dropped=0, first_part=0, sizes=(), columns=columns, rows=rows)


def bounded_size(offset: int, columns: int, rows: int) -> SizeView:
    """Take what tmux says, which agents can make say anything."""
    return SizeView(offset, max(1, min(columns, _LARGEST)), max(1, min(rows, _LARGEST)))


_METADATA = TypeAdapter(RunMetadata)


def parse_metadata(data: bytes) -> RunMetadata:
    """Read ``run.json``.

    Raises
    ------
    pydantic.ValidationError
        If it is none.
    """
    return _METADATA.validate_json(data)


def dump_metadata(metadata: RunMetadata) -> bytes:
    """Write ``run.json``."""
    try:
        return _METADATA.dump_json(metadata, indent=1)
    except PydanticSerializationError:
        # A path of bytes that are no text.
        return json.dumps(asdict(metadata), indent=1).encode()

"""Sizes of terminals: noted with their offset, kept as long as what they are for, and taken from nobody's lies."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from agentd.model.run_view import SizeView
from agentd.recording.transcripts.disk import TranscriptDisk
from agentd.recording.transcripts.rendering import Rendering
from agentd.recording.transcripts.retention import Retention
from agentd.recording.transcripts.run_metadata import MOST_SIZES, RunMetadata
from tests.support.transcripts import BEGUN, files_in

LIMITS = Retention(total=1000, run=400, part=100, runs=3)


def test_sizes_stand_where_they_came_into_force_over_daemons_and_dropped_parts(tmp_path: Path) -> None:
    files = files_in(tmp_path / "state")
    disk = TranscriptDisk(files, LIMITS)
    run = disk.begin(BEGUN)
    disk.resize("r0", (80, 24))
    disk.resize("r0", (132, 50), offset=0)
    for number in range(6):
        (run.folder.output / f"{number:06}").write_bytes(b"x" * 100)
        disk.resize("r0", (100 + number, 30))
    # The next daemon sees the size that it has already, and then another one.
    later = TranscriptDisk(files, LIMITS)
    found = later.find("a", "r0")
    assert found is not None
    later.resize("r0", (105, 30))
    later.resize("r0", (7_000_000, 0))
    metadata = run.folder.read()
    assert (metadata.columns, metadata.rows) == (132, 50)
    assert metadata.sizes == (*(SizeView(100 * n, 99 + n, 30) for n in range(1, 6)), SizeView(600, 1000, 1))
    later.sweep()
    metadata = run.folder.read()
    assert metadata.dropped == 200
    assert metadata.sizes[0] == SizeView(200, 101, 30)


def test_a_run_that_goes_on_in_another_folder_begins_with_the_size_it_has() -> None:
    metadata = replace(BEGUN, dropped=500, sizes=(SizeView(100, 10, 10), SizeView(600, 20, 20)))
    anew = metadata.anew()
    assert (anew.columns, anew.rows, anew.sizes, anew.dropped) == (20, 20, (), 0)


def test_of_many_sizes_the_latest_are_kept() -> None:
    metadata = BEGUN
    for number in range(1, MOST_SIZES + 50):
        metadata = metadata.resized(SizeView(number, 10 + number % 2, 10))
    assert len(metadata.sizes) == MOST_SIZES
    assert metadata.sizes[-1].offset == MOST_SIZES + 49


def test_a_tail_is_read_with_the_size_in_force_where_it_begins() -> None:
    run = replace(BEGUN, columns=10, rows=5, sizes=(SizeView(100, 40, 5), SizeView(105, 20, 5)))
    assert _read(run, 50, b"\x1b[40Gx") == [" " * 9 + "x"]
    assert _read(run, 102, b"\x1b[K\x1b[40Gx") == [" " * 19 + "x"]
    assert _read(run, 200, b"\x1b[40Gx") == [" " * 19 + "x"]


def _read(run: RunMetadata, start: int, data: bytes) -> list[str]:
    rendering = Rendering(run, start)
    return [*rendering.feed(data), *rendering.rest()]

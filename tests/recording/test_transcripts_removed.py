"""Transcripts of which somebody removed all that was an agent's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from agentd.recording.transcripts.disk import TranscriptDisk
from agentd.recording.transcripts.retention import Retention
from agentd.supervise.policy import Exit
from agentd.supervise.run_recorder import RunEnd
from tests.support.transcripts import BEGUN, files_in, keep


def test_an_agent_of_which_all_was_removed_is_forgotten_and_begins_anew(tmp_path: Path) -> None:
    files = files_in(tmp_path / "state")
    disk = TranscriptDisk(files, Retention(total=10_000, run=4000, part=1000, runs=3))
    keep(files, "a", b"x" * 300)
    keep(files, "other", b"x" * 200)
    for agent in files.agents():
        disk.take_stock(agent)
    disk.begin(replace(BEGUN, run_id="r1"))
    assert disk.sweep().size == 500
    # A former removal was interrupted.
    (files.root / ".a.removed" / "runs").mkdir(parents=True)
    for _ in range(2):
        files.remove("a")
        assert [path.name for path in files.root.iterdir()] == ["other"]
    disk.complete(RunEnd("r1", 1.5, Exit(signal=9), "removed"), 0)
    assert disk.sweep().size == 200
    assert [path.name for path in files.root.iterdir()] == ["other"]
    assert disk.begin(replace(BEGUN, run_id="r2")).folder.number == 3

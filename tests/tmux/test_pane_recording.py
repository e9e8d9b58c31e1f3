"""The panes of recorded runs: what is done to the pipe of one run must not be done to that of the next."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from agentd.recording.transcripts import ends
from agentd.recording.transcripts.disk import TranscriptDisk
from agentd.recording.transcripts.recorder import Transcripts
from agentd.recording.transcripts.retention import Retention
from agentd.recording.transcripts.writer import find_writer
from agentd.supervise.policy import Exit
from agentd.supervise.run_recorder import RunEnd, RunFacts
from agentd.tmux.server import TmuxServer
from tests.support.transcripts import files_in


async def test_a_run_that_is_completed_late_leaves_the_pipe_of_the_next_one_alone(
    server: TmuxServer, tmp_path: Path
) -> None:
    script = tmp_path / "script.sh"
    script.write_text("exec cat\n")
    disk = TranscriptDisk(files_in(tmp_path / "state"), Retention.of(1 << 30))
    recorder = Transcripts(disk, server, find_writer())
    await recorder.prepare()
    writer = await recorder.begin(facts("first"))
    pane = await server.new_session("a", "w", str(tmp_path), str(script), writer)
    recorder.opened("first", pane)
    # Its launcher says nothing of an end, so that is waited for.
    recorder.ended(RunEnd("first", 0.0, Exit.from_status(0), "exit status 0"))
    writer = await recorder.begin(facts("second"))
    pane = await server.respawn(pane, str(tmp_path), str(script), writer)
    recorder.opened("second", pane)
    await recorder.taken("first")
    assert (await server.list_states())[pane.pane_id].piped
    await recorder.close()


async def test_what_still_comes_of_a_run_that_is_over_is_waited_for(
    server: TmuxServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ends, "_END_LIMIT", 0.0)
    monkeypatch.setattr(ends, "_STILL_COMES", 0.001)
    disk = TranscriptDisk(files_in(tmp_path / "state"), Retention.of(1 << 30))
    comes = iter((1, 2, 3, 3))
    monkeypatch.setattr(TranscriptDisk, "sizes", lambda _disk, _run_ids: {"first": next(comes)})
    recorder = Transcripts(disk, server, find_writer())
    await recorder.prepare()
    await recorder.begin(facts("first"))
    recorder.ended(RunEnd("first", 0.0, Exit.from_status(0), "exit status 0"))
    async with asyncio.timeout(30):
        await recorder.taken("first")
    assert list(comes) == []
    await recorder.close()


def facts(run_id: str) -> RunFacts:
    return RunFacts("a", run_id, "custom", "/", ())

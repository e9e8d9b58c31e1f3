"""Transcripts without a daemon: runs as it would have kept them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from agentd.model.user import AgentUser
from agentd.recording.transcripts.files import TranscriptFiles
from agentd.recording.transcripts.run_folder import RunFolder
from agentd.recording.transcripts.run_metadata import RunMetadata

BEGUN = RunMetadata(
    agent="a",
    run=0,
    run_id="r0",
    harness="custom",
    workdir="/work",
    argv=("true",),
    start="2026-01-31T09:00:00.000Z",
    columns=80,
    rows=24,
)


def ourselves() -> AgentUser:
    """Say that the parts are to be this user's."""
    return AgentUser("me", os.geteuid(), os.getegid(), (), Path("/"), "/bin/sh", switch=False)


def keep(files: TranscriptFiles, agent: str, *parts: bytes, end: str | None = "2026-01-31T10:00:00.000Z") -> RunFolder:
    """Keep a run that printed these parts; ``end=None`` for one that goes on."""
    run_id = f"{agent}-{len(files.numbers(agent)) + 1}"
    size = sum(map(len, parts)) if end is not None else None
    before = sum(len(files.numbers(each)) for each in files.agents())
    start = f"2026-01-31T09:00:{before:02}.000Z"
    folder, metadata = files.create(replace(BEGUN, agent=agent, run_id=run_id, start=start))
    for number, data in enumerate(parts):
        (folder.output / f"{number:06}").write_bytes(data)
    folder.write(replace(metadata, end=end, bytes=size, exit_code=0 if end is not None else None))
    return folder


def files_in(state: Path) -> TranscriptFiles:
    """Look after the transcripts in a state directory."""
    state.mkdir(exist_ok=True)
    files = TranscriptFiles(state, ourselves())
    files.prepare()
    return files

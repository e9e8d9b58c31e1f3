"""The process that writes what a run prints: GNU ``split``."""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path

from agentd.recording.transcripts.run_folder import PART_DIGITS


def find_writer() -> str | None:
    """Find GNU ``split``, which others are not like: it can go on with a part's number."""
    for name in ("gsplit", "split"):
        path = shutil.which(name)
        if path is not None and "busybox" not in os.path.realpath(path):
            return path
    return None


def writer_command(writer: str, output: Path, part: int, part_bytes: int) -> str:
    """What the tmux server's user executes: it writes what it reads at once, from `part` on, so many bytes in each."""
    prefix = shlex.quote(f"{output}/")
    split = f"{shlex.quote(writer)} -b {part_bytes} -a {PART_DIGITS} --numeric-suffixes={part} - {prefix}"
    # Bytes need no locale: without one's files shell and split take 1.69 ms of CPU instead of 1.84.
    return f"umask 077; LC_ALL=C exec {split}"

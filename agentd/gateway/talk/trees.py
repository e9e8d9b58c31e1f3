"""The folders of managed agents: written and removed as the agents' user, so that no link in them leads root astray."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Final

from agentd.files.worker import Worker
from agentd.model.user import AgentUser
from agentd.process.runner import Runner, RunnerError
from agentd.text.quoting import shell_quote
from agentd.workspaces.roles import INSTRUCTION_LINKS, INSTRUCTIONS

_OURS: Final = (".claude", ".codex", ".gemini", "opencode.json", INSTRUCTIONS, *INSTRUCTION_LINKS)
"""What is rendered for any harness: that of an agent that was there before must not count."""

_LIMIT: Final = 60.0


class TreeError(Exception):
    """A folder cannot be written or removed; the text says why."""


class Trees:
    """Writes and removes trees, one at a time."""

    def __init__(self) -> None:
        self._worker = Worker("trees")

    async def write(self, user: AgentUser, folder: Path, files: Mapping[str, str]) -> None:
        """Write files that only the user may read, in a folder that only the user may enter.

        Raises
        ------
        TreeError
            If that cannot be done.
        """
        await self._run(user, _writing(folder, files), f"{folder}: cannot be written")

    async def remove(self, user: AgentUser, folders: Sequence[Path]) -> None:
        """Remove folders with all that is in them; none is no error.

        Raises
        ------
        TreeError
            If that cannot be done.
        """
        script = b"set -e\n" + b"".join(b"rm -rf -- " + shell_quote(folder) + b"\n" for folder in folders)
        await self._run(user, script, f"{', '.join(map(str, folders[:3]))}: cannot be removed")

    async def _run(self, user: AgentUser, script: bytes, failure: str) -> None:
        def run() -> None:
            try:
                Runner(user, os.environ).must(script, failure, limit=_LIMIT)
            except RunnerError as error:
                raise TreeError(str(error)) from error

        await self._worker.do(run)

    def close(self) -> None:
        """Let the thread end."""
        self._worker.close()


def _writing(folder: Path, files: Mapping[str, str]) -> bytes:
    lines = [
        *(b"set -eC", b"umask 077", b"mkdir -p -- " + shell_quote(folder)),
        *(b"chmod 700 -- " + shell_quote(folder), b"cd -- " + shell_quote(folder)),
        b"rm -rf -- " + b" ".join(map(shell_quote, _OURS)),
    ]
    for name, text in files.items():
        parent = str(PurePosixPath(name).parent)
        if parent != ".":
            lines.append(b"mkdir -p -- " + shell_quote(parent))
        # What stands here is read by the shell from a pipe: no process has it on its command line.
        lines.append(b"printf %s " + shell_quote(text) + b" >" + shell_quote(name))
    if INSTRUCTIONS in files:
        lines += [b"ln -s -- " + shell_quote(INSTRUCTIONS) + b" " + shell_quote(link) for link in INSTRUCTION_LINKS]
    return b"\n".join(lines) + b"\n"

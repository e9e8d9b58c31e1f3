"""Transcripts on disk: where each run's output and metadata stand, who may read them, and their end.

::

    STATE/agents/NAME/runs/0007/run.json             what was run and how it ended
                               /output.log           -> output/000000, the newest part
                               /output/000000 …      what the agent printed, in parts of a fixed size

The parts are written by a process of the agent user, everything else belongs to agentd. So when agentd is root, the
agent user may enter the folders down to ``output`` without being able to list or change them, and ``output`` is its
own.

All of this may wait for the disk: it is called in threads.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path

from agentd.files.permissions import closed_folder, may_enter
from agentd.model.spec import AGENT_NAME
from agentd.model.user import AgentUser
from agentd.recording.transcripts.run_folder import Part, RunFolder, TranscriptError, admit
from agentd.recording.transcripts.run_metadata import RunMetadata

_RUN = re.compile(r"[0-9]{4,9}")
_NAME = re.compile(AGENT_NAME)


@dataclass(slots=True)
class TranscriptFiles:
    """All transcripts.

    Parameters
    ----------
    state
        The state directory.
    owner
        Whom the parts are to belong to.
    """

    state: Path
    owner: AgentUser
    lock: threading.Lock = field(default_factory=threading.Lock)
    """Held while parts are removed, so that a reader finds metadata and the parts that belong to it."""
    _next: dict[str, int] = field(default_factory=dict)

    @property
    def root(self) -> Path:
        """The folder of all agents."""
        return self.state / "agents"

    def prepare(self) -> None:
        """Make the folder of all agents, and let the agent user through to it.

        Raises
        ------
        OSError
            If that is not possible.
        """
        self._make(self.root)
        if not self.owner.switch:
            return
        found = self.state.stat()
        if not may_enter(self.owner, found):
            # Nobody can list what is in it, and what is in it is closed by itself.
            self.state.chmod(stat.S_IMODE(found.st_mode) | stat.S_IXOTH)

    def closed(self) -> Path | None:
        """Name a folder that keeps the agent user from its transcripts, if there is one."""
        return closed_folder(self.root, self.owner) if self.owner.switch else None

    def _make(self, folder: Path) -> None:
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            return
        except FileNotFoundError:
            if folder == self.state:
                raise
            self._make(folder.parent)
            # Once: a link that leads nowhere counts as there, and nothing can be made below it.
            folder.mkdir(mode=0o700)
        admit(self.owner, folder)

    def runs_folder(self, agent: str) -> Path:
        """Where the runs of an agent stand.

        Raises
        ------
        TranscriptError
            If that is no name of an agent.
        """
        if not _NAME.fullmatch(agent):
            raise TranscriptError("agent not found")
        return self.root / agent / "runs"

    def numbers(self, agent: str) -> list[int]:
        """The runs of an agent that are kept, oldest first."""
        try:
            with os.scandir(self.runs_folder(agent)) as entries:
                return sorted(int(entry.name) for entry in entries if _RUN.fullmatch(entry.name))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def folder(self, agent: str, number: int) -> RunFolder:
        """The folder of a run, which may not exist."""
        return RunFolder(self.runs_folder(agent) / f"{number:04}", self.owner)

    def agents(self) -> list[str]:
        """The agents of which something is kept."""
        try:
            with os.scandir(self.root) as entries:
                return sorted(entry.name for entry in entries if _NAME.fullmatch(entry.name))
        except FileNotFoundError:
            return []

    def has(self, agent: str) -> bool:
        """Whether anything of an agent is kept."""
        return self.runs_folder(agent).is_dir()

    def remove(self, agent: str) -> None:
        """Remove all that is kept of an agent; a daemon that still had something to write for it writes nothing.

        Raises
        ------
        OSError
            If something of it stays; it can be called again.
        """
        folder = self.runs_folder(agent).parent
        # No agent has such a name. Away at once: what is written meanwhile would keep the folder from being removed.
        away = folder.with_name(f".{agent}.removed")
        shutil.rmtree(away, onerror=_unless_missing)
        with contextlib.suppress(FileNotFoundError):
            folder.rename(away)
        shutil.rmtree(away, onerror=_unless_missing)

    def create(self, metadata: RunMetadata) -> tuple[RunFolder, RunMetadata]:
        """Make the folder of an agent's next run.

        Raises
        ------
        OSError
            If it cannot be made.
        """
        agent = metadata.agent
        number = self._next.get(agent) or max(self.numbers(agent), default=0) + 1
        while True:
            folder, numbered = self.folder(agent, number), replace(metadata, run=number)
            try:
                folder.create(numbered)
            except FileExistsError:
                number += 1
                continue
            except FileNotFoundError:
                self._make(folder.path.parent)
                continue
            self._next[agent] = number + 1
            return folder, numbered

    def snapshot(self, folder: RunFolder) -> tuple[RunMetadata, list[Part]]:
        """What is known of a run, and its parts.

        Raises
        ------
        TranscriptError
            If there is no such run.
        """
        with self.lock:
            metadata = folder.read()
            return metadata, folder.parts(metadata)

    def find(self, agent: str, run_id: str) -> tuple[RunFolder, RunMetadata] | None:
        """Find the folder of a run by its id, the newest runs first."""
        for number in reversed(self.numbers(agent)):
            folder = self.folder(agent, number)
            try:
                metadata = folder.read()
            except TranscriptError:
                continue
            if metadata.run_id == run_id:
                return folder, metadata
        return None


def _unless_missing(_function: object, _path: str, raised: tuple[type[BaseException], BaseException, object]) -> None:
    if not isinstance(raised[1], FileNotFoundError):
        raise raised[1]

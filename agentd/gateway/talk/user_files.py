"""What of users' agents is in the state directory: their logs, what of channels may be secret, their transcripts."""

from __future__ import annotations

import contextlib
import json
import os
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from agentd.files.replacing import replace_private
from agentd.files.worker import Worker
from agentd.gateway.model.objects import Json, JsonObject
from agentd.model.user import AgentUser
from agentd.recording.transcripts.files import TranscriptFiles

LARGEST_LOG: Final = 8 << 20
"""Bytes; then it is put aside, and the one before it is forgotten."""

FOLDER: Final = "users"


class UserFiles:
    """The files of all users, in a folder each.

    Parameters
    ----------
    folder
        The gateway's own; ``None`` keeps nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = None if folder is None else folder / FOLDER
        self._worker = Worker("user-files")

    def _path(self, username: str, name: str, suffix: str) -> Path | None:
        return None if self._folder is None else self._folder / username / f"{name}{suffix}"

    async def log(self, username: str, name: str, lines: Sequence[str]) -> None:
        """Add lines to an agent's log."""
        path = self._path(username, name, ".log")
        if path is not None and lines:
            await self._worker.do(lambda: _append(path, lines))

    async def read_log(self, username: str, name: str, most: int) -> list[str]:
        """Give the newest lines of an agent's log."""
        path = self._path(username, name, ".log")
        return [] if path is None else await self._worker.do(lambda: _tail(path, most))

    async def keep_secret(self, username: str, name: str, values: Mapping[str, Json]) -> None:
        """Keep what of an agent's channel may be secret, for the gateway alone."""
        path = self._path(username, name, ".json")
        if path is not None:
            await self._worker.do(lambda: _keep(path, values))

    async def secret(self, username: str, name: str) -> JsonObject:
        """Give what was kept."""
        path = self._path(username, name, ".json")
        return {} if path is None else await self._worker.do(lambda: _read(path))

    async def remove(self, username: str, name: str, *, log: bool) -> None:
        """Forget an agent; its log too, if it is not to be kept."""
        paths = [self._path(username, name, suffix) for suffix in (".json", *((".log", ".log.1") if log else ()))]
        await self._worker.do(lambda: _remove([path for path in paths if path is not None]))

    async def remove_transcripts(self, agent: str, user: AgentUser) -> None:
        """Remove what agentd kept of what an agent printed.

        Raises
        ------
        OSError
            If something of it stays.
        """
        if self._folder is not None:
            files = TranscriptFiles(self._folder.parent, user)
            await self._worker.do(lambda: files.remove(agent))

    def close(self) -> None:
        """Let the thread end."""
        self._worker.close()


def _append(path: Path, lines: Sequence[str]) -> None:
    # An agent goes on without its log.
    with contextlib.suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_size > LARGEST_LOG:
                path.replace(path.with_suffix(".log.1"))
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "a", encoding="utf-8", errors="replace") as file:
            file.write("".join(f"{line}\n" for line in lines))


def _tail(path: Path, most: int) -> list[str]:
    found: deque[str] = deque(maxlen=most)
    for each in (path.with_suffix(".log.1"), path):
        with contextlib.suppress(FileNotFoundError), each.open(encoding="utf-8", errors="replace") as file:
            found.extend(line.rstrip("\n") for line in file)
    return [*found]


def _keep(path: Path, values: Mapping[str, Json]) -> None:
    if not values:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    replace_private(path, json.dumps(values).encode())


def _read(path: Path) -> JsonObject:
    try:
        read: Json = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return read if isinstance(read, dict) else {}


def _remove(paths: Sequence[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
    for parent in {path.parent for path in paths}:
        # Another agent of the user's may have something in it.
        with contextlib.suppress(OSError):
            parent.rmdir()

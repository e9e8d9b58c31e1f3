"""The agents that are declared, as the jcard and its drop-ins say now."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from agentd.files.answering import NotAnsweringError, Way
from agentd.files.looks import Looks
from agentd.harness.registry import load_harnesses
from agentd.jcard.drop_in_folder import DropIns, FoundFile, look_at_drop_ins
from agentd.jcard.drop_ins import SourceFile, merge
from agentd.jcard.reading import drop_in_source, jcard_file, jcard_source
from agentd.model.spec import AgentSpec, LoadContext
from agentd.model.user import AgentUser
from agentd.settings.context import load_context, read_config, resolve_agent_user, resolve_data_dir
from agentd.settings.folders import SettingsError

OWN: Final = re.compile(r".+--s-[0-9a-f]{8}")
"""Names of the agents that hold sessions, and of their drop-ins."""


class DefinitionsError(Exception):
    """It cannot be read which agents are declared."""


@dataclass(frozen=True, slots=True)
class Files:
    """Where agents are declared."""

    config: Path
    drop_in_folder: Path
    agent_user: str | None
    data_dir: Path | None


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A file that declares agents, and what is in it."""

    file: FoundFile
    source: SourceFile


class Definitions:
    """Reads them when they are asked for; only what changed is read and loaded again."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._looks = Looks()
        self._turn = asyncio.Lock()
        self._found = DropIns()
        self._loaded: dict[Path, _Loaded] = {}
        self._changed: dict[Path, float] = {}
        self._context: LoadContext | None = None
        self._user: AgentUser | None = None

    async def agents(self) -> dict[str, AgentSpec]:
        """Give the agents by name in lower case, without those that hold sessions.

        Raises
        ------
        DefinitionsError
            If that cannot be read.
        """
        try:
            async with self._turn:
                return await self._looks.along(self._read)
        except NotAnsweringError as error:
            raise DefinitionsError(str(error.strerror)) from error

    async def harnesses(self) -> frozenset[str]:
        """Give the names of the harnesses that work without a command line of their own."""
        known = (await self._known()).harnesses
        return frozenset(name for name, traits in known.items() if not traits.takes_command)

    async def user(self) -> AgentUser:
        """Give the user that agents run as.

        Raises
        ------
        DefinitionsError
            If it is not known who that is.
        """
        await self._known()
        assert self._user is not None, "it is found with the rest"
        return self._user

    async def data_dir(self) -> Path:
        """Give the folder of workspaces and worktrees.

        Raises
        ------
        DefinitionsError
            If it is not known whose it is.
        """
        return (await self._known()).data_dir

    async def _known(self) -> LoadContext:
        async with self._turn:
            return await self._looks.along(lambda _: self._load_context())

    def since(self, source: Path | None) -> float:
        """Say when a file that declares agents was changed last, in seconds since the epoch, as it was read."""
        return 0.0 if source is None else self._changed.get(source, 0.0)

    def close(self) -> None:
        """Let the threads end that can."""
        self._looks.close()

    def _load_context(self) -> LoadContext:
        if self._context is None:
            try:
                user, _ = resolve_agent_user(self._files.agent_user, os.environ)
            except SettingsError as error:
                raise DefinitionsError(str(error)) from error
            self._user = user
            data_dir = resolve_data_dir(self._files.data_dir, user)
            self._context = load_context(self._files.config, user.name, user.home, load_harnesses().harnesses, data_dir)
        return self._context

    def _read(self, way: Way) -> dict[str, AgentSpec]:
        context, config = self._load_context(), self._files.config
        found = look_at_drop_ins(self._files.drop_in_folder, self._found, way)
        way.to(config)
        jcard = jcard_file(config, read_config)
        with contextlib.suppress(OSError):
            self._changed[config] = config.stat().st_mtime
        # From here on nothing can hang, and be given up.
        self._found = found
        drop_ins = [file for path, file in found.files.items() if path != config and not OWN.fullmatch(path.stem)]
        self._loaded = {file.path: self._load(file, context) for file in (jcard, *drop_ins)}
        self._changed |= {path: file.stamp.modified / 1e9 for path, file in found.files.items() if file.stamp}
        sources = [loaded.source for loaded in self._loaded.values()]
        return {spec.name.lower(): spec for taken in merge(sources) for spec in taken.agents}

    def _load(self, file: FoundFile, context: LoadContext) -> _Loaded:
        """Load a file, unless it says what it said: each takes half a millisecond, and there may be hundreds."""
        before = self._loaded.get(file.path)
        if before is not None and before.file == file:
            return before
        source = (jcard_source if file.path == self._files.config else drop_in_source)(file, context)
        if source.loaded is not None and not source.loaded.errors:
            return _Loaded(file, replace(source, good=source.loaded))
        # The last good content of a file stays in force, as agentd has it.
        return _Loaded(file, source if before is None else replace(source, good=before.source.good))

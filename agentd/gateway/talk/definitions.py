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
from agentd.jcard.drop_in_folder import DropIns, look_at_drop_ins
from agentd.jcard.drop_ins import SourceFile, merge
from agentd.jcard.reading import drop_in_source, jcard_source
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


class Definitions:
    """Reads them when they are asked for; only what changed is read again."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._looks = Looks()
        self._turn = asyncio.Lock()
        self._found = DropIns()
        self._loaded: dict[Path, SourceFile] = {}
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
        sources = [jcard_source(config, context, read_config)]
        with contextlib.suppress(OSError):
            self._changed[config] = config.stat().st_mtime
        # From here on nothing can hang, and be given up.
        self._found = found
        for path, file in self._found.files.items():
            if path != self._files.config and not OWN.fullmatch(path.stem):
                sources.append(drop_in_source(file, context))
        sources = [self._with_good(source) for source in sources]
        self._loaded = {source.path: source for source in sources}
        self._changed |= {path: file.stamp.modified / 1e9 for path, file in self._found.files.items() if file.stamp}
        return {spec.name.lower(): spec for taken in merge(sources) for spec in taken.agents}

    def _with_good(self, source: SourceFile) -> SourceFile:
        """Let the last good content of a file stay in force, as agentd does."""
        if source.loaded is not None and not source.loaded.errors:
            return replace(source, good=source.loaded)
        before = self._loaded.get(source.path)
        return source if before is None else replace(source, good=before.good)

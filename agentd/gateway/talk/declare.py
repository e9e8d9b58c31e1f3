"""Declaring agents for sessions: one drop-in an agent, with a lease, so that none is left behind by a lost gateway."""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

import structlog

from agentd.files.answering import NotAnsweringError, Way
from agentd.files.looks import Looks
from agentd.jcard.drop_in_folder import SUFFIX
from agentd.jcard.edit.drop_ins import drop_in_text, remove_drop_in, renew_drop_in, write_drop_in
from agentd.jcard.edit.writing import TomlValue
from agentd.text.durations import format_duration

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

_DISK_LIMIT: Final = 10.0
"""Seconds for one step of writing a drop-in: a busy disk may take some to make it safe."""

DEFAULT_FOLDER: Final = "gateway"
"""Subfolder of the drop-ins of sessions without an owner."""

_FOLDER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")

_LONGEST_NAME: Final = 63 - len("--s-xxxxxxxx")


def own_name(agent: str) -> tuple[str, str]:
    """Make the name of an agent that holds a session, and that of its tmux session."""
    tag = f"--s-{secrets.token_hex(4)}"
    return f"{agent[:_LONGEST_NAME]}{tag}", f"{agent}{tag}"


class DeclareError(Exception):
    """An agent cannot be declared; the text says why, and what to do."""


class Declarations:
    """The drop-ins of sessions.

    Parameters
    ----------
    folder
        Of all drop-ins, absolute.
    lease
        Seconds after which an agent that nobody renews is withdrawn.
    """

    def __init__(self, folder: Path, lease: float) -> None:
        self._folder = folder
        self.lease = lease
        self._looks = Looks(limit=_DISK_LIMIT)
        self._turn = asyncio.Lock()
        """Files are changed in the order in which that was asked for."""

    async def declare(
        self, owner: str | None, table: Mapping[str, TomlValue], *, leased: bool = True, file: str | None = None
    ) -> None:
        """Declare an agent, or change how it is declared.

        Parameters
        ----------
        leased
            Whether it is withdrawn once nobody renews it.
        file
            Name of the drop-in without its suffix; ``None`` is the agent's name.

        Raises
        ------
        DeclareError
            If its drop-in cannot be written.
        """
        path = self.path(owner, str(table["name"]) if file is None else file)
        content = _document(table, self.lease if leased else None)
        await self._change(path, lambda: _write(path, content))

    async def withdraw(self, owner: str | None, name: str) -> None:
        """Declare an agent no more.

        Raises
        ------
        DeclareError
            If its drop-in cannot be removed.
        """
        path = self.path(owner, name)
        await self._change(path, lambda: _remove(path))

    async def _change(self, path: Path, change: Callable[[], None]) -> None:
        async with self._turn:
            try:
                await self._looks.look(path, change)
            except NotAnsweringError as error:
                raise DeclareError(f"{path}: {error.strerror}") from error

    async def renew(self, agents: Iterable[tuple[str | None, str]]) -> None:
        """Renew the leases of agents, given by owner and name."""
        paths = [self.path(owner, name) for owner, name in agents]

        def touch(way: Way) -> None:
            for path in paths:
                way.to(path)
                # One that somebody removed is declared again by the next run.
                with contextlib.suppress(FileNotFoundError, PermissionError):
                    _renew(path)

        async with self._turn:
            try:
                await self._looks.along(touch)
            except OSError as error:
                log.warning("leases_not_renewed", folder=str(self._folder), reason=error.strerror)

    def close(self) -> None:
        """Let the threads end that can."""
        self._looks.close()

    def path(self, owner: str | None, name: str) -> Path:
        """Return the path of a drop-in."""
        folder = owner if owner is not None and _FOLDER.fullmatch(owner) else DEFAULT_FOLDER
        return self._folder / folder / f"{name}{SUFFIX}"


def _document(table: Mapping[str, TomlValue], lease: float | None) -> str:
    leased: Mapping[str, Mapping[str, TomlValue]] = (
        {} if lease is None else {"drop_in": {"lease": format_duration(lease)}}
    )
    return drop_in_text("Written by agentd-gateway.", {**leased, "agent": table})


def _write(path: Path, text: str) -> None:
    try:
        write_drop_in(path, text)
    except OSError as error:
        raise DeclareError(
            f"{path}: cannot be written: {error.strerror}; let agentd-gateway's user write there, "
            "or give agentd and it another --config-dir"
        ) from error


def _renew(path: Path) -> None:
    try:
        renew_drop_in(path)
    except NotADirectoryError as error:
        log.warning("lease_not_renewed", file=str(path), reason=error.strerror)


def _remove(path: Path) -> None:
    try:
        remove_drop_in(path)
    except OSError as error:
        raise DeclareError(f"{path}: cannot be removed: {error.strerror}") from error

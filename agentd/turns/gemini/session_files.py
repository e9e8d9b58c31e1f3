"""The session files of a run's conversation: found, followed over ``/clear``, and read in the order of their lines."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Final

import structlog

from agentd.files.answering import NotAnsweringError
from agentd.turns.adapter import Ground, LiveRun, Voice
from agentd.turns.file_changes import FileWatch, Stamp
from agentd.turns.gemini import launch
from agentd.turns.gemini.cleared import headers, is_alone, names_in
from agentd.turns.gemini.session_file import Header, Prompted, Recorded, Session, find
from agentd.turns.growing_file import GrowingFile
from agentd.turns.messages.message import CLOCKS, same_text
from agentd.turns.reading import Reading

log = structlog.get_logger(__name__)

_SEARCH: Final = (0.2, 0.5, 1.0, 2.0, 5.0)
"""Seconds between two searches for the session file, the last again and again: it comes 2 s after a start."""

_FOUND: Final = 5.0
"""Seconds for the session file to be found."""

_SHOWS: Final = 5.0
"""Seconds in which the screen must have been looked at again after the agent has begun another conversation."""


@dataclass(slots=True)
class _File:
    """A session file, and what was read of it."""

    lines: GrowingFile
    records: Session = field(default_factory=Session)


@dataclass(slots=True)
class SessionFiles:
    """The files that a run writes.

    Parameters
    ----------
    take
        Takes what was recorded.
    """

    run: LiveRun
    voice: Voice
    ground: Ground
    take: Callable[[Recorded], None]
    news: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when there may be more to be read."""
    others: bool = False
    """Whether there are files that may be to be looked into."""
    _disk: Reading = field(init=False)
    _session: str = ""
    _followed: list[_File] = field(default_factory=list)
    _found: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once there is a file."""
    _reading: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while a file is read: its lines are in one order."""
    _watches: list[FileWatch] = field(default_factory=list)
    _chats: Path | None = None
    """Their folder."""
    _known: set[str] = field(default_factory=set)
    """The names of the files there that are not to be looked into."""

    def __post_init__(self) -> None:
        """Know how they are read."""
        self._disk = Reading.of(self.run, self.ground)

    def go_on(self, session: str) -> None:
        """Follow a conversation."""
        self._session = session
        self.voice.identified(session)

    @property
    def _home(self) -> Path:
        return Path(self.run.memo.get(launch.HOME) or self.run.facts.home)

    async def search(self, session: str) -> None:
        """Find the files of the conversation. What is there at once holds turns before this run, or this daemon."""
        home = self._home
        for attempt in count():
            try:
                paths = await self.ground.looks.look(home, lambda: find(home, session, self._disk))
            except (OSError, NotAnsweringError) as error:
                log.debug("session_file_not_found", agent=self.run.facts.agent, reason=str(error))
                paths = []
            for path in paths:
                self._follow(path, new=attempt > 0)
            if paths:
                self._chats = chats = paths[-1].parent
                with contextlib.suppress(NotAnsweringError):
                    self._known = await self.ground.looks.look(chats, partial(names_in, chats, self._disk))
                self._watches.append(self._disk.watch(self.ground.changes, chats, self._folder_changed))
                return
            await asyncio.sleep(_SEARCH[min(attempt, len(_SEARCH) - 1)])

    def _follow(self, path: Path, *, new: bool) -> None:
        if any(file.lines.path == path for file in self._followed):
            return
        self._found.set()
        self._followed.append(_File(self._disk.growing(path, new=new)))
        self._watches.append(self._disk.watch(self.ground.changes, path, lambda _stamp: self.news.set()))
        self.news.set()

    def _folder_changed(self, _stamp: Stamp | None) -> None:
        self.others = True
        self.news.set()

    async def look_for_another(self) -> None:
        """Go on with the conversation that the agent has begun by ``/clear``, if it has."""
        chats, run = self._chats, self.run
        assert chats is not None
        try:
            found = await self.ground.looks.look(chats, lambda: headers(chats, self._known, self._disk))
            for name in [name for name, header in found.items() if header.session == self._session]:
                # Begun by --resume in another minute than the first. It goes on in the first, but need not.
                del found[name]
                self._known.add(name)
                self._follow(chats / name, new=False)
            shown, now = self.voice.screen, self.ground.wall()
            fresh = {name: header for name, header in found.items() if header.started > now - _SHOWS}
            self._known |= found.keys() - fresh.keys()
            self.others = bool(fresh)
            mine = [name for name, header in fresh.items() if shown is not None and shown.at > header.started]
            if len(mine) != 1 or not await self.ground.looks.look(
                run.facts.workdir, lambda: is_alone(run.process, run.facts.workdir)
            ):
                return
        except (OSError, NotAnsweringError) as error:
            log.debug("session_file_not_found", agent=run.facts.agent, reason=str(error))
            return
        self._known.add(mine[0])
        self._followed.clear()
        self.go_on(fresh[mine[0]].session)
        self._follow(chats / mine[0], new=True)

    async def _read(self, file: _File, session: str) -> None:
        async with self._reading:
            await self._read_further(file, session)

    async def read_rest(self) -> None:
        """Read what was written since the last look, half a second ago at most; perhaps the file, too, was new."""
        if not self._followed and self._session and self.run.facts.resume is None and self.run.conversation is None:
            home = self._home
            with contextlib.suppress(OSError, NotAnsweringError):
                for path in await self.ground.looks.look(home, lambda: find(home, self._session, self._disk)):
                    self._follow(path, new=True)
        await self.read()

    async def _read_further(self, file: _File, session: str) -> None:
        more = True
        while more:
            try:
                lines, more = await self.ground.looks.look(file.lines.path, file.lines.read)
            except (OSError, NotAnsweringError) as error:
                log.debug("session_file_unreadable", agent=self.run.facts.agent, reason=str(error))
                return
            for line in lines:
                for recorded in file.records.read(line):
                    if isinstance(recorded, Header) and recorded.session != session:
                        # Its name begins with the same 8 digits.
                        self._followed.remove(file)
                        return
                    self.take(recorded)

    async def recall(self, text: str, since: float) -> None:
        """Look into the session file for a turn that began while no agentd listened."""
        async with asyncio.timeout(_FOUND):
            await self._found.wait()
        followed = self._followed[-1]
        file, found, more = _File(self._disk.growing(followed.lines.path, new=True)), False, True
        while more:
            try:
                lines, more = await self.ground.looks.look(file.lines.path, file.lines.read)
            except (OSError, NotAnsweringError):
                return
            for line in lines:
                recorded = file.records.read(line)
                found = found or any(
                    isinstance(each, Prompted) and each.at >= since - CLOCKS and same_text(text, each.prompt)
                    for each in recorded
                )
                for each in recorded if found else ():
                    self.take(each)
        if found and followed in self._followed:
            # What follows is read once.
            self._followed[self._followed.index(followed)] = file
        self.news.set()

    async def read(self) -> None:
        """Read what was added to them."""
        for file in list(self._followed):
            await self._read(file, self._session)

    def close(self) -> None:
        """Follow them no more."""
        for watch in self._watches:
            self.ground.changes.forget(watch)

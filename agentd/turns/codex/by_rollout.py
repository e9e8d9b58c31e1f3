"""Codex without a server of ours: the rollout file of its conversation tells its turns, as they happen.

Its hooks would need ``--dangerously-bypass-hook-trust``, which runs hooks that
nobody trusted, and shows a warning; and while a ``PermissionRequest`` hook waits, nobody can decide at the terminal. So
the screen tells what it asks, and keys answer it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from agentd.files.answering import NotAnsweringError
from agentd.harness import builtin
from agentd.model.states import Activity
from agentd.turns.activity import Seen
from agentd.turns.adapter import Answer, Granularity, Ground, Hook, LiveRun, Voice
from agentd.turns.codex.dialogs import Dialogs
from agentd.turns.codex.launch import HOME, RESUMED
from agentd.turns.codex.open_files import conversation_of, folders, own_rollout, rollout_of
from agentd.turns.codex.rollout import Rollout, Told
from agentd.turns.conversation import Request
from agentd.turns.events import Ended, Started
from agentd.turns.file_changes import INTERVAL, FileWatch
from agentd.turns.growing_file import GrowingFile
from agentd.turns.input_box import box_hindrance, type_message
from agentd.turns.messages.message import CLOCKS, same_text
from agentd.turns.reading import Reading
from agentd.turns.witnesses import Witnesses

_ROLLOUT: Final = "rollout"
"""The witness."""
_FOUND: Final = 5.0
"""Seconds for its file to be found and read."""
_LOOK_AGAIN: Final = 30.0
"""Seconds between two looks at what the process has open, if no file came meanwhile: an old conversation that is opened
again makes none. A look takes 0.2 ms."""


@dataclass(slots=True)
class _Followed:
    """A file, and how far it was read."""

    lines: GrowingFile
    rollout: Rollout = field(default_factory=Rollout)
    before: list[Told] = field(default_factory=list)
    """Of a turn that began before we watched, and that may have ended before, too."""
    ended: list[Told] = field(default_factory=list)
    """The last such turn that had."""


@dataclass(slots=True)
class RolloutWatch:
    """A run of Codex, watched by its file, its screen and its keys."""

    run_: LiveRun
    voice: Voice
    ground: Ground
    _dialogs: Dialogs
    _files: Reading = field(init=False)
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _known: dict[Path, _Followed] = field(default_factory=dict)
    """The files that were followed: a conversation may be gone back to."""
    _file: _Followed | None = None
    _caught_up: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once a file was found, and read to its end."""
    _file_watch: FileWatch | None = None
    _folders: dict[Path, FileWatch] = field(default_factory=dict)
    _open_changed: bool = True
    """Whether the process may have opened another file."""
    _sure: bool = True
    """Whether the file is known to be its latest."""
    _begun: float = 0.0
    """When the watching began: of what is older the turn that is under way still is told, and no other."""
    _born: float = 0.0
    """When the process began: what is older is of other runs."""
    _reading: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while a file is read: its lines are in one order."""

    def __post_init__(self) -> None:
        """Know how its files are read."""
        self._files = Reading.of(self.run_, self.ground)

    async def run(self) -> None:
        """Follow the file, and in a turn the screen."""
        sessions = sessions_of(self.run_)
        self._begun = self.ground.wall()
        self._born = self._begun - self.run_.process.age()
        try:
            while True:
                if self._open_changed:
                    self._open_changed = False
                    self._watch_folders(sessions)
                    await self._find(sessions)
                await self._read()
                self._dialogs.look()
                await self._wait()
        finally:
            self._follow(None)
            for watch in self._folders.values():
                self.ground.changes.forget(watch)

    def silence(self) -> None:
        """Say nothing more: another one tells."""
        self.voice.seen(_ROLLOUT, None)

    async def _wait(self) -> None:
        in_turn = self.voice.conversation.turn is not None
        try:
            async with asyncio.timeout(INTERVAL if in_turn or not self._sure else _LOOK_AGAIN):
                await self._news.wait()
        except TimeoutError:
            # In a turn it is the screen that is looked at.
            self._open_changed = self._open_changed or not in_turn or not self._sure
        self._news.clear()

    def _watch_folders(self, sessions: Path) -> None:
        """Be told of new conversations, also after midnight."""
        wanted = folders(sessions, datetime.fromtimestamp(self.ground.wall()).astimezone().date())
        for gone in self._folders.keys() - set(wanted):
            self.ground.changes.forget(self._folders.pop(gone))
        for path in wanted:
            if path not in self._folders:
                self._folders[path] = self._files.watch(self.ground.changes, path, lambda _stamp: self._look_again())

    def _look_again(self) -> None:
        self._open_changed = True
        self._news.set()

    async def _find(self, sessions: Path) -> None:
        pid, inside = self.run_.process.pid, self.run_.facts.inside(sessions)
        reading = self._files
        # Codex opens a conversation that it goes on with at its first message, which no folder shows.
        resumed = self.run_.memo.get(RESUMED) if self._file is None else None

        def find() -> tuple[Path | None, bool]:
            path, sure = own_rollout(pid, sessions, inside, reading)
            return path or (rollout_of(resumed, reading.resolved(sessions), reading) if resumed else None), sure

        try:
            path, self._sure = await self.ground.looks.look(sessions, find)
        except (OSError, NotAnsweringError):
            return
        if path is None or (self._file is not None and self._file.lines.path == path):
            return
        self._file = self._known.setdefault(path, _Followed(reading.growing(path, new=True)))
        self._follow(path)
        conversation = conversation_of(path)
        assert conversation is not None
        self.voice.identified(conversation)

    def _follow(self, path: Path | None) -> None:
        if self._file_watch is not None:
            self.ground.changes.forget(self._file_watch)
            self._file_watch = None
        if path is not None:
            self._file_watch = self._files.watch(self.ground.changes, path, lambda _stamp: self._news.set())

    async def _read(self) -> None:
        async with self._reading:
            await self._read_further()

    async def read_rest(self) -> None:
        """Read what was written since the last look, half a second ago at most; a dead process has nothing open."""
        await self._read()

    async def _read_further(self) -> None:
        """Take what was appended."""
        file, more = self._file, True
        while file is not None and more:
            try:
                lines, more = await self.ground.looks.look(file.lines.path, file.lines.read)
            except (OSError, NotAnsweringError):
                return
            for line in lines:
                told = file.rollout.read(line)
                if told is None:
                    continue
                if told.at < self._born:
                    file.rollout.forget()
                elif told.at >= self._begun:
                    self._take_before(file)
                    self._take(told)
                elif told.working is True:
                    file.before.append(told)
                else:
                    if told.working is False:
                        file.ended = [*file.before, told]
                    file.before.clear()
        if file is not None:
            self._take_before(file)
            self._caught_up.set()

    async def recall(self, text: str, since: float) -> None:
        """Tell of a turn that ended while no agentd listened; one that is under way was told already."""
        async with asyncio.timeout(_FOUND):
            await self._caught_up.wait()
        assert self._file is not None
        ended = self._file.ended
        starts = (event for told in ended for event in told.events if isinstance(event, Started))
        prompt = next((start.prompt for start in starts), None)
        if not ended or ended[0].at < since - CLOCKS or prompt is None or not same_text(text, prompt):
            return
        for told in ended:
            self._take(told)

    def _take_before(self, file: _Followed) -> None:
        before, file.before = file.before, []
        for told in before:
            self._take(told)

    def _take(self, told: Told) -> None:
        # Before the end of a turn that has hit the limit.
        self.voice.quota(_ROLLOUT, told.quota)
        for event in told.events:
            self.voice.event(event)
        if told.working is not None:
            activity = Activity.WORKING if told.working else Activity.IDLE
            self.voice.seen(_ROLLOUT, Seen(activity, told.at, blind=True))

    async def hook(self, hook: Hook) -> bytes | None:  # noqa: ARG002 (the protocol's)
        """Codex has no hooks of ours."""
        return None

    async def hindrance(self, *, returned: str | None) -> str | None:
        """Look whether the input box is there, and empty."""
        return await box_hindrance(self.run_.terminal, builtin.CODEX.facts, returned)

    @property
    def granularity(self) -> Granularity:
        """In what pieces text comes: each message is written when it is whole."""
        return Granularity.MESSAGE

    @property
    def witnesses(self) -> Witnesses:
        """Who says what became of a message."""
        return Witnesses("terminal", _ROLLOUT)

    async def deliver(self, text: str) -> None:
        """Type it."""
        await type_message(self.run_.terminal, self.voice, builtin.CODEX.facts, text)

    async def go_on(self) -> bool:
        """Make way for a message."""
        await self._dialogs.close_offer()
        return False

    async def answer(self, request: Request, answer: Answer) -> None:
        """Press the key."""
        await self._dialogs.answer(request, answer)

    async def interrupt(self) -> None:
        """Press Escape."""
        await self.run_.terminal.press("Escape")

    async def at_exit(self, *, succeeded: bool) -> Ended | None:  # noqa: ARG002 (the protocol's)
        """A program that stays ends its turns by its own word."""
        return None


def sessions_of(run: LiveRun) -> Path:
    """The folder of Codex's conversations."""
    return Path(run.memo.get(HOME) or run.facts.home / ".codex") / "sessions"

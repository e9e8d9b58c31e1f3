"""Gemini CLI, watched: its session file tells the turns, the screen whose move it is.

Gemini CLI has no door of its own for a person's terminal. What is asked, answered and used stands in its session file;
that a turn is over, and that a permission is asked, shows in the title and the dialog, and is answered by keys.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Final

import structlog

from agentd.files.answering import NotAnsweringError
from agentd.harness.additions import Additions, LaunchFacts
from agentd.harness.builtin import GEMINI_CLI
from agentd.model.states import Activity
from agentd.turns.activity import Seen
from agentd.turns.adapter import Answer, Granularity, Ground, Hook, LiveRun, TurnsError, Voice, Watch
from agentd.turns.conversation import Request
from agentd.turns.events import (
    Decision,
    Ended,
    Outcome,
    PermissionAsked,
    PermissionResolved,
    QuestionAsked,
    Started,
    Text,
    ToolCompleted,
    ToolStarted,
)
from agentd.turns.file_changes import FileWatch, Stamp
from agentd.turns.gemini import launch
from agentd.turns.gemini.cleared import headers, is_alone, names_in
from agentd.turns.gemini.one_turn import GeminiRecord
from agentd.turns.gemini.session_file import (
    Cancelled,
    Errored,
    Header,
    Prompted,
    Recorded,
    Said,
    Session,
    Tool,
    Used,
    find,
)
from agentd.turns.growing_file import GrowingFile
from agentd.turns.input_box import box_hindrance, type_message
from agentd.turns.messages.message import CLOCKS, same_text
from agentd.turns.one_turn import OneTurnWatch
from agentd.turns.reading import Reading
from agentd.turns.request_numbers import request_numbers
from agentd.turns.screen.judging import judge_screen
from agentd.turns.screen.styled import read_rows
from agentd.turns.witnesses import Witnesses

log = structlog.get_logger(__name__)

_LOOK: Final = 0.5
"""Seconds between two looks at what the screen shows, while a turn is under way."""

_SEARCH: Final = (0.2, 0.5, 1.0, 2.0, 5.0)
"""Seconds between two searches for the session file, the last again and again: it comes 2 s after a start."""

_FOUND: Final = 5.0
"""Seconds for the session file to be found."""

_WORD_LIMIT: Final = 5.0
"""Seconds that the end of a turn may take to be recorded once the title is Ready; the answer is there before."""

_SHOWS: Final = 5.0
"""Seconds in which the screen must have been looked at again after the agent has begun another conversation."""

_REDRAWN: Final = 0.5
"""Seconds after a key in which the screen may still show what it answered."""

_UNREAD: Final = "see the terminal"
"""Stands for the text of a dialog that has none."""

_ALLOW_ONCE: Final = "Allow once"
_KEEP_TRYING: Final = "Keep trying"
_CHOICE: Final = re.compile(r" ?│ +● +\d+\. +(?P<choice>.*?) *│$")

_WAITING: Final = (Activity.WAITING_PERMISSION, Activity.WAITING_INPUT)


@dataclass(frozen=True, slots=True)
class GeminiAdapter:
    """The adapter of the harness ``gemini-cli``."""

    granularity: Granularity = Granularity.MESSAGE

    def additions(self, facts: LaunchFacts) -> Additions:
        """Name the conversation."""
        return launch.additions(facts)

    def watch(self, run: LiveRun, voice: Voice, ground: Ground) -> Watch:
        """Watch a run."""
        if run.facts.stays:
            return GeminiWatch(run, voice, ground)
        home = Path(run.memo.get(launch.HOME) or run.facts.home)
        record = GeminiRecord(home, str(run.facts.workdir), ground.wall() - run.process.age(), Reading.of(run, ground))
        return OneTurnWatch(run, voice, ground, record, on_screen=bool(run.memo.get(launch.SCREEN)))


GEMINI = GeminiAdapter()


@dataclass(slots=True)
class _File:
    """A session file, and what was read of it."""

    lines: GrowingFile
    records: Session = field(default_factory=Session)


@dataclass(slots=True)
class GeminiWatch:
    """A run of Gemini CLI."""

    run_: LiveRun
    voice: Voice
    ground: Ground
    _disk: Reading = field(init=False)
    _files: list[_File] = field(default_factory=list)
    _found: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once there is a file."""
    _reading: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while a file is read: its lines are in one order."""
    _watches: list[FileWatch] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _numbers: count[int] = field(default_factory=request_numbers)
    _recorded: float = 0.0
    """When the last record of the turn was written, in seconds since the epoch."""
    _said: str | None = None
    """The answer, if the turn may end with it."""
    _failed: Ended | None = None
    """An error that the turn may end with."""
    _session: str = ""
    _chats: Path | None = None
    """The folder of its session files."""
    _known: set[str] = field(default_factory=set)
    """The names of the files there that are not to be looked into."""
    _others: bool = False
    """Whether there are files there that may be to be looked into."""
    _decided: float = 0.0
    """When a dialog was last answered here."""

    def __post_init__(self) -> None:
        """Know how its files are read."""
        self._disk = Reading.of(self.run_, self.ground)

    async def run(self) -> None:
        """Follow the session file, and in a turn the screen."""
        session = self.run_.conversation or self.run_.memo.get(launch.SESSION)
        if not session:
            # The command line names a conversation in another way: the screen is left.
            await asyncio.Event().wait()
            return
        self._go_on(session)
        try:
            await self._search(session)
            while True:
                await self._wait()
                for file in list(self._files):
                    await self._read(file, self._session)
                self._watch_screen()
                if self._others and self.voice.conversation.turn is None:
                    await self._look_for_another()
        finally:
            for watch in self._watches:
                self.ground.changes.forget(watch)

    def _go_on(self, session: str) -> None:
        self._session = session
        self.voice.identified(session)

    async def _search(self, session: str) -> None:
        """Find the files of the conversation. What is there at once holds turns before this run, or this daemon."""
        home = Path(self.run_.memo.get(launch.HOME) or self.run_.facts.home)
        for attempt in count():
            try:
                paths = await self.ground.looks.look(home, lambda: find(home, session, self._disk))
            except (OSError, NotAnsweringError) as error:
                log.debug("session_file_not_found", agent=self.run_.facts.agent, reason=str(error))
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
        if any(file.lines.path == path for file in self._files):
            return
        self._found.set()
        self._files.append(_File(self._disk.growing(path, new=new)))
        self._watches.append(self._disk.watch(self.ground.changes, path, lambda _stamp: self._news.set()))
        self._news.set()

    def _folder_changed(self, _stamp: Stamp | None) -> None:
        self._others = True
        self._news.set()

    async def _look_for_another(self) -> None:
        """Go on with the conversation that the agent has begun by ``/clear``, if it has."""
        chats, run = self._chats, self.run_
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
            self._others = bool(fresh)
            mine = [name for name, header in fresh.items() if shown is not None and shown.at > header.started]
            if len(mine) != 1 or not await self.ground.looks.look(
                run.facts.workdir, lambda: is_alone(run.process, run.facts.workdir)
            ):
                return
        except (OSError, NotAnsweringError) as error:
            log.debug("session_file_not_found", agent=run.facts.agent, reason=str(error))
            return
        self._known.add(mine[0])
        self._files.clear()
        self._go_on(fresh[mine[0]].session)
        self._follow(chats / mine[0], new=True)

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(_LOOK if self._others or self.voice.conversation.turn is not None else None):
                await self._news.wait()
        except TimeoutError:
            return
        self._news.clear()

    # -- the session file

    async def _read(self, file: _File, session: str) -> None:
        async with self._reading:
            await self._read_further(file, session)

    async def read_rest(self) -> None:
        """Read what was written since the last look, half a second ago at most; perhaps the file, too, was new."""
        if not self._files and self._session and self.run_.facts.resume is None and self.run_.conversation is None:
            home = Path(self.run_.memo.get(launch.HOME) or self.run_.facts.home)
            with contextlib.suppress(OSError, NotAnsweringError):
                for path in await self.ground.looks.look(home, lambda: find(home, self._session, self._disk)):
                    self._follow(path, new=True)
        for file in list(self._files):
            await self._read(file, self._session)

    async def _read_further(self, file: _File, session: str) -> None:
        more = True
        while more:
            try:
                lines, more = await self.ground.looks.look(file.lines.path, file.lines.read)
            except (OSError, NotAnsweringError) as error:
                log.debug("session_file_unreadable", agent=self.run_.facts.agent, reason=str(error))
                return
            for line in lines:
                for recorded in file.records.read(line):
                    if isinstance(recorded, Header) and recorded.session != session:
                        # Its name begins with the same 8 digits.
                        self._files.remove(file)
                        return
                    self._take(recorded)

    async def recall(self, text: str, since: float) -> None:
        """Look into the session file for a turn that began while no agentd listened."""
        async with asyncio.timeout(_FOUND):
            await self._found.wait()
        followed = self._files[-1]
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
                    self._take(each)
        if found and followed in self._files:
            # What follows is read once.
            self._files[self._files.index(followed)] = file
        self._news.set()

    def _take(self, recorded: Recorded) -> None:
        under_way = self.voice.conversation.turn is not None
        match recorded:
            case Prompted(turn, prompt, at):
                self._end_before()
                self._recorded, self._said, self._failed = at, None, None
                self.voice.event(Started(turn, prompt))
            case Used(usage):
                self.voice.event(usage)
            case Said(said, final, at) if under_way:
                self._recorded, self._said, self._failed = max(at, self._recorded), said if final else None, None
                if said:
                    self.voice.event(Text(said))
            case Tool(tool, name, shown, ok) if under_way:
                self.voice.event(ToolStarted(tool, name, shown))
                if ok is not None:
                    self.voice.event(ToolCompleted(tool, ok))
            case Cancelled() if under_way:
                self._end(Ended(Outcome.INTERRUPTED))
            case Errored(said, failure, ends) if under_way:
                self._failed = Ended(Outcome.FAILED, None, failure, said or None)
                if ends:
                    self._end(self._failed)
            case _:
                pass

    def _end(self, end: Ended) -> None:
        if self.voice.conversation.turn is not None:
            self.voice.event(end)
        self._said, self._failed = None, None

    def _end_before(self) -> None:
        """End a turn that is open when the next message is taken, which happens only after its end."""
        end = self._known_end()
        if end is not None:
            self._end(end)

    def _known_end(self) -> Ended | None:
        return Ended(Outcome.COMPLETED, self._said) if self._said is not None else self._failed

    # -- the screen

    def _watch_screen(self) -> None:
        shown = self.voice.screen
        if self.voice.conversation.turn is None or shown is None:
            return
        if shown.activity in _WAITING:
            self._ask(shown)
            return
        for request in self.voice.conversation.requests:
            if shown.at > request.asked:
                # Somebody decided at the terminal.
                self.voice.event(PermissionResolved(request.id, Decision.EXPIRED))
        if shown.activity is not Activity.WORKING and shown.at > self._recorded:
            self._settle(shown)

    def _settle(self, shown: Seen) -> None:
        """End the turn: it is the user's move, as is shown since the last record was written."""
        end = self._known_end()
        if end is not None:
            self._end(end)
        elif shown.activity is Activity.IDLE and self.ground.wall() > max(shown.at, self._recorded) + _WORD_LIMIT:
            self._end(Ended(Outcome.LOST, error="Gemini CLI is ready again, and recorded no answer"))

    def _ask(self, shown: Seen) -> None:
        """Tell of the dialog that is shown, once."""
        if shown.at < self._decided + _REDRAWN:
            return
        question, asked = shown.activity is Activity.WAITING_INPUT, shown.text or _UNREAD
        requests = self.voice.conversation.requests
        if any((request.text, request.question) == (asked, question) for request in requests):
            return
        for request in requests:
            self.voice.event(PermissionResolved(request.id, Decision.EXPIRED))
        number = f"{next(self._numbers):x}"
        self.voice.event(QuestionAsked(number, asked) if question else PermissionAsked(number, "", asked))

    # -- what others want

    async def hook(self, hook: Hook) -> bytes | None:  # noqa: ARG002 (the protocol's)
        """Gemini CLI has no hooks of ours."""
        return None

    async def hindrance(self, *, returned: str | None) -> str | None:
        """Look whether the input box is there, and empty."""
        return await box_hindrance(self.run_.terminal, GEMINI_CLI.facts, returned)

    @property
    def witnesses(self) -> Witnesses:
        """Who says what became of a message."""
        return Witnesses("terminal", "session file")

    async def deliver(self, text: str) -> None:
        """Type it."""
        await type_message(self.run_.terminal, self.voice, GEMINI_CLI.facts, text)

    async def go_on(self) -> bool:
        """Have it try again, where its dialog of the limit is shown: the choice for that is the first."""
        screen = await self.run_.terminal.show()
        found, chosen = judge_screen("gemini-cli", screen, ""), _chosen(screen)
        if found.activity is not Activity.USAGE_LIMIT or not chosen:
            return False
        if chosen != _KEEP_TRYING:
            raise TurnsError(f'expected its dialog to have "{_KEEP_TRYING}" chosen, found "{chosen}"')
        await self.run_.terminal.press("Enter")
        return True

    async def answer(self, request: Request, answer: Answer) -> None:
        """Press the key, while the screen shows what is asked: Enter allows once, Escape refuses."""
        if answer.decision is Decision.ANSWER or (request.question and answer.decision is not Decision.DENY):
            raise TurnsError(
                f"expected {'deny' if request.question else 'allow or deny'}; words are given at the terminal"
            )
        if answer.text:
            raise TurnsError("expected no text: Gemini CLI takes none with the answer to a permission")
        # What was seen last may be a second old, and a key must not go to the dialog after that.
        screen = await self.run_.terminal.show()
        found = judge_screen("gemini-cli", screen, "")
        expected = Activity.WAITING_INPUT if request.question else Activity.WAITING_PERMISSION
        if found.activity is not expected or (found.text or _UNREAD) != request.text:
            raise TurnsError("the terminal no longer shows what was asked; see agentctl screen")
        if answer.decision is Decision.ALLOW and _chosen(screen) != _ALLOW_ONCE:
            raise TurnsError(
                f'expected the dialog to have "{_ALLOW_ONCE}" chosen, found "{_chosen(screen)}": answer at the terminal'
            )
        self._decided = self.ground.wall()
        await self.run_.terminal.press("Enter" if answer.decision is Decision.ALLOW else "Escape")

    async def interrupt(self) -> None:
        """Press Escape."""
        await self.run_.terminal.press("Escape")

    async def at_exit(self, *, succeeded: bool) -> Ended | None:  # noqa: ARG002 (the protocol's)
        """An answer that was recorded is one, whatever came after."""
        return self._known_end()


def _chosen(screen: str) -> str:
    """The choice of the dialog that Enter would take; a person may have moved it."""
    found = (_CHOICE.match(row.text) for row in reversed(read_rows(screen)))
    return next((match["choice"] for match in found if match is not None), "")

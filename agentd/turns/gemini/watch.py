"""A run of Gemini CLI, watched.

Gemini CLI has no door of its own for a person's terminal. What is asked, answered and used stands in its session file;
that a turn is over, and that a permission is asked, shows in the title and the dialog, and is answered by keys.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from itertools import count
from typing import Final

from agentd.harness.builtin import GEMINI_CLI
from agentd.model.states import Activity
from agentd.turns.activity import Seen
from agentd.turns.adapter import Answer, Ground, Hook, LiveRun, Voice
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
from agentd.turns.gemini import launch
from agentd.turns.gemini.dialogs import UNREAD, answer_dialog, keep_trying
from agentd.turns.gemini.session_file import Cancelled, Errored, Prompted, Recorded, Said, Tool, Used
from agentd.turns.gemini.session_files import SessionFiles
from agentd.turns.input_box import box_hindrance, type_message
from agentd.turns.request_numbers import request_numbers
from agentd.turns.witnesses import Witnesses

_LOOK: Final = 0.5
"""Seconds between two looks at what the screen shows, while a turn is under way."""

_WORD_LIMIT: Final = 5.0
"""Seconds that the end of a turn may take to be recorded once the title is Ready; the answer is there before."""

_REDRAWN: Final = 0.5
"""Seconds after a key in which the screen may still show what it answered."""

_WAITING: Final = (Activity.WAITING_PERMISSION, Activity.WAITING_INPUT)


@dataclass(slots=True)
class GeminiWatch:
    """A run of Gemini CLI."""

    run_: LiveRun
    voice: Voice
    ground: Ground
    _files: SessionFiles = field(init=False)
    _numbers: count[int] = field(default_factory=request_numbers)
    _recorded: float = 0.0
    """When the last record of the turn was written, in seconds since the epoch."""
    _said: str | None = None
    """The answer, if the turn may end with it."""
    _failed: Ended | None = None
    """An error that the turn may end with."""
    _decided: float = 0.0
    """When a dialog was last answered here."""

    def __post_init__(self) -> None:
        """Know its files."""
        self._files = SessionFiles(self.run_, self.voice, self.ground, self._take)

    async def run(self) -> None:
        """Follow the session file, and in a turn the screen."""
        session, files = self.run_.conversation or self.run_.memo.get(launch.SESSION), self._files
        if not session:
            # The command line names a conversation in another way: the screen is left.
            await asyncio.Event().wait()
            return
        files.go_on(session)
        try:
            await files.search(session)
            while True:
                await self._wait()
                await files.read()
                self._watch_screen()
                if files.others and self.voice.conversation.turn is None:
                    await files.look_for_another()
        finally:
            files.close()

    async def _wait(self) -> None:
        often = self._files.others or self.voice.conversation.turn is not None
        try:
            async with asyncio.timeout(_LOOK if often else None):
                await self._files.news.wait()
        except TimeoutError:
            return
        self._files.news.clear()

    # -- the session file

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
        question, asked = shown.activity is Activity.WAITING_INPUT, shown.text or UNREAD
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

    async def recall(self, text: str, since: float) -> None:
        """Look into the session file for a turn that began while no agentd listened."""
        await self._files.recall(text, since)

    async def read_rest(self) -> None:
        """Read what was written since the last look."""
        await self._files.read_rest()

    async def go_on(self) -> bool:
        """Have it try again, where its dialog of the limit is shown."""
        return await keep_trying(self.run_.terminal)

    async def answer(self, request: Request, answer: Answer) -> None:
        """Press the key, while the screen shows what is asked."""
        await answer_dialog(self.run_.terminal, request, answer, self._note_decision)

    def _note_decision(self) -> None:
        self._decided = self.ground.wall()

    async def interrupt(self) -> None:
        """Press Escape."""
        await self.run_.terminal.press("Escape")

    async def at_exit(self, *, succeeded: bool) -> Ended | None:  # noqa: ARG002 (the protocol's)
        """An answer that was recorded is one, whatever came after."""
        return self._known_end()

"""Claude Code, watched: hooks tell its turns, the status file what it is doing, the session file what neither tells.

The hooks are its best word, but an interrupt fires none; the status file is right in every state but errors; the
session file has the usage, and the end of a turn whose hook was lost. Where there are no hooks, the files tell all.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import structlog

from agentd.harness.builtin import CLAUDE_CODE
from agentd.model.states import Activity
from agentd.turns.activity import Seen
from agentd.turns.adapter import Answer, Granularity, Ground, Hook, LiveRun, Voice
from agentd.turns.claude import launch
from agentd.turns.claude.dialogs import WAITS, Dialogs
from agentd.turns.claude.folder import config_of
from agentd.turns.claude.held import HeldHooks
from agentd.turns.claude.hooks import FAILURES, activity_of, events_of
from agentd.turns.claude.limit_dialog import close_limit_dialog
from agentd.turns.claude.session_file import (
    Asks,
    Errored,
    Interrupted,
    Prompted,
    Recorded,
    Said,
    Used,
    session_path,
)
from agentd.turns.claude.session_reader import SessionReader
from agentd.turns.claude.status_file import Status
from agentd.turns.claude.status_told import StatusLine
from agentd.turns.claude.status_watch import StatusWatch, waits_since
from agentd.turns.conversation import Request
from agentd.turns.events import Decision, Ended, Failure, Outcome, PermissionResolved, Started, Text
from agentd.turns.fields import text
from agentd.turns.input_box import box_hindrance, type_message
from agentd.turns.reading import Reading
from agentd.turns.request_numbers import request_numbers
from agentd.turns.witnesses import Witnesses

log = structlog.get_logger(__name__)

_HOOKS, _STATUS = "hooks", "status file"
"""Witnesses."""

_WORD_LIMIT = 1.0
"""Seconds that the end of a turn may take to be told by its hook or the session file, once the status file says that
it is over; the hook comes within 0.1 s, on a loaded machine ten times later."""

_BEGUN = 30.0
"""Seconds after its start in which Claude Code tells by a hook that its session has begun; it takes 1 s, loaded 10."""

_FOUND = 5.0
"""Seconds for the status file to tell which conversation it is."""

_LATE = 3.0
"""Seconds after a turn's end in which its usage may still be written; it takes 0.1 s."""


@dataclass(slots=True)
class ClaudeWatch:
    """A run of Claude Code."""

    run_: LiveRun
    voice: Voice
    ground: Ground
    _files: Reading = field(init=False)
    _held: HeldHooks = field(init=False)
    _numbers: count[int] = field(default_factory=request_numbers)
    _status_line: StatusLine = field(init=False)
    _status: Status | None = None
    _file: SessionReader = field(init=False)
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _told: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once the status file told what the agent is doing."""
    _status_watch: StatusWatch | None = None
    _dialogs: Dialogs = field(init=False)
    _answering: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while a key answers a dialog: what follows is told after that."""
    _hooked: bool = False
    """Whether hooks are in force; otherwise the files tell of turns, too."""
    _over_since: float | None = None
    """Since when the status file says that the turn is over, though nothing told its end."""
    _said: str | None = None
    """The last that the session file has of an answer whose turn it ends."""
    _asks: str | None = None
    """What the model asks the user, if that is the last that the session file has of it."""

    # -- watching

    def __post_init__(self) -> None:
        self._files = Reading.of(self.run_, self.ground)
        self._file = SessionReader(self._files, self.ground, self._take_line, self._take_recorded, self._news.set)
        self._held = HeldHooks(self.voice)
        self._dialogs = Dialogs(self.voice, self.run_.terminal, self.ground)
        self._status_line = StatusLine.of(self.run_, self.voice)

    async def run(self) -> None:
        """Follow the files."""
        session = self.run_.memo.get(launch.SESSION)
        if session is not None:
            self._identified(session)
        process = (await self.run_.begun()).inside
        config, agent = config_of(self.run_), self.run_.facts.agent
        status = self._status_watch = StatusWatch(agent, config, process, self._files, self.ground, self._news.set)
        try:
            while True:
                await self._wait()
                async with self._answering:
                    if status.changed:
                        self._take_status(await status.read())
                    await self.read_rest()
                    self._settle()
                    self._look_at_dialog()
                turn, last = self.voice.conversation.turn, self.voice.conversation.last
                late = last is not None and (last.ended or 0.0) + _LATE > self.ground.wall()
                # Without hooks a message, and the end of its turn, may be written after the status file has told both.
                self._file.follow(wanted=turn is not None or late or self._by_files)
        finally:
            self._file.follow(wanted=False)
            status.forget()
            self._held.close()

    @property
    def _by_files(self) -> bool:
        """Whether there are no hooks."""
        return not self._hooked and launch.HOOKED not in self.run_.memo

    @property
    def granularity(self) -> Granularity:
        """In what pieces text comes: the session file has a message once it is whole."""
        return Granularity.MESSAGE if self._by_files else Granularity.LINE

    async def _wait(self) -> None:
        limit = _WORD_LIMIT / 2 if self._over_since is not None or self._at_dialog else None
        if limit is None and self._file.followed:
            limit = _LATE
        try:
            async with asyncio.timeout(limit):
                await self._news.wait()
        except TimeoutError:
            return
        self._news.clear()

    def _take_status(self, status: Status | None) -> None:
        if status is None or status.activity is Activity.UNKNOWN:
            self.voice.seen(_STATUS, None)
            self._status = None
            return
        self._status = status
        self._told.set()
        if status.session is not None:
            self._identified(status.session)
        requests = self.voice.conversation.requests
        activity, shown = status.activity, ""
        if activity is Activity.WAITING_INPUT and not requests and self._ended_at_limit:
            # The dialog that opens then is no question.
            activity = Activity.IDLE
        if activity is Activity.WAITING_PERMISSION and self._asks is not None:
            # The status file calls a question a permission, too.
            activity, shown = Activity.WAITING_INPUT, self._asks
        if activity in WAITS and requests:
            shown = requests[-1].text
            activity = Activity.WAITING_INPUT if requests[-1].question else Activity.WAITING_PERMISSION
        if activity is Activity.WORKING:
            for request in requests:
                if request.asked < status.at:
                    # Somebody decided at the terminal: the hook that holds is not asked any more.
                    self.voice.event(PermissionResolved(request.id, Decision.EXPIRED))
                    self._held.release(request.id)
        self.voice.seen(_STATUS, Seen(activity, status.at, shown, blind=self._at_dialog))

    def _look_at_dialog(self) -> None:
        if self._at_dialog or self._dialogs.open:
            since = waits_since(self._status) if self._at_dialog else None
            permission = self._status is not None and self._status.permission
            self._dialogs.look(since, permission=permission, patience=0.0 if self._by_files else _FOUND)

    @property
    def _at_dialog(self) -> bool:
        """Whether the terminal may ask something that no hook waits for: then the screen alone shows what that is."""
        waits = self.voice.conversation.turn is not None if self._status is None else self._status.activity in WAITS
        return waits and not self._held

    @property
    def _ended_at_limit(self) -> bool:
        turn, last = self.voice.conversation.turn, self.voice.conversation.last
        end = None if turn is not None or last is None else last.end
        return end is not None and end.failure is Failure.USAGE_LIMIT

    def _identified(self, session: str, path: Path | None = None) -> None:
        self.voice.identified(session)
        self._file.is_at(path or session_path(config_of(self.run_), str(self.run_.facts.workdir), session))

    async def read_rest(self) -> None:
        """Read what was written since the last look, half a second ago at most."""
        await self._file.read_rest()

    async def recall(self, text: str, since: float) -> None:
        """Look into the session file for a turn that began while no agentd listened."""
        await self._file.recall(text, since)

    def _take_line(self, said: Sequence[Recorded]) -> None:
        for recorded in said:
            self._take_recorded(recorded)
        if said:
            self._note_question(said)

    def _note_question(self, said: Sequence[Recorded]) -> None:
        before, self._asks = self._asks, next((each.text for each in said if isinstance(each, Asks)), None)
        if self._asks != before:
            self._take_status(self._status)

    def _take_recorded(self, recorded: Recorded) -> None:
        conversation = self.voice.conversation
        match recorded:
            case Used(usage):
                self.voice.event(usage)
            case Prompted(turn, prompt):
                if not self._hooked:
                    if self._said is not None and conversation.turn is not None and conversation.turn.id != turn:
                        # The next message is taken only after its end.
                        self._end_untold()
                    self.voice.event(Started(turn, prompt))
                self._said = None
            case Said(said, final):
                self._said = said if final else None
                if not self._hooked and conversation.turn is not None:
                    self.voice.event(Text(said))
            case Asks():
                pass  # the screen tells of it
            case Interrupted():
                self._end(Ended(Outcome.INTERRUPTED))
            case Errored(error, said):
                self._end(Ended(Outcome.FAILED, None, FAILURES.get(error, Failure.OTHER), said or error or None))

    def _end(self, end: Ended) -> None:
        if self.voice.conversation.turn is not None:
            self.voice.event(end)

    def _settle(self) -> None:
        """End a turn that the status file says is over, once its end has had time to be told."""
        status, turn = self._status, self.voice.conversation.turn
        over = turn is not None and status is not None and status.activity is Activity.IDLE
        # A turn that a hook began is over only by a later word: while that hook runs, the agent is busy. One that was
        # found in the session file may have ended before it was found.
        if not over or (self._hooked and turn is not None and status is not None and status.at < turn.started):
            self._over_since = None
            return
        now = self.ground.wall()
        if self._over_since is None:
            self._over_since = now
        if now - self._over_since >= _WORD_LIMIT or (self._said is not None and not self._hooked):
            self._over_since = None
            self._end_untold()

    def _end_untold(self) -> None:
        """End a turn whose end nothing told, by what the session file has of it."""
        said = self._said
        self._end(Ended(Outcome.INTERRUPTED) if said is None else Ended(Outcome.COMPLETED, said))

    # -- hooks

    async def hook(self, hook: Hook) -> bytes | None:
        """Take what a hook says, and hold those that ask."""
        if self._status_line.takes(hook):
            return None
        if hook.again and not await self._waits_still():
            return None
        self._hooked = True
        if hook.body is not None:
            session, path = text(hook.body, "session_id"), text(hook.body, "transcript_path")
            if session and hook.name != "SessionEnd":
                self._identified(session, self.run_.facts.outside(Path(path)) if path.startswith("/") else None)
        if hook.name == "UserPromptSubmit":
            await self._end_before(hook)
        if hook.name == launch.ASKS:
            self._dialogs.drop()
        number = f"{next(self._numbers):x}"
        before = {request.id for request in self.voice.conversation.requests}
        for event in events_of(hook, self.voice.conversation, number):
            self.voice.event(event)
        self._held.release(*(before - {request.id for request in self.voice.conversation.requests}))
        self._see(hook, decided=bool(before) and not self.voice.conversation.requests)
        if self._ended_at_limit:
            self._take_status(self._status)
        self._news.set()
        asked = any(request.id == number for request in self.voice.conversation.requests)
        return await self._held.hold(number, hook) if asked else None

    async def _waits_still(self) -> bool:
        """Whether Claude Code, by its status file, waits for what a former daemon was asked."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FOUND):
                await self._told.wait()
        return self._status is not None and self._status.activity in WAITS

    async def _end_before(self, hook: Hook) -> None:
        """Count to the last turn what it used, and end one that nothing told the end of, which an interrupt is."""
        await self.read_rest()
        turn = self.voice.conversation.turn
        if turn is not None and hook.body is not None and turn.id != text(hook.body, "prompt_id"):
            self._end_untold()

    def _see(self, hook: Hook, *, decided: bool) -> None:
        activity = activity_of(hook)
        if hook.name == "SessionEnd":
            self.voice.seen(_HOOKS, None)
        elif activity is not None:
            requests = self.voice.conversation.requests
            asks = requests[-1].text if requests and hook.name == "PermissionRequest" else ""
            self.voice.seen(_HOOKS, Seen(activity, self.ground.wall(), asks))
        elif decided:
            self.voice.seen(_HOOKS, Seen(Activity.WORKING, self.ground.wall()))

    # -- what others want

    async def hindrance(self, *, returned: str | None) -> str | None:
        """Look whether the input box is there, and empty; and whether it is there to stay."""
        if not self._hooked and launch.HOOKED in self.run_.memo and self.run_.process.age() < _BEGUN:
            # What is typed before its session begins may be lost, though the box showed it.
            return "it has not begun its session yet"
        return await box_hindrance(self.run_.terminal, CLAUDE_CODE.facts, returned)

    @property
    def witnesses(self) -> Witnesses:
        """Who says what became of a message."""
        return Witnesses("terminal", _HOOKS if self._hooked else "session file")

    async def deliver(self, text: str) -> None:
        """Type it."""
        await type_message(self.run_.terminal, self.voice, CLAUDE_CODE.facts, text)

    async def go_on(self) -> bool:
        """Make way for a message."""
        await close_limit_dialog(self.run_.terminal)
        return False

    async def answer(self, request: Request, answer: Answer) -> None:
        """Answer the hook that holds; where none does, the dialog."""
        if self._dialogs.has(request.id):
            assert self._status_watch is not None
            async with self._answering:
                await self._dialogs.answer(request, answer, self._status_watch.waits_since)
            return
        self._held.answer(request.id, answer)
        self.voice.seen(_HOOKS, Seen(Activity.WORKING, self.ground.wall()))

    async def interrupt(self) -> None:
        """Press Escape."""
        await self.run_.terminal.press("Escape")

    async def at_exit(self, *, succeeded: bool) -> Ended | None:  # noqa: ARG002 (the protocol's)
        """A program that stays ends its turns by its own word."""
        return None

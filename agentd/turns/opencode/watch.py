"""A run of OpenCode, watched: its server tells all."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import structlog

from agentd.files.answering import NotAnsweringError
from agentd.model.spec import ForkPoint
from agentd.model.states import Activity
from agentd.turns.activity import Seen
from agentd.turns.adapter import Answer, Granularity, Ground, Hook, LiveRun, TurnsError, Voice
from agentd.turns.conversation import Request, Turn
from agentd.turns.events import Decision, Ended, Outcome, PermissionResolved
from agentd.turns.fields import text as text_of
from agentd.turns.messages.message import same_text
from agentd.turns.opencode import launch
from agentd.turns.opencode.beginning import Beginning
from agentd.turns.opencode.current import at_work, begun_at
from agentd.turns.opencode.events import Doing, Reader
from agentd.turns.opencode.home_screen import is_home
from agentd.turns.opencode.messages import as_events, is_prompt, missed, prompt_of, under_way
from agentd.turns.opencode.plugin import Plugin
from agentd.turns.opencode.record import record_of
from agentd.turns.opencode.replies import reply
from agentd.turns.opencode.server import STATUS, NoAnswerError, Server
from agentd.turns.screen.styled import read_rows
from agentd.turns.witnesses import Witnesses

log = structlog.get_logger(__name__)

_TAKEN: Final = 15.0
"""Seconds for the server to take a message: whether it has is not known after that."""
_FOUND: Final = 10.0
"""Seconds for the server to be heard."""
_MOST_MISSED: Final = 200
"""Messages that are looked through for what was not heard."""
_INPUT: Final = 2.0
"""Seconds after which what an agent asks for is told of without its tool's input, which follows at once as measured."""
_ASKS: Final = (("permission.asked", "/permission"), ("question.asked", "/question"))
"""What may have been asked meanwhile, and where that is listed."""
_DRAWN: Final = 60.0
"""Seconds for the terminal to show a conversation that was begun or gone on with, on a machine ten times slower."""
_RETRY: Final = (0.5, *(1.0,) * 8, 2.0, 2.0, 5.0)
"""Seconds between attempts to connect; the last again and again: a start takes 4 s, loaded 18."""


@dataclass(slots=True)
class OpenCodeWatch:
    """A run of OpenCode."""

    run_: LiveRun
    voice: Voice
    ground: Ground
    _reader: Reader = field(default_factory=Reader)
    _server: Server | None = None
    _plugin: Plugin | None = None
    """By which the server is asked, if not by its port."""
    _heard: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while the server is heard."""
    _since: float = 0.0
    """Since when it is not, in seconds since the epoch."""
    _sought: tuple[str, float] | None = None
    """A message whose turn is to be looked up once the server is heard, and since when."""
    _beginning: Beginning = field(init=False)
    _shown_from: float = 0.0
    """From when on, by the loop's clock, the terminal shows the conversation unless it was left for the home screen."""

    def __post_init__(self) -> None:
        """Know how a conversation is begun."""
        self._beginning = Beginning(self._reader)

    async def run(self) -> None:
        """Follow the server's events, over its reconnections."""
        memo, server = self.run_.memo, self._server
        if server is None:
            await asyncio.Event().wait()
            return
        self._reader.session = self.run_.conversation or memo.get(launch.RESUMED)
        self._since = self.ground.wall()
        if self.run_.conversation is None:
            self._shown_from = asyncio.get_running_loop().time() + _DRAWN
            # What was said in it before.
            self._since -= self.run_.process.age()
        if self._reader.session is None and launch.FORK in memo:
            self._beginning.fork = ForkPoint.parse(memo[launch.FORK])
        try:
            await self._follow(server)
        finally:
            await self._beginning.close()
            await server.door.close()

    async def _follow(self, server: Server) -> None:
        failures = late = 0
        while True:
            try:
                async for event in server.events():
                    if event.get("type") == "server.connected":
                        await self._connected(server)
                        await self._look_up()
                    failures = late = 0
                    self._take(event)
                reason = "it closed the connection"
            except OSError as error:
                reason = str(error)
                late = late + 1 if isinstance(error.__cause__, TimeoutError) else 0
            log.debug("opencode_not_heard", agent=self.run_.facts.agent, reason=reason)
            if self._heard.is_set():
                self._heard.clear()
                self._since = self.ground.wall()
            self.voice.seen(server.door.witness, None)
            await asyncio.sleep(_RETRY[min(failures, len(_RETRY) - 1)])
            failures += 1
            server.be_patient(late)

    async def _connected(self, server: Server) -> None:
        """Ask what is going on, and what was not heard."""
        turn = self.voice.conversation.turn
        statuses = await server.get(STATUS)
        if self._reader.session not in statuses:
            self._reader.session = await at_work(server, statuses) or self._reader.session
        if self._reader.session is None:
            self._reader.session = await begun_at(self.run_.terminal, server, self._since)
        session = self._reader.session
        if session is not None:
            await self._catch_up(server, session, turn, idle=session not in statuses)
        asked = [(kind, each) for kind, path in _ASKS for each in await server.get_all(path)]
        self._reader.resume(statuses)
        self._heard.set()
        now = self.voice.conversation.turn
        if turn is not None and now is not None and now.id == turn.id and self._reader.doing == Doing(Activity.IDLE):
            self.voice.event(Ended(Outcome.LOST, error="the end was not heard"))
        listed = [text_of(each, "id") for _, each in asked]
        for request in self.voice.conversation.requests:
            if request.id not in listed:
                self.voice.event(PermissionResolved(request.id, Decision.EXPIRED))
        self._see()
        for kind, each in asked:
            if text_of(each, "sessionID") == session:
                self._take({"type": kind, "properties": each})

    async def _catch_up(self, server: Server, session: str, turn: Turn | None, *, idle: bool) -> None:
        """Take what was not heard of a conversation, whose turn was under way by what was heard last."""
        said = await server.get_all(f"/session/{session}/message?limit={_MOST_MISSED}")
        # One that began while no agentd listened is told from its beginning.
        known = (None if idle else under_way(said)) if turn is None else turn.id
        if self._beginning.fork is not None:
            self._beginning.take_up_the_copy(said, self.ground.wall() - self.run_.process.age())
        for event in missed(said, self._since, known, self._reader.knows, idle=idle):
            self._take(event)

    def _take(self, event: Mapping[str, object]) -> None:
        for each in self._reader.read(event):
            self.voice.event(each)
        if self._reader.holds:
            asyncio.get_running_loop().call_later(_INPUT, self._release)
        self._see()

    def _release(self) -> None:
        for each in self._reader.release():
            self.voice.event(each)
            self._see()

    def _see(self) -> None:
        self.voice.identified(self._reader.session)
        doing = self._reader.doing
        if doing is not None:
            retries, at = doing.resets_at is not None, self.ground.wall()
            seen = Seen(doing.activity, at, doing.text, resets_at=doing.resets_at, retries=retries)
            self.voice.seen(self._witness, seen)

    async def hook(self, hook: Hook) -> bytes | None:
        """Take what the plugin posts."""
        return None if self._plugin is None else await self._plugin.hook(hook)

    def _asked(self) -> Server:
        if self._server is None:
            raise TurnsError(f"the server of {self.run_.facts.agent} is not ours: use agentctl send and keys")
        return self._server

    async def hindrance(self, *, returned: str | None) -> str | None:  # noqa: ARG002 (the protocol's)
        """Its server takes messages whatever is in its box; a new conversation is shown on a screen that is ready."""
        if not self._heard.is_set():
            return "its server is not heard"
        home = is_home((await self.run_.terminal.look()).rows)
        self._follow_screen(home=home)
        if home is not True and (self._reader.session is None or (self._beginning.fork is not None and home is None)):
            return "its screen does not show that it is ready for a new conversation"
        return None

    def shows(self, screen: str) -> None:
        """Follow the person at the terminal to the home screen: ``/new`` is no event of the server's."""
        self._follow_screen(home=is_home([row.text for row in read_rows(screen)]))

    def _follow_screen(self, *, home: bool | None) -> None:
        if home is None or self._reader.session is None or self.voice.conversation.turn is not None:
            return
        now = asyncio.get_running_loop().time()
        if not home:
            self._shown_from = min(self._shown_from, now)
        elif now >= self._shown_from:
            self._reader.session = None
            self.voice.identified(None)

    async def recall(self, text: str, since: float) -> None:
        """Ask the server for a turn that began while no agentd listened; later, if it is not heard in time."""
        self._sought = text, since
        with contextlib.suppress(OSError):
            async with asyncio.timeout(_FOUND):
                await self._heard.wait()
            await self._look_up()

    async def _look_up(self) -> None:
        """Look up the turn that is sought, as long as that has not been done; raises `OSError` if it cannot be."""
        session, server, sought = self._reader.session, self._server, self._sought
        if session is None or server is None or sought is None:
            return
        text, since = sought
        said = await server.get_all(f"/session/{session}/message")
        idle = session not in await server.get(STATUS)
        if self._sought is not sought:
            return
        self._sought = None
        begins = [at for at, each in enumerate(said) if is_prompt(each, since) and same_text(text, prompt_of(each))]
        for each in said[begins[-1] :] if begins else ():
            for event in as_events(each):
                self._take(event)
        if begins and idle:
            self._take({"type": "session.idle", "properties": {"sessionID": session}})

    @property
    def witnesses(self) -> Witnesses:
        """Who says what became of a message."""
        return Witnesses(self._witness, self._witness)

    @property
    def _witness(self) -> str:
        return "server" if self._server is None else self._server.door.witness

    @property
    def granularity(self) -> Granularity:
        """In what pieces text comes: none does where there is no server but the screen."""
        return Granularity.SCREEN if self._server is None else Granularity.TOKEN

    async def deliver(self, text: str) -> None:
        """Send a message to the conversation on the screen; the first one begins it."""
        server, session = self._asked(), self._reader.session
        if session is None or self._beginning.fork is not None:
            session = await self._beginning.begin(server)
            self._shown_from = asyncio.get_running_loop().time() + _DRAWN
        parts = [{"type": "text", "text": text}]
        try:
            await server.post(f"/session/{session}/prompt_async", {"parts": parts}, _TAKEN)
        except NoAnswerError as error:
            # It may have been taken all the same: the record tells.
            log.info("opencode_did_not_answer", agent=self.run_.facts.agent, reason=str(error))

    async def settle(self, text: str, since: float) -> bool:
        """Read the database: whether the server took a message is not known if it ended before its answer.

        Messages are given no ids of ours, by which they could be found: OpenCode orders messages by their ids, which
        it makes of the time in a way of its own.
        """
        record, session = record_of(self.run_, self.ground), self._reader.session
        if session is None:
            return False
        try:
            said = await self.ground.looks.look(record.place, lambda: record.prompted(text, since, session))
        except (OSError, NotAnsweringError) as error:
            raise TurnsError(f"OpenCode's database cannot be read: {error}") from error
        for event in missed(said, since, None, self._reader.knows, idle=True):
            self._take(event)
        return bool(said)

    async def answer(self, request: Request, answer: Answer) -> None:
        """Reply to a permission or a question."""
        await reply(self._asked(), request, answer)

    async def interrupt(self) -> None:
        """Abort the turn."""
        session = self._reader.session
        if self._server is not None and session is not None:
            await self._server.post(f"/session/{session}/abort", {})
            return
        await self.run_.terminal.press("Escape")
        await self.run_.terminal.press("Escape")

    async def at_exit(self, *, succeeded: bool) -> Ended | None:  # noqa: ARG002 (the protocol's)
        """A program that stays ends its turns by its own word."""
        return None

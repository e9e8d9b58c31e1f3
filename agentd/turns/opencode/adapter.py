"""OpenCode, watched: its server tells all; without one, as where the user has set it up, the screen is left."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import structlog

from agentd.harness.additions import Additions, LaunchFacts
from agentd.harness.builtin import OPENCODE as OPENCODE_CLI
from agentd.model.states import Activity
from agentd.turns.activity import Seen
from agentd.turns.adapter import Answer, Granularity, Ground, Hook, LiveRun, NotNowError, TurnsError, Voice, Watch
from agentd.turns.conversation import Request
from agentd.turns.events import Decision, Ended, Outcome
from agentd.turns.fields import text as text_of
from agentd.turns.messages.message import same_text
from agentd.turns.one_turn import OneTurnWatch
from agentd.turns.opencode import launch
from agentd.turns.opencode.events import Doing, Reader
from agentd.turns.opencode.messages import as_events, is_prompt, prompt_of
from agentd.turns.opencode.server import Server

log = structlog.get_logger(__name__)

_SERVER: Final = "server"
"""The witness."""
_TAKEN: Final = 20.0
"""Seconds for the server to take a message: whether it has is not known after that."""
_FOUND: Final = 10.0
"""Seconds for the server to be heard."""
_RETRY: Final = (0.5, 1.0, 2.0, 5.0)
"""Seconds between attempts to connect; the last again and again: a start takes 4 s, loaded 18."""


@dataclass(frozen=True, slots=True)
class OpenCodeAdapter:
    """The adapter of the harness ``opencode``."""

    granularity: Granularity = Granularity.TOKEN

    def additions(self, facts: LaunchFacts) -> Additions:
        """Have it serve on a port of loopback."""
        return launch.additions(facts)

    def watch(self, run: LiveRun, voice: Voice, ground: Ground) -> Watch:
        """Watch a run."""
        if run.facts.stays:
            return OpenCodeWatch(run, voice, ground)
        return OneTurnWatch(run, voice, ground, on_screen=launch.ONE_TURN not in run.memo)


OPENCODE = OpenCodeAdapter()


@dataclass(slots=True)
class OpenCodeWatch:
    """A run of OpenCode."""

    run_: LiveRun
    voice: Voice
    ground: Ground
    _reader: Reader = field(default_factory=Reader)
    _server: Server | None = None
    _heard: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once the server was connected to."""

    async def run(self) -> None:
        """Follow the server's events, over its reconnections."""
        memo = self.run_.memo
        port, password = memo.get(launch.PORT, ""), memo.get(launch.PASSWORD)
        if not port.isdecimal() or password is None:
            await asyncio.Event().wait()
            return
        self._reader.session = self.run_.conversation or memo.get(launch.RESUMED)
        self._server = Server(int(port), password)
        try:
            await self._follow(self._server)
        finally:
            await self._server.close()

    async def _follow(self, server: Server) -> None:
        failures = 0
        while True:
            try:
                async for event in server.events():
                    if event.get("type") == "server.connected":
                        await self._connected(server)
                    failures = 0
                    self._take(event)
                reason = "it closed the connection"
            except OSError as error:
                reason = str(error)
            log.debug("opencode_not_heard", agent=self.run_.facts.agent, reason=reason)
            self.voice.seen(_SERVER, None)
            await asyncio.sleep(_RETRY[min(failures, len(_RETRY) - 1)])
            failures += 1

    async def _connected(self, server: Server) -> None:
        """Ask what is going on: what happened before was not heard."""
        self._reader.resume(await server.get("/session/status"))
        self._heard.set()
        if self.voice.conversation.turn is not None and self._reader.doing == Doing(Activity.IDLE):
            self.voice.event(Ended(Outcome.LOST, error="the end was not heard"))
        self._see()

    def _take(self, event: Mapping[str, object]) -> None:
        for each in self._reader.read(event):
            self.voice.event(each)
        self._see()

    def _see(self) -> None:
        if self._reader.session is not None:
            self.voice.identified(self._reader.session)
        doing = self._reader.doing
        if doing is not None:
            retries, at = doing.resets_at is not None, self.ground.wall()
            seen = Seen(doing.activity, at, doing.text, resets_at=doing.resets_at, retries=retries)
            self.voice.seen(_SERVER, seen)

    async def hook(self, hook: Hook) -> bytes | None:  # noqa: ARG002 (the protocol's)
        """OpenCode has no hooks of ours."""
        return None

    def _asked(self) -> Server:
        if self._server is None:
            raise TurnsError(f"the server of {self.run_.facts.agent} is not ours: use agentctl send and keys")
        return self._server

    async def hindrance(self, *, returned: str | None) -> str | None:  # noqa: ARG002 (the protocol's)
        """Its server takes messages whatever is in its box; a new conversation is shown on a screen that is ready."""
        if self._reader.session is None:
            screen = await self.run_.terminal.look()
            marker = OPENCODE_CLI.facts.ready_marker
            if marker is not None and not any(marker in row for row in screen.rows):
                return "its screen does not show that it is ready"
        return None

    async def recall(self, text: str, since: float) -> None:
        """Ask the server for a turn that began while no agentd listened."""
        async with asyncio.timeout(_FOUND):
            await self._heard.wait()
        session, server = self._reader.session, self._server
        if session is None or server is None:
            return
        try:
            said = await server.get_all(f"/session/{session}/message")
            idle = session not in await server.get("/session/status")
        except OSError as error:
            log.debug("opencode_not_heard", agent=self.run_.facts.agent, reason=str(error))
            return
        begins = [at for at, each in enumerate(said) if is_prompt(each, since) and same_text(text, prompt_of(each))]
        for each in said[begins[-1] :] if begins else ():
            for event in as_events(each):
                self._take(event)
        if begins and idle:
            self._take({"type": "session.idle", "properties": {"sessionID": session}})

    async def deliver(self, text: str) -> None:
        """Send a message to the conversation on the screen; the first one begins it."""
        server, session = self._asked(), self._reader.session
        if session is None:
            session = await self._begin(server)
        await server.post(f"/session/{session}/prompt_async", {"parts": [{"type": "text", "text": text}]}, _TAKEN)

    async def _begin(self, server: Server) -> str:
        """Begin a conversation, and have it shown."""
        made = await server.post("/session", {})
        session = text_of(made, "id")
        if not session:
            raise NotNowError("opencode made a conversation without an id")
        await server.post("/tui/select-session", {"sessionID": session})
        self._reader.session = session
        return session

    async def answer(self, request: Request, answer: Answer) -> None:
        """Reply to a permission or a question."""
        server = self._asked()
        if request.question:
            if answer.decision is Decision.DENY:
                await server.post(f"/question/{request.id}/reject", {})
            elif answer.decision is Decision.ANSWER:
                await server.post(f"/question/{request.id}/reply", {"answers": [[answer.text]]})
            else:
                raise TurnsError("expected an answer in words, or deny; the agent asks a question")
        elif answer.decision is Decision.ANSWER:
            raise TurnsError("expected allow or deny; the agent asks for permission")
        else:
            reply = "once" if answer.decision is Decision.ALLOW else "reject"
            await server.post(f"/permission/{request.id}/reply", {"reply": reply})

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

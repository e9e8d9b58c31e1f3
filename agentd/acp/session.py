"""One session with an agent: its turns, one after the other, what is shown of them, and what agentd is told."""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import agentd
from agentd.acp import gemini
from agentd.acp.ends import Output, Reporter
from agentd.acp.permissions import Permissions
from agentd.acp.reading import cost_of, explain, failure_of, outcome_of, usage_of
from agentd.acp.rpc import METHOD_NOT_FOUND, Agent, GoneError, Handlers, JsonObject, RpcError
from agentd.acp.screen import BOLD, DIM, RED, YELLOW
from agentd.acp.turn import Turn
from agentd.turns.events import Ended, Failure, Outcome, Started
from agentd.turns.fields import mapping, text

PROTOCOL: Final = 1
"""Version of the protocol."""

_START_LIMIT: Final = 180.0
"""Seconds for the agent to open a session: gemini takes 3 on an idle machine, ten times that on a loaded one, and
may have to wait a minute."""
_QUIET: Final = 0.5
"""Seconds without news of a session's past after which all of it was told."""
_LONGEST_PAST: Final = 20.0
_MOST_QUEUED: Final = 100
"""Messages that wait for their turn."""
_MOST_NOISE: Final = 200
"""Lines that are shown of what is no message, between two turns."""
_LONGEST_NOISE: Final = 500
"""Characters of one of them."""


class StartError(Exception):
    """The agent gave no session; the text says why."""


@dataclass(slots=True)
class Session:
    """A session.

    Parameters
    ----------
    run
        Id of the run, from which ids of turns are made.
    """

    run: str
    output: Output
    reporter: Reporter
    agent: Agent = field(init=False)
    id: str | None = None
    _permissions: Permissions = field(init=False)
    _queue: deque[str] = field(default_factory=deque)
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _turn: Turn | None = None
    _turns: int = 0
    _interrupted: bool = False
    _replaying: bool = False
    _heard: bool = True
    """Whether anything of the session's past was told since that was last looked at."""
    _noise: int = 0
    _cost: float | None = None
    """Of the session so far, in US dollars; ``None`` if it is not known."""

    def __post_init__(self) -> None:
        """Bind the two ends."""
        self.agent = Agent(Handlers(self._request, self._notified, self._heard_noise))
        self._permissions = Permissions(self.run, self.output, self.reporter, self.agent)

    # -- its course

    async def open(self, workdir: Path, former: str | None) -> None:
        """Open a session: the former one where the agent can, else a new one.

        Raises
        ------
        StartError
            If there is none.
        """
        self.output.status("starting the agent", "… starting")
        try:
            async with asyncio.timeout(_START_LIMIT):
                self.id = await self._opened(workdir, former)
        except TimeoutError:
            raise StartError(f"the agent opened no session within {_START_LIMIT:g} s") from None
        except GoneError:
            raise StartError("the agent ended before it had opened a session") from None
        except RpcError as error:
            raise StartError(f"the agent opened no session: {explain(str(error), error.data)}") from None
        self.reporter.identified(self.id)
        self._show_status()

    async def _opened(self, workdir: Path, former: str | None) -> str:
        # Neither files nor terminals are offered: the agent is on this machine, as the same user, and has its own.
        offered = {"fs": {"readTextFile": False, "writeTextFile": False}, "terminal": False}
        own = {"name": "agentd", "title": "agentd", "version": agentd.__version__}
        told = await self.agent.call(
            "initialize", {"protocolVersion": PROTOCOL, "clientCapabilities": offered, "clientInfo": own}
        )
        if told.get("protocolVersion") != PROTOCOL:
            raise StartError(f"expected version {PROTOCOL} of the protocol, found {told.get('protocolVersion')!r}")
        place: JsonObject = {"cwd": str(workdir), "mcpServers": []}
        if former is not None and await self._reopened(told, place, former):
            return former
        self._cost = 0.0
        session = text(await self.agent.call("session/new", place), "sessionId")
        if not session:
            raise StartError("the agent opened a session without an id")
        return session

    async def _reopened(self, told: Mapping[str, object], place: JsonObject, former: str) -> bool:
        able = mapping(told, "agentCapabilities")
        if able.get("loadSession") is True:
            method = "session/load"
        elif isinstance(mapping(able, "sessionCapabilities").get("resume"), dict):
            method = "session/resume"
        else:
            self.output.row("this agent cannot go on with a former conversation; this is another one", YELLOW)
            return False
        # What it tells of the session's past comes before the answer.
        if text(mapping(told, "agentInfo"), "name") == gemini.NAME:
            self.output.status("waiting up to a minute: Gemini CLI would lose the conversation now", "… starting")
            await gemini.wait_until_safe(former, os.environ)
        self.id, self._replaying = former, True
        self._turn = Turn("", self.output, None)
        try:
            await self.agent.call(method, {"sessionId": former, **place})
            await self._settled()
        except RpcError as error:
            self.id = None
            reason = explain(str(error), error.data)
            self.output.row(f"the former conversation cannot be gone on with ({reason}); this is another one", YELLOW)
            return False
        finally:
            self._replaying, self._turn = False, None
        return True

    async def _settled(self) -> None:
        """Wait until the past was told: gemini goes on telling it after its answer, and none of it is of a new turn."""
        until = time.monotonic() + _LONGEST_PAST
        while self._heard and time.monotonic() < until:
            self._heard = False
            await asyncio.sleep(_QUIET)

    async def converse(self) -> None:
        """Hand over message after message.

        Raises
        ------
        GoneError
            Once the agent is gone.
        """
        while True:
            while not self._queue:
                self._news.clear()
                await self._news.wait()
            await self._take_turn(self._queue.popleft())
            self._noise = 0

    async def _take_turn(self, message: str) -> None:
        self._turns += 1
        turn = self._turn = Turn(f"{self.run}.{self._turns}", self.output, self.reporter)
        self._interrupted = False
        before = self._cost
        self.output.row(message, BOLD, mark="\n\x1b[36m\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK}\x1b[0m ")
        self.reporter.event(Started(turn.id, message))
        self._show_status()
        prompt = [{"type": "text", "text": message}]
        gone = False
        try:
            result = await self.agent.call("session/prompt", {"sessionId": self.id, "prompt": prompt})
        except RpcError as error:
            reason = explain(str(error), error.data)
            end = Ended(Outcome.FAILED, None, failure_of(error.code, str(error), error.data), reason)
        except GoneError:
            gone = True
            end = Ended(Outcome.LOST, turn.final_text, None, "the agent's process ended")
        else:
            outcome, problem = outcome_of(text(result, "stopReason"))
            if self._interrupted and outcome is Outcome.COMPLETED and turn.final_text is None:
                # So opencode answers, of a model that it was asking again.
                outcome = Outcome.INTERRUPTED
            cost = None if before is None or self._cost is None else self._cost - before
            used = usage_of(result, cost or None)
            if used is not None:
                self.reporter.event(used)
            failure = Failure.OTHER if outcome is Outcome.FAILED else None
            end = Ended(outcome, turn.final_text, failure, problem)
        self._permissions.drop()
        if end.error is not None:
            self.output.row(end.error, RED)
        elif end.outcome is Outcome.INTERRUPTED:
            self.output.row("interrupted", YELLOW)
        self.reporter.event(end)
        self._turn = None
        self._show_status()
        if gone:
            raise GoneError

    # -- what people and agentd want

    def message(self, message: str) -> None:
        """Have a message said, as soon as it is its turn."""
        if len(self._queue) >= _MOST_QUEUED:
            self.output.row(f"not taken: {_MOST_QUEUED} messages wait already", YELLOW)
            return
        self._queue.append(message)
        if self._turn is not None or self.id is None:
            self.output.row(f"waits: {message}", DIM)
        self._news.set()

    def interrupt(self) -> bool:
        """Interrupt the turn; says whether there was one that was not interrupted already."""
        if self._turn is None or self._replaying or self._interrupted:
            return False
        self._interrupted = True
        # In this order: an agent that hears of the permission first may go on to its end.
        self.agent.notify("session/cancel", {"sessionId": self.id})
        self._permissions.drop()
        self._show_status()
        return True

    @property
    def asks(self) -> bool:
        """Whether a number that is typed is an answer."""
        return self._permissions.typed_for(time.monotonic())

    def choose(self, number: int) -> None:
        """Answer what it asks, by the number of an option."""
        self._permissions.choose(number)
        self._show_status()

    def answer(self, request: str, decision: str, words: str) -> str | None:
        """Answer a request from elsewhere; says why it is not taken."""
        problem = self._permissions.answer(request, decision, words)
        self._show_status()
        return problem

    def say_status(self, text: str) -> None:
        """Say something in the row below."""
        self.output.status(text, self._name())

    def _name(self) -> str:
        if self._permissions.first is not None:
            return "\N{RAISED HAND} permission"
        return "\N{WHITE DIAMOND} ready" if self._turn is None else "\N{BLACK FOUR POINTED STAR} working"

    def _show_status(self) -> None:
        asked = self._permissions.first
        if asked is not None:
            shown = f"{asked.choices}   (number, Enter)   C-c interrupts"
        elif self._turn is None:
            shown = "Enter sends   C-j breaks the line   /exit leaves"
        elif self._interrupted:
            shown = "interrupting   C-c C-c leaves"
        else:
            shown = "working   C-c interrupts   /exit leaves"
        self.output.status(shown, self._name())

    # -- what the agent says

    def _request(self, request: object, method: str, params: JsonObject) -> None:
        if method != "session/request_permission":
            self.agent.refuse(request, METHOD_NOT_FOUND, f"agentd does not offer {method}")
            return
        if self._turn is None or self._replaying or self._interrupted or text(params, "sessionId") != self.id:
            self.agent.answer(request, {"outcome": {"outcome": "cancelled"}})
            return
        self._permissions.ask(request, params, self._turn)
        self._show_status()

    def _notified(self, method: str, params: JsonObject) -> None:
        update = mapping(params, "update")
        if method != "session/update" or text(params, "sessionId") != self.id:
            return
        kind = text(update, "sessionUpdate")
        self._heard = True
        if kind == "usage_update":
            cost = cost_of(update)
            self._cost = self._cost if cost is None else cost
        elif self._turn is not None:
            tool = self._turn.take(kind, update)
            if tool is not None:
                # It runs, or has run: whoever was asked is so no more.
                self._permissions.over(tool)
                self._show_status()

    def _heard_noise(self, line: str) -> None:
        self._noise += 1
        if self._noise <= _MOST_NOISE:
            self.output.row(line[:_LONGEST_NOISE], DIM)
        elif self._noise == _MOST_NOISE + 1:
            self.output.row("what else it prints beside the protocol is not shown", DIM)

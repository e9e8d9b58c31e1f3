"""Ask an agent something, and wait for its answer."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from agentd.cli.agentctl.client import ApiError, Json, Stream, UnreachableError
from agentd.cli.agentctl.command import CommandError, Invocation
from agentd.cli.agentctl.lookup import find_agent
from agentd.cli.agentctl.queued import QueuedMessage, is_seen
from agentd.cli.agentctl.talking import conversation_of
from agentd.cli.agentctl.turns_client import MessageView, TurnsClient, TurnView
from agentd.model.states import Activity, AgentState
from agentd.model.status import AgentStatus

_LOOK_AFTER: Final = 0.2
"""Seconds without news after which the message is looked at: agentd may have been restarted."""

_AWAY: Final = 10.0
"""Seconds for agentd to be back."""

_BEGINS: Final = 60.0
"""Seconds after its start in which an agent's program may begin to tell of its turns; a loaded machine needs many."""

_USAGE_LIMIT: Final = 1.0
"""Seconds that usage may come after the end of its turn."""


def ready(invocation: Invocation, name: str, deadline: float | None) -> AgentStatus:
    """Wait until something tells what an agent is doing, or nothing is to be expected any more; give the agent.

    Raises
    ------
    CommandError
        If it does not run, and is not about to.
    """
    end = min(time.monotonic() + _BEGINS, math.inf if deadline is None else deadline)
    while True:
        agent = find_agent(invocation.api, name)
        over = time.monotonic() >= end
        if agent.state == AgentState.RUNNING:
            known = agent.activity not in (None, Activity.UNKNOWN)
            if known or over or agent.uptime_seconds >= _BEGINS:
                return agent
        elif over or agent.state not in (AgentState.PENDING, AgentState.STARTING):
            told = f"it is {agent.state}: agentctl status {agent.name} says why"
            raise CommandError(f"{agent.name} is not running, {told}")
        time.sleep(_LOOK_AFTER)  # noqa: TID251 (a person waits, and the agent is asked for)


@dataclass(slots=True)
class Question:
    """One message, and the turn that it begins.

    Parameters
    ----------
    deadline
        Monotonic, in seconds; ``None`` is none.
    said
        Called with each new piece of the answer.
    asked
        Called once with each thing that the agent waits for somebody to decide.
    """

    invocation: Invocation
    agent: AgentStatus
    text: str
    deadline: float | None
    said: Callable[[str], None]
    asked: Callable[[str], None]
    _requests: set[str] = field(default_factory=set)
    _printed: bool = False
    _whole: bool = False
    """Whether what was said last was a message, so that the next piece begins another."""
    _news: News | None = None
    _heard: float = 0.0
    """When agentd answered last."""

    def ask(self) -> TurnView:
        """Send the message once it is the user's move, and give the turn when it has ended.

        Raises
        ------
        CommandError
            If the agent is not watched, does not take the message, ends, or the time is over.
        """
        self._check()
        self._news = News(TurnsClient.of(self.invocation), self.agent.name)
        self._news.connect()
        queued = QueuedMessage.send(self.invocation, self.agent.name, self.text)
        self._heard = time.monotonic()
        try:
            while True:
                told = self._take_news(queued.id)
                message = self._look(queued) if told or told is None else None
                if message is not None:
                    return self._turn(queued, message)
        finally:
            self._news.close()

    def _check(self) -> None:
        now = conversation_of(self.invocation, self.agent.name)
        if now is None:
            agent = find_agent(self.invocation.api, self.agent.name)
            raise CommandError(f"{agent.name} is {agent.state}; agentctl last {agent.name} prints what it said last")
        if not is_seen(now):
            raise CommandError(
                f"the program of {self.agent.name} does not tell when a turn ends: agentctl send and agentctl screen"
            )
        for request in now.requests:
            self._tell_request(str(request.get("id")), str(request.get("text") or "?"))

    def _take_news(self, message: str) -> bool | None:
        """Take what is told; says whether our message changed, ``None`` if nothing came."""
        assert self._news is not None
        lines = self._news.next(_LOOK_AFTER)
        changed = False
        for line in lines:
            match line.get("kind"):
                case "permission_asked" | "question_asked":
                    self._tell_request(str(line.get("request")), str(line.get("text") or "?"))
                case "text_delta" | "text" as kind if line.get("message") == message:
                    self._say(kind, str(line.get("text") or ""))
                case "message" if line.get("message") == message:
                    changed = True
                case _:
                    pass
        return changed if lines else None

    def _say(self, kind: object, text: str) -> None:
        if kind == "text" and self._printed and not self._whole:
            # Its pieces were said.
            self._whole = True
            return
        if text:
            self.said(f"\n{text}" if self._printed and self._whole else text)
            self._printed, self._whole = True, kind == "text"

    def _tell_request(self, request: str, text: str) -> None:
        if request not in self._requests:
            self._requests.add(request)
            self.asked(text)

    def _look(self, queued: QueuedMessage) -> MessageView | None:
        """Look at the message; give it once its turn has ended."""
        try:
            message = queued.look()
        except UnreachableError:
            if time.monotonic() > self._heard + _AWAY:
                raise
            time.sleep(_LOOK_AFTER)  # noqa: TID251 (nobody tells when a daemon that is not there comes back)
            return None
        self._heard = time.monotonic()
        if message.status == "ended":
            return message
        if message.status in ("failed", "expired", "withdrawn"):
            raise CommandError(
                f"the message to {self.agent.name} is {message.status}: {message.error or 'not delivered'}"
            )
        if self.deadline is not None and time.monotonic() >= self.deadline:
            name = self.agent.name
            if message.status == "queued" and queued.withdraw():
                reason = f": {message.error}" if message.error else ""
                raise CommandError(f"{name} is still at another turn, and the time is over{reason}; nothing was sent")
            raise CommandError(
                f"{name} has not ended its turn, and the time is over: agentctl last {name} prints the answer later"
            )
        return None

    def _turn(self, queued: QueuedMessage, message: MessageView) -> TurnView:
        end = time.monotonic() + _USAGE_LIMIT
        while not any(message.usage.values()) and message.outcome == "completed" and time.monotonic() < end:
            time.sleep(_LOOK_AFTER)  # noqa: TID251 (a person waits, and usage is recorded late)
            message = queued.look()
        if not self._printed:
            self.said(message.final_text)
        return TurnView(
            message.turn or "", self.text, message.final_text, message.outcome, message.error, message.usage
        )


@dataclass(slots=True)
class News:
    """What is told of an agent's turns, over agentd's restarts."""

    client: TurnsClient
    agent: str
    _stream: Stream | None = None
    _partial: bytes = b""
    _last: int | None = None

    def connect(self) -> None:
        """Begin to listen, if that is possible."""
        try:
            self._stream = self.client.follow(self.agent, self._last)
        except (ApiError, UnreachableError):
            self._stream = None

    def close(self) -> None:
        """Listen no more."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def next(self, patience: float) -> Sequence[Mapping[str, Json]]:
        """Give what was told within some seconds; nothing if nothing was."""
        if self._stream is None:
            time.sleep(patience)  # noqa: TID251 (nobody tells when a daemon that is not there comes back)
            self.connect()
            return []
        try:
            piece = self._stream.read(patience)
        except UnreachableError:
            piece = b""
        if piece is None:
            return []
        if not piece:
            self.close()
            self._partial = b""
            return []
        *lines, self._partial = (self._partial + piece).split(b"\n")
        found = [document for line in lines if isinstance(document := json.loads(line or b"null"), dict)]
        numbers = [number for each in found if isinstance(number := each.get("n"), int)]
        self._last = max(numbers, default=self._last)
        return found

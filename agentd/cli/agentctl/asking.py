"""Ask an agent something, and wait for its answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from agentd.cli.agentctl.command import CommandError, Invocation
from agentd.cli.agentctl.lookup import find_agent
from agentd.cli.agentctl.talking import conversation_of, is_recorded, send_message
from agentd.cli.agentctl.turns_client import ConversationView, TurnView
from agentd.model.status import AgentStatus
from agentd.turns.sending import Outcome

_LOOK_AFTER: Final = 0.1
"""Seconds between two looks at the conversation; one costs the daemon 0.2 ms."""


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

    def ask(self, timeout: float) -> TurnView:
        """Send the message once it is the user's move, and give the turn when it has ended.

        Parameters
        ----------
        timeout
            Seconds to wait for the agent's input box, and again for the agent to take the message.

        Raises
        ------
        CommandError
            If the agent is not watched, does not take the message, ends, or the time is over.
        """
        before = self._until_idle()
        outcome = send_message(self.invocation, self.agent, self.text, enter=True, force=False, timeout=timeout)
        if outcome not in (Outcome.RECORDED, Outcome.TAKEN):
            raise CommandError(f"the message to {self.agent.name} is {outcome}, and not in its record")
        return self._until_ended(before)

    def _until_idle(self) -> ConversationView:
        shown: set[str] = set()
        while (now := self._look()).turn is not None:
            self._tell_requests(now, shown)
            self._pause(f"{self.agent.name} is still at another turn")
        return now

    def _until_ended(self, before: ConversationView) -> TurnView:
        shown: set[str] = set()
        printed = ""
        while True:
            now = self._look()
            self._tell_requests(now, shown)
            turn = now.turn or now.last
            if turn is not None and is_recorded(now, before, self.text):
                printed = self._tell_text(printed, turn.text)
                if turn.outcome is not None:
                    return turn
            self._pause(f"{self.agent.name} has not ended its turn")

    def _look(self) -> ConversationView:
        now = conversation_of(self.invocation, self.agent.name)
        if now is None:
            agent = find_agent(self.invocation.api, self.agent.name)
            raise CommandError(f"{agent.name} is {agent.state}; agentctl last {agent.name} prints what it said last")
        if not now.watched:
            raise CommandError(
                f"the program of {self.agent.name} does not tell when a turn ends: agentctl send and agentctl screen"
            )
        return now

    def _tell_text(self, printed: str, text: str) -> str:
        if text != printed:
            self.said(text.removeprefix(printed) if text.startswith(printed) else f"\n{text}")
        return text

    def _tell_requests(self, now: ConversationView, shown: set[str]) -> None:
        for request in now.requests:
            if (known := str(request.get("id"))) not in shown:
                shown.add(known)
                self.asked(str(request.get("text") or "?"))

    def _pause(self, what: str) -> None:
        if self.deadline is not None and time.monotonic() >= self.deadline:
            raise CommandError(f"{what}, and the time is over: agentctl last {self.agent.name} prints the answer later")
        time.sleep(_LOOK_AFTER)  # noqa: TID251 (a person waits, and the conversation is asked for)

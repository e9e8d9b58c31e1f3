"""What the agent asks to be allowed: the first answer counts, whoever gives it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from agentd.acp.ends import Output, Reporter
from agentd.acp.reading import Option, Tool, choose, options_of
from agentd.acp.rpc import INVALID_PARAMS, Agent
from agentd.acp.screen import BOLD, DIM, YELLOW
from agentd.acp.turn import Turn
from agentd.turns.events import Decision, PermissionAsked, PermissionResolved
from agentd.turns.fields import mapping, objects, text

_MOST: Final = 32
"""Requests that wait at once; more are refused."""
_MOST_OPTIONS: Final = 9
"""Of one request: a key each."""
_STILL: Final = 2.0
"""Seconds after an answer from elsewhere in which a number that is typed was meant for the request."""
_LONGEST_TEXT: Final = 4000
"""Characters that are shown of what a tool is to do."""

_CANCELLED: Final[dict[str, object]] = {"outcome": {"outcome": "cancelled"}}


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that waits."""

    id: str
    request: object
    """The JSON-RPC id."""
    options: tuple[Option, ...]
    tool: Tool
    turn: Turn

    @property
    def choices(self) -> str:
        """The keys that answer it."""
        return "   ".join(f"{number} {option.name}" for number, option in enumerate(self.options, 1))


@dataclass(slots=True)
class Permissions:
    """The requests that wait, the oldest first."""

    run: str
    output: Output
    reporter: Reporter
    agent: Agent
    _asked: dict[str, Asked] = field(default_factory=dict)
    _last: int = 0
    _answered_elsewhere: float = float("-inf")

    @property
    def first(self) -> Asked | None:
        """The one that is answered by keys."""
        return next(iter(self._asked.values()), None)

    def typed_for(self, now: float) -> bool:
        """Whether a number that is typed now is meant as an answer.

        Parameters
        ----------
        now
            Monotonic seconds.
        """
        return bool(self._asked) or now - self._answered_elsewhere < _STILL

    def ask(self, request: object, params: Mapping[str, object], turn: Turn) -> None:
        """Take a request."""
        options = options_of(params)[:_MOST_OPTIONS]
        if not options:
            self.agent.refuse(request, INVALID_PARAMS, "expected options to choose from")
            return
        if len(self._asked) >= _MOST:
            self.agent.answer(request, _CANCELLED)
            return
        self._last += 1
        call = mapping(params, "toolCall")
        tool = turn.asked(call)
        asked = Asked(f"{self.run}.p{self._last}", request, options, tool, turn)
        self._asked[asked.id] = asked
        title = tool.title or tool.id
        self.output.row("allow it?" if turn.began(tool) else title, BOLD, mark="\x1b[33m?\x1b[0m ")
        said = "\n".join(text(mapping(each, "content"), "text") for each in objects(call, "content"))[:_LONGEST_TEXT]
        if said.strip():
            self.output.row(said, DIM)
        for number, option in enumerate(options, 1):
            self.output.row(option.name, mark=f"  {number} ")
        names = tuple(option.name for option in options)
        self.reporter.event(PermissionAsked(asked.id, tool.kind or title, title, tool.id or None, names))

    def choose(self, number: int) -> None:
        """Answer the first by the number of an option."""
        asked = self.first
        if asked is None:
            self.output.row("it was answered already", YELLOW, mark="  ")
        elif number <= len(asked.options):
            self._decide(asked, asked.options[number - 1], "at the terminal")

    def answer(self, request: str, decision: str, words: str) -> str | None:
        """Answer one from elsewhere; says why that is not taken."""
        asked = self._asked.get(request)
        if asked is None:
            return "it was answered already"
        option = choose(asked.options, decision, words)
        if option is None and decision == "deny":
            self._resolve(asked, Decision.DENY, _CANCELLED, "refused, by agentd")
            return None
        if option is None:
            names = ", ".join(each.name for each in asked.options)
            return f"the agent offers nothing that means that: answer with one of {names}"
        self._decide(asked, option, "by agentd")
        return None

    def over(self, tool: str) -> None:
        """A tool runs, or has run: what was asked about it is decided."""
        for asked in [each for each in self._asked.values() if each.tool.id == tool]:
            self._resolve(asked, Decision.EXPIRED, _CANCELLED, "no longer asked")

    def drop(self) -> None:
        """Answer all that nobody answered, at the end of a turn or its interrupt."""
        for asked in [*self._asked.values()]:
            self._resolve(asked, Decision.EXPIRED, _CANCELLED, "no longer asked")

    def _decide(self, asked: Asked, option: Option, by: str) -> None:
        decision = Decision.ALLOW if option.allows else Decision.DENY if option.refuses else Decision.ANSWER
        outcome: dict[str, object] = {"outcome": {"outcome": "selected", "optionId": option.id}}
        self._resolve(asked, decision, outcome, f"{option.name}, {by}")
        if option.allows and asked.tool.id:
            asked.turn.allowed(asked.tool)

    def _resolve(self, asked: Asked, decision: Decision, outcome: dict[str, object], shown: str) -> None:
        del self._asked[asked.id]
        self._answered_elsewhere = time.monotonic()
        self.agent.answer(asked.request, outcome)
        self.output.row(shown, YELLOW, mark="  ")
        self.reporter.event(PermissionResolved(asked.id, decision))

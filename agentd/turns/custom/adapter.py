"""The harness ``custom``: a program that says what it does, by hooks of its own; of any other nothing is known."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from itertools import count

from agentd.harness.additions import Additions, LaunchFacts
from agentd.harness.base import NO_FACTS
from agentd.model.states import Activity
from agentd.turns.activity import Seen
from agentd.turns.adapter import Answer, Granularity, Ground, Hook, LiveRun, TurnsError, Voice
from agentd.turns.conversation import Request
from agentd.turns.custom.events import QUOTA, READY, event_of, quota_of
from agentd.turns.events import Decision, Ended, Outcome, PermissionAsked, PermissionResolved, QuestionAsked
from agentd.turns.input_box import type_message
from agentd.turns.request_numbers import request_numbers
from agentd.turns.witnesses import Witnesses

_HOOKS = "hooks"
"""The witness."""

_BUSY_LIMIT = 30.0
"""Seconds for which a message waits for a program to wait for input."""


@dataclass(frozen=True, slots=True)
class CustomAdapter:
    """The adapter of the harness ``custom``."""

    granularity: Granularity = Granularity.SCREEN

    def additions(self, facts: LaunchFacts) -> Additions:
        """Add nothing: the program finds the socket in its environment."""
        return Additions(facts.argv)

    def watch(self, run: LiveRun, voice: Voice, ground: Ground) -> CustomWatch:
        """Watch a run."""
        return CustomWatch(run, voice, ground)


CUSTOM = CustomAdapter()


@dataclass(slots=True)
class CustomWatch:
    """A run of a program of somebody's own."""

    run_: LiveRun
    voice: Voice
    ground: Ground
    _held: dict[str, asyncio.Future[bytes]] = field(default_factory=dict)
    _numbers: count[int] = field(default_factory=request_numbers)
    _speaks: bool = False
    """Whether it tells of its turns."""
    _busy_since: float | None = None
    """When a message first could not be handed over as it did not wait for input."""
    _reads_unseen: bool = False
    """Whether it has read a message that was typed though it was not seen to wait."""

    async def run(self) -> None:
        """Wait for hooks."""
        await asyncio.Event().wait()

    async def hook(self, hook: Hook) -> bytes | None:
        """Take what the program says; what asks is held until it is answered.

        Raises
        ------
        TurnsError
            Never: what is not known is passed over.
        """
        if hook.name == READY:
            self._speaks = True
            self.voice.identified(self.run_.facts.run_id)
            self._see()
            return None
        if hook.name == QUOTA:
            self.voice.quota(_HOOKS, quota_of(hook))
            return None
        event = event_of(hook, f"{self.run_.facts.run_id}.{next(self._numbers)}")
        if event is None:
            return None
        # A program that posts is one whose turns are known: the run is its conversation.
        self._speaks = True
        self.voice.identified(self.run_.facts.run_id)
        self.voice.event(event)
        self._see()
        if isinstance(event, PermissionAsked | QuestionAsked):
            return await self._hold(event.request)
        return None

    def _see(self) -> None:
        conversation = self.voice.conversation
        waiting = conversation.requests
        activity, text = (Activity.IDLE if conversation.turn is None else Activity.WORKING), ""
        if waiting:
            activity = Activity.WAITING_INPUT if waiting[-1].question else Activity.WAITING_PERMISSION
            text = waiting[-1].text
        self.voice.seen(_HOOKS, Seen(activity, self.ground.wall(), text))

    async def _hold(self, request: str) -> bytes:
        reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._held[request] = reply
        try:
            return await reply
        finally:
            # Also when the program hangs up: it has gone on.
            self._held.pop(request, None)
            self.voice.event(PermissionResolved(request, Decision.EXPIRED))
            self._see()

    async def hindrance(self, *, returned: str | None) -> str | None:  # noqa: ARG002 (the protocol's)
        """Wait for a program that does not tell of its turns to wait for input.

        What is typed before it has set up its terminal, it may discard. One that was not seen to wait for so long may
        look at its terminal now and then.
        """
        if self._speaks or self._reads_unseen or await self.run_.terminal.waits() is not False:
            self._busy_since = None
            return None
        now = asyncio.get_running_loop().time()
        if self._busy_since is None:
            self._busy_since = now
        return "it does not wait for input" if now - self._busy_since < _BUSY_LIMIT else None

    @property
    def witnesses(self) -> Witnesses:
        """Who says what became of a message."""
        return Witnesses("terminal", _HOOKS)

    async def deliver(self, text: str) -> None:
        """Type it."""
        unseen = self._busy_since is not None
        await type_message(self.run_.terminal, self.voice, NO_FACTS, text)
        self._reads_unseen |= unseen

    async def answer(self, request: Request, answer: Answer) -> None:
        """Answer the post that waits."""
        held = self._held.get(request.id)
        if held is None or held.done():
            raise TurnsError("the program does not wait for an answer any more")
        if request.question and answer.decision is Decision.ALLOW:
            raise TurnsError("expected an answer in words, or deny; the agent asks a question")
        held.set_result(json.dumps({"decision": answer.decision.value, "text": answer.text}).encode())

    async def interrupt(self) -> None:
        """Press what interrupts most programs."""
        await self.run_.terminal.press("C-c")

    async def at_exit(self, *, succeeded: bool) -> Ended | None:
        """A program that ends well in a turn has ended it."""
        return Ended(Outcome.COMPLETED) if succeeded and self.voice.conversation.turn is not None else None

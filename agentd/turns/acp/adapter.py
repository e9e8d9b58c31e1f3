"""The harness ``acp``: its renderer tells all by hooks, and one hook of it waits for what is wanted.

``events`` brings events of turns, in numbered batches; a batch that arrives again is not taken twice, and a renderer
that knew another daemon is asked for where the conversation stands. ``next`` is held until there is a message for it,
an answer, or an interrupt.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from agentd.harness.acp import RESUME_VARIABLE
from agentd.harness.additions import Additions, LaunchFacts
from agentd.model.states import Activity
from agentd.turns.activity import Seen
from agentd.turns.adapter import Answer, Granularity, Ground, Hook, LiveRun, NotNowError, TurnsError, Voice
from agentd.turns.conversation import Request
from agentd.turns.custom.events import event_of
from agentd.turns.events import Ended, Outcome
from agentd.turns.fields import objects, text
from agentd.turns.wishes import Wishes
from agentd.turns.witnesses import Witnesses

_HOOKS: Final = "hooks"
"""The witness."""
_TAKEN_WITHIN: Final = 10.0
"""Seconds in which the renderer must have taken a message."""


@dataclass(frozen=True, slots=True)
class AcpAdapter:
    """The adapter of the harness ``acp``."""

    granularity: Granularity = Granularity.TOKEN

    def additions(self, facts: LaunchFacts) -> Additions:
        """Tell the renderer the session to go on with."""
        return Additions(facts.argv, {} if facts.resume is None else {RESUME_VARIABLE: facts.resume})

    def watch(self, run: LiveRun, voice: Voice, ground: Ground) -> AcpWatch:
        """Watch a run."""
        return AcpWatch(run, voice, ground)


ACP = AcpAdapter()


@dataclass(slots=True)
class AcpWatch:
    """A run of the renderer."""

    run_: LiveRun
    voice: Voice
    ground: Ground
    _taken: int | None = None
    """Number of the last batch; ``None`` as long as nothing is known."""
    _wishes: Wishes = field(default_factory=Wishes)
    _answers: dict[str, asyncio.Future[None]] = field(default_factory=dict)
    """By request: over once the renderer has taken the answer."""

    @property
    def tells_again(self) -> bool:
        """Whether the renderer will still tell of the turn that a former daemon knew."""
        return self._taken is None

    async def run(self) -> None:
        """Wait for hooks."""
        await asyncio.Event().wait()

    async def hook(self, hook: Hook) -> bytes | None:
        """Take what the renderer posts, and nothing of what it runs."""
        if hook.pid != self.run_.process.pid:
            return None
        if hook.name == "events":
            return self._take(hook.body or {})
        if hook.name == "next":
            return self._unknown() if self._taken is None else await self._wishes.next()
        return None

    def _unknown(self) -> bytes:
        """Ask where the conversation stands, and how the turn ended that a former daemon saw begin."""
        turn = self.voice.conversation.turn
        return json.dumps({"unknown": True, "turn": None if turn is None else turn.id}).encode()

    def _take(self, body: Mapping[str, object]) -> bytes | None:
        number = body.get("n")
        if not isinstance(number, int):
            return None
        if self._taken is None and body.get("whole") is not True:
            return self._unknown()
        if number == self._taken:
            return None
        events = [(text(each, "event"), each) for each in objects(body, "events")]
        if self._taken is None:
            self._forget(events)
        self._taken = number
        conversation = text(body, "conversation")
        if conversation:
            self.voice.identified(conversation)
        for place, (name, each) in enumerate(events):
            event = event_of(Hook(name, each), f"{self.run_.facts.run_id}.{number}.{place}")
            if event is not None:
                self.voice.event(event)
        self._settle(objects(body, "answers"))
        self._see()
        return None

    def _forget(self, events: Sequence[tuple[str, Mapping[str, object]]]) -> None:
        """End the turn that a former daemon saw begin, if the renderer does not know it."""
        turn = self.voice.conversation.turn
        if turn is not None and not any(name == "started" and text(each, "turn") == turn.id for name, each in events):
            self.voice.event(Ended(Outcome.LOST, error="its end was not heard"))

    def _settle(self, answers: Sequence[Mapping[str, object]]) -> None:
        """Take what became of answers."""
        for each in answers:
            answer, problem = self._answers.get(text(each, "request")), text(each, "problem")
            if answer is None or answer.done():
                continue
            if problem:
                answer.set_exception(TurnsError(problem))
            else:
                answer.set_result(None)

    def _see(self) -> None:
        conversation = self.voice.conversation
        if conversation.requests:
            seen = Seen(Activity.WAITING_PERMISSION, self.ground.wall(), conversation.requests[0].text)
        else:
            seen = Seen(Activity.IDLE if conversation.turn is None else Activity.WORKING, self.ground.wall())
        self.voice.seen(_HOOKS, seen)

    async def hindrance(self, *, returned: str | None) -> str | None:  # noqa: ARG002 (the protocol's)
        """A message is taken whatever a person is typing."""
        return None

    @property
    def witnesses(self) -> Witnesses:
        """Who says what became of a message."""
        return Witnesses(_HOOKS, _HOOKS)

    async def deliver(self, text: str) -> None:
        """Hand over a message."""
        try:
            async with asyncio.timeout(_TAKEN_WITHIN):
                await self._wishes.hand({"message": text})
        except TimeoutError:
            raise NotNowError(f"what shows {self.run_.facts.agent} takes no message now") from None

    async def answer(self, request: Request, answer: Answer) -> None:
        """Pass on an answer; returns once the renderer has taken it as the first."""
        taken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._answers[request.id] = taken
        given = {"request": request.id, "decision": answer.decision.value, "text": answer.text}
        try:
            await self._wishes.hand({"answer": given})
            await taken
        finally:
            self._answers.pop(request.id, None)

    async def interrupt(self) -> None:
        """Have the turn cancelled."""
        await self._wishes.hand({"interrupt": True})

    async def at_exit(self, *, succeeded: bool) -> Ended | None:  # noqa: ARG002 (the protocol's)
        """A turn is lost with its renderer."""
        return None

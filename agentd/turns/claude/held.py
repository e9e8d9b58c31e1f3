"""What an adapter of Claude Code holds: hooks that wait, and messages that it looks for."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from agentd.turns.adapter import Answer, Hook, TurnsError, Voice
from agentd.turns.claude.hooks import reply
from agentd.turns.claude.session_file import Prompted, Recorded
from agentd.turns.events import Decision, PermissionResolved
from agentd.turns.messages.message import CLOCKS, same_text


@dataclass(slots=True)
class Held:
    """A hook that waits for an answer."""

    hook: Hook
    reply: asyncio.Future[bytes | None]


class HeldHooks:
    """The hooks of a run that wait, by what they ask."""

    def __init__(self, voice: Voice) -> None:
        self._voice = voice
        self._held: dict[str, Held] = {}

    def __bool__(self) -> bool:
        return bool(self._held)

    async def hold(self, request: str, hook: Hook) -> bytes | None:
        """Have a hook wait for the answer to what it asks, and give that."""
        held = self._held[request] = Held(hook, asyncio.get_running_loop().create_future())
        try:
            return await held.reply
        finally:
            # Also when the hook's process ends: the agent has gone on, or the turn was interrupted.
            self._held.pop(request, None)
            self._voice.event(PermissionResolved(request, Decision.EXPIRED))

    def release(self, *requests: str) -> None:
        """Have hooks wait no more: what they ask is decided."""
        for request in requests:
            held = self._held.get(request)
            if held is not None and not held.reply.done():
                held.reply.set_result(None)

    def answer(self, request: str, answer: Answer) -> None:
        """Answer the hook that asks this.

        Raises
        ------
        TurnsError
            If none does any more, or the answer does not fit.
        """
        held = self._held.get(request)
        if held is None or held.hook.body is None or held.reply.done():
            raise TurnsError("the request was not made by a hook that waits; answer it at the terminal")
        held.reply.set_result(reply(held.hook.body, answer))

    def close(self) -> None:
        """Answer none any more."""
        for held in self._held.values():
            held.reply.cancel()


def is_of(recorded: Recorded, text: str, since: float) -> bool:
    """Whether a record is of a message with this text, since a time."""
    return isinstance(recorded, Prompted) and recorded.at >= since - CLOCKS and same_text(text, recorded.prompt)

"""What Codex asks at its terminal: its file has nothing of that. Told from the screen, and answered by its keys."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import Final

from agentd.model.states import Activity
from agentd.turns.activity import Seen
from agentd.turns.adapter import Answer, Ground, Terminal, TurnsError, Voice
from agentd.turns.conversation import Request
from agentd.turns.events import Decision, PermissionAsked, PermissionResolved
from agentd.turns.request_numbers import request_numbers
from agentd.turns.screen.judging import judge_screen
from agentd.turns.screen.styled import read_rows

_OFFER, _BACK = "  Approaching rate limits", "  enter select · esc back"
"""The first and the last row of a dialog that Codex opens by itself."""

_REDRAWN: Final = 0.5
"""Seconds after a key in which the screen may still show what it answered."""

_KEYS: Final = {Decision.ALLOW: ("Yes, proceed (y)", "y"), Decision.DENY: ("(esc)", "Escape")}
"""For each answer what the dialog must offer, and the key."""


@dataclass(slots=True)
class Dialogs:
    """The permissions that one run asks for."""

    voice: Voice
    terminal: Terminal
    ground: Ground
    _numbers: count[int] = field(default_factory=request_numbers)
    _decided: float = 0.0
    """When one was last answered here."""

    def look(self) -> None:
        """Tell what the screen asks now, and that it asks no more."""
        shown, conversation = self.voice.screen, self.voice.conversation
        if conversation.turn is None or shown is None:
            return
        asks = shown.activity is Activity.WAITING_PERMISSION and shown.text != ""
        if asks and any(request.text == shown.text for request in conversation.requests):
            return
        for request in conversation.requests:
            if shown.at > request.asked:
                # Somebody decided at the terminal.
                self.voice.event(PermissionResolved(request.id, Decision.EXPIRED))
        # A screen that was seen before this turn shows what another asked.
        if asks and shown.at >= max(conversation.turn.started, self._decided + _REDRAWN):
            self._ask(shown)

    def _ask(self, shown: Seen) -> None:
        turn = self.voice.conversation.turn
        tools = () if turn is None else turn.tools
        tool = next((each for each in reversed(tools) if each.text and each.text in shown.text), None)
        name, identity = ("", None) if tool is None else (tool.name, tool.tool)
        self.voice.event(PermissionAsked(f"{next(self._numbers):x}", name, shown.text, identity))

    async def close_offer(self) -> None:
        """Close the dialog that offers another model at a limit of a subscription: no message is taken below it."""
        rows = [row.text.rstrip() for row in read_rows(await self.terminal.show()) if row.text.strip()]
        if rows and rows[-1] == _BACK and _OFFER in rows:
            await self.terminal.press("Escape")

    async def answer(self, request: Request, answer: Answer) -> None:
        """Press the key, while the terminal shows what was asked.

        Raises
        ------
        TurnsError
            If it no longer does, or the answer does not fit.
        """
        if answer.decision not in _KEYS:
            raise TurnsError("expected allow or deny; the agent asks for permission")
        if answer.text:
            raise TurnsError("expected no text: Codex takes none with the answer to a permission; send it afterwards")
        # What was seen last may be a second old, and a key must not go to the dialog after that.
        screen = await self.terminal.show()
        found = judge_screen("codex", screen, "")
        if found.activity is not Activity.WAITING_PERMISSION or found.text != request.text:
            raise TurnsError("the terminal no longer shows what was asked; see agentctl screen")
        offered, key = _KEYS[answer.decision]
        if not any(offered in row.text for row in read_rows(screen)):
            raise TurnsError(f'expected the dialog to offer "{offered}", and it does not: answer at the terminal')
        self._decided = self.ground.wall()
        await self.terminal.press(key)

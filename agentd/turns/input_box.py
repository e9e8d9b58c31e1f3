"""Harnesses that take messages at their terminals: whether their box is empty, and typing into it."""

from __future__ import annotations

import asyncio
import re
from typing import Final

from agentd.harness.base import HarnessFacts
from agentd.text.quoting import quote
from agentd.turns.adapter import Terminal, Typed, Voice
from agentd.turns.sending import held_in_box

_CLEARED: Final = 3.5
"""Seconds for the box to be empty after that; the announcement of the end lasts less long."""
_LOOKS: Final = 20

_CLEAR: Final = "C-c"
"""Empties the box of Claude Code and Gemini CLI, whatever is in it; in an empty one it would announce their end."""


async def box_hindrance(terminal: Terminal, facts: HarnessFacts, returned: str | None) -> str | None:
    """Why nothing can be typed into the box just now; `returned` as in `Watch.hindrance`."""
    assert facts.empty_box is not None
    screen = await terminal.look()
    if re.fullmatch(facts.empty_box, screen.before_cursor):
        return None
    held = held_in_box(screen, facts.empty_box)
    if returned is not None and held is not None and "".join(held.split()) == "".join(returned.split()):
        await terminal.press(_CLEAR)
        return await _until_cleared(terminal, facts.empty_box)
    shown = screen.before_cursor.strip() if held is None else held
    return f"its input box is not there, or not empty: there stands {quote(shown[-200:])}"


async def _until_cleared(terminal: Terminal, empty_box: str) -> str | None:
    """Wait until the box is empty: the same key pressed again too soon would end the program."""
    for _ in range(_LOOKS):
        await asyncio.sleep(_CLEARED / _LOOKS)
        if re.fullmatch(empty_box, (await terminal.look()).before_cursor):
            return None
    return "the interrupted message is being removed from its input box"


async def type_message(terminal: Terminal, voice: Voice, facts: HarnessFacts, text: str) -> None:
    """Type a message; the turn that begins tells that it was taken."""
    before = voice.conversation.turn, voice.conversation.last

    def recorded() -> bool:
        return (voice.conversation.turn, voice.conversation.last) != before

    await terminal.send(Typed(text, facts.empty_box, facts.unfinished, recorded))

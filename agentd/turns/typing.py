"""Handing over a message at an agent's terminal."""

from __future__ import annotations

import asyncio
from typing import Final

from agentd.turns.adapter import NotNowError, Terminal, TurnsError

PAUSE: Final = 0.4
"""Seconds between the text and Enter."""


async def type_message(terminal: Terminal, text: str) -> None:
    """Paste a message, and press Enter."""
    await terminal.paste(text)
    await asyncio.sleep(PAUSE)
    try:
        await terminal.press("Enter")
    except NotNowError as error:
        raise TurnsError(f"the message was pasted, and Enter not pressed: {error}") from error

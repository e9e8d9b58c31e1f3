"""The dialog that Claude Code opens at the limit of a subscription: it takes no message below it."""

from __future__ import annotations

import asyncio
from typing import Final

from agentd.turns.adapter import Terminal, TurnsError
from agentd.turns.screen.judging import judge_screen

_RULE: Final = "limit dialog"
"""The rule that tells it."""

_CLOSES: Final = 2.0
"""Seconds in which it closes."""
_LOOKS: Final = 20


async def close_limit_dialog(terminal: Terminal) -> None:
    """Close it, if it is shown.

    Raises
    ------
    TurnsError
        If it does not close.
    """
    for attempt in range(_LOOKS):
        if judge_screen("claude-code", await terminal.show(), "").rule != _RULE:
            return
        if attempt == 0:
            await terminal.press("Escape")
        await asyncio.sleep(_CLOSES / _LOOKS)
    raise TurnsError("the dialog of its usage limit does not close")

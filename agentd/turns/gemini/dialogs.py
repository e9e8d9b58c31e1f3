"""Gemini CLI's dialogs, answered by keys: only while the screen shows what was asked."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from agentd.model.states import Activity
from agentd.turns.adapter import Answer, Terminal, TurnsError
from agentd.turns.conversation import Request
from agentd.turns.events import Decision
from agentd.turns.screen.judging import judge_screen
from agentd.turns.screen.styled import read_rows

UNREAD: Final = "see the terminal"
"""Stands for the text of a dialog that has none."""

_ALLOW_ONCE: Final = "Allow once"
_KEEP_TRYING: Final = "Keep trying"
_CHOICE: Final = re.compile(r" ?│ +● +\d+\. +(?P<choice>.*?) *│$")


async def keep_trying(terminal: Terminal) -> bool:
    """Have it try again, where its dialog of the limit is shown: the choice for that is the first.

    Raises
    ------
    TurnsError
        If another is chosen.
    """
    screen = await terminal.show()
    found, chosen = judge_screen("gemini-cli", screen, ""), _chosen(screen)
    if found.activity is not Activity.USAGE_LIMIT or not chosen:
        return False
    if chosen != _KEEP_TRYING:
        raise TurnsError(f'expected its dialog to have "{_KEEP_TRYING}" chosen, found "{chosen}"')
    await terminal.press("Enter")
    return True


async def answer_dialog(terminal: Terminal, request: Request, answer: Answer, decided: Callable[[], None]) -> None:
    """Press the key: Enter allows once, Escape refuses.

    Parameters
    ----------
    decided
        Told just before the key is pressed.

    Raises
    ------
    TurnsError
        If the answer does not fit, or the screen shows something else by now.
    """
    if answer.decision is Decision.ANSWER or (request.question and answer.decision is not Decision.DENY):
        raise TurnsError(f"expected {'deny' if request.question else 'allow or deny'}; words are given at the terminal")
    if answer.text:
        raise TurnsError("expected no text: Gemini CLI takes none with the answer to a permission")
    # What was seen last may be a second old, and a key must not go to the dialog after that.
    screen = await terminal.show()
    found = judge_screen("gemini-cli", screen, "")
    expected = Activity.WAITING_INPUT if request.question else Activity.WAITING_PERMISSION
    if found.activity is not expected or (found.text or UNREAD) != request.text:
        raise TurnsError("the terminal no longer shows what was asked; see agentctl screen")
    if answer.decision is Decision.ALLOW and _chosen(screen) != _ALLOW_ONCE:
        raise TurnsError(
            f'expected the dialog to have "{_ALLOW_ONCE}" chosen, found "{_chosen(screen)}": answer at the terminal'
        )
    decided()
    await terminal.press("Enter" if answer.decision is Decision.ALLOW else "Escape")


def _chosen(screen: str) -> str:
    """The choice of the dialog that Enter would take; a person may have moved it."""
    found = (_CHOICE.match(row.text) for row in reversed(read_rows(screen)))
    return next((match["choice"] for match in found if match is not None), "")

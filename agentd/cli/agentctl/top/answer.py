"""What the selected agent is answering, or answered last."""

from __future__ import annotations

from typing import Final

from rich.text import Text

from agentd.cli.agentctl.turns_client import ConversationView
from agentd.text.quoting import printable

MOST_ROWS: Final = 6
"""Lines that are shown; `agentctl last` shows all."""


def answer_of(conversation: ConversationView | None) -> Text:
    """Give the answer of the turn under way, or else of the last one; empty if nothing is known."""
    if conversation is None:
        return Text()
    turn, last = conversation.turn, conversation.last
    if turn is not None and turn.text:
        return _shown("answering", turn.text)
    if last is None or not (last.text or last.error):
        return Text()
    outcome = last.outcome or ""
    return _shown(
        "last answer" if outcome == "completed" else f"last turn {printable(outcome)}", last.text or last.error or ""
    )


def _shown(title: str, text: str) -> Text:
    lines = text.strip("\n").split("\n")
    # Of what is being written the end is news, and of what was answered it says what came of it.
    shown = [printable(line.rstrip("\r")) for line in lines[-MOST_ROWS:]]
    above = f", its last {MOST_ROWS} lines" if len(lines) > MOST_ROWS else ""
    return Text.assemble((f"{title}{above}: ", "dim"), "\n".join(shown) if len(shown) == 1 else "\n" + "\n".join(shown))

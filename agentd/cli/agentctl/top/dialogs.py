"""The dialogs of ``agentctl top``; none can await its own dismissal, which textual refuses."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Label


class Prompt(ModalScreen[str | None]):
    """Asks for one line of text; ``None`` if it is left by Escape.

    Parameters
    ----------
    question
        What is asked for.
    """

    CSS = """
    Prompt { align: center middle; }
    Prompt Vertical { width: 80%; height: auto; border: round $accent; padding: 0 1; background: $surface; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "leave")]

    def __init__(self, question: str) -> None:
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        """Build the dialog."""
        with Vertical():
            yield Label(self._question, markup=False)
            yield Input()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Take the text."""
        _ = self.dismiss(event.value)

    def action_leave(self) -> None:
        """Leave without a text."""
        _ = self.dismiss(None)


class Confirm(ModalScreen[bool]):
    """Asks a question that y answers with yes, and any other of its keys with no.

    Parameters
    ----------
    question
        What is asked.
    """

    CSS = """
    Confirm { align: center middle; }
    Confirm Vertical { width: auto; max-width: 80%; height: auto; border: round $warning; padding: 0 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "decide(True)", "yes"),
        Binding("n,escape,enter", "decide(False)", "no"),
    ]

    def __init__(self, question: str) -> None:
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        """Build the dialog."""
        with Vertical():
            yield Label(f"{self._question} [y/N]", markup=False)

    def action_decide(self, yes: bool) -> None:
        """Take the answer."""
        _ = self.dismiss(yes)

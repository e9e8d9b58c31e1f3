"""Check that paths answer before a command uses them: a dead mount would hang it."""

from __future__ import annotations

import os
from pathlib import Path

from agentd.cli.agentctl.command import CommandError
from agentd.files.answering import NotAnsweringError, within
from agentd.text.quoting import printable


def require_answer(path: Path) -> None:
    """Check that a path answers.

    Raises
    ------
    CommandError
        If it does not.
    """
    try:
        within(path, lambda: os.path.lexists(path))
    except NotAnsweringError as error:
        raise CommandError(f"{printable(str(path))}: {error.strerror}; mount it again, or unmount it") from None


def answers(path: Path) -> bool:
    """Whether a path answers."""
    try:
        require_answer(path)
    except CommandError:
        return False
    return True

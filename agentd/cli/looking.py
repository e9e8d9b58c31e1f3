"""Looks of commands at paths that users name: one that does not answer is said, and not waited for."""

from __future__ import annotations

import os
from pathlib import Path

from agentd.cli.agentctl.command import CommandError
from agentd.daemon.context import ConfigUnavailableError, read_config
from agentd.jcard.answering import NotAnsweringError, within
from agentd.jcard.prompts import PromptError, read_prompt
from agentd.jcard.quoting import printable


def config_bytes(path: Path) -> bytes:
    """Read a jcard.

    Raises
    ------
    ConfigUnavailableError
        As `read_config`, and if it does not answer.
    """
    try:
        return within(path, lambda: read_config(path))
    except NotAnsweringError as error:
        raise ConfigUnavailableError(f"{path}: cannot be read: {error.strerror}") from None


def prompt_text(path: Path) -> str:
    """Read a prompt file.

    Raises
    ------
    PromptError
        As `read_prompt`, and if it does not answer.
    """
    try:
        return within(path, lambda: read_prompt(path))
    except NotAnsweringError as error:
        raise PromptError(f"prompt file {printable(str(path))}: {error.strerror}") from None


def require_answer(path: Path) -> None:
    """Look whether a path answers.

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

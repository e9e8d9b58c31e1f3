"""Reading a jcard and its prompt files within a deadline: what does not answer is named, not waited for."""

from __future__ import annotations

from pathlib import Path

from agentd.files.answering import NotAnsweringError, within
from agentd.jcard.prompts import PromptError, read_prompt
from agentd.settings.context import ConfigUnavailableError, read_config
from agentd.text.quoting import printable


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

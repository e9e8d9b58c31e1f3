"""Read prompt files, the only part of an agent's definition outside the jcard."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from agentd.files.regular import read_regular, without_mark
from agentd.model.spec import AgentSpec
from agentd.model.user import AgentUser
from agentd.text.quoting import printable

_LARGEST: Final = 1024 * 1024
"""Bytes; far over the 128 KiB limit of an argument, which the launch reports."""


class PromptError(ValueError):
    """A prompt file cannot be used; the message names it and says why."""


def read_prompt(path: Path, account: AgentUser | None = None, places: Iterable[Path] = ()) -> str:
    """Read a prompt file, without byte order mark and surrounding white space.

    Parameters
    ----------
    account
        Whom the prompt is handed to, if it is not us; see `read_regular`.
    places
        Folders that sandboxed agents may write.

    Raises
    ------
    PromptError
        If it is missing, not a regular file, unreadable, over 1 MiB, not UTF-8, or not for the account to see.
    """
    try:
        return without_mark(read_regular(path, _LARGEST, account, places)).decode("utf-8").strip()
    except FileNotFoundError as error:
        raise _prompt_error(path, "does not exist") from error
    except UnicodeDecodeError as error:
        raise _prompt_error(path, f"is not UTF-8 (byte {error.start + 1})") from error
    except OSError as error:
        raise _prompt_error(path, error.strerror or str(error)) from error


def prompt_files(specs: Iterable[AgentSpec]) -> set[Path]:
    """Collect the prompt files to watch."""
    return {spec.prompt_file for spec in specs if spec.prompt_file is not None}


def _prompt_error(path: Path, reason: str) -> PromptError:
    return PromptError(f"prompt file {printable(str(path))}: {reason}")

"""The templates of workspaces: built-in ones, and a user's own, which win.

A role's templates are a folder of files with the role's name. Each file is looked up in the user's folder of the role,
the built-in one, the user's ``default`` and the built-in ``default``: a role has only the files that differ.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final

from agentd.files.regular import without_mark

DEFAULT_ROLE: Final = "default"

DAILY_TEMPLATE: Final = "notes/daily.md"
"""Template of the daily notes, which are named by date."""

INSTRUCTIONS: Final = "AGENTS.md"
"""What an agent reads first; Codex and OpenCode look for this name."""

INSTRUCTION_LINKS: Final = ("CLAUDE.md", "GEMINI.md")
"""What Claude Code and Gemini CLI look for: links to `INSTRUCTIONS`."""

LARGEST_TEMPLATE: Final = 256 * 1024
"""Bytes."""


class TemplateError(ValueError):
    """A template cannot be used; the message names the file."""


@dataclass(frozen=True, slots=True)
class TemplateValues:
    """The values of a template's placeholders."""

    role: str
    name: str
    """The agent's name, or the role's if there is no agent."""
    day: date

    def fill(self, text: str) -> str:
        """Replace ``{role}``, ``{name}`` and ``{date}``; other braces stay."""
        for placeholder, value in (("{role}", self.role), ("{name}", self.name), ("{date}", self.day.isoformat())):
            text = text.replace(placeholder, value)
        return text


def daily_note(day: date) -> str:
    """Give the path of a day's note in the workspace."""
    return f"notes/daily-{day.isoformat()}.md"


def workspace_files(values: TemplateValues, own: Path) -> Mapping[str, str]:
    """Render the files of a workspace, with the note of the day.

    Parameters
    ----------
    own
        The user's folder of templates.

    Returns
    -------
    The text of each file, by its path in the workspace, sorted.

    Raises
    ------
    TemplateError
        If a template cannot be read.
    """
    found: dict[str, str | Traversable] = {}
    for role in (DEFAULT_ROLE, values.role):
        found.update(built_in().get(role, {}))
        found.update(_templates(own / role))
    texts = {
        daily_note(values.day) if name == DAILY_TEMPLATE else name: values.fill(
            template if isinstance(template, str) else _read(template)
        )
        for name, template in found.items()
    }
    return dict(sorted(texts.items()))


def daily_file(values: TemplateValues, own: Path) -> Mapping[str, str]:
    """Render only the note of the day, as `workspace_files` does.

    Raises
    ------
    TemplateError
        If its template cannot be read.
    """
    for role in (values.role, DEFAULT_ROLE):
        template = own / role / DAILY_TEMPLATE
        if template.is_file():
            return {daily_note(values.day): values.fill(_read(template))}
        if DAILY_TEMPLATE in built_in().get(role, {}):
            return {daily_note(values.day): values.fill(built_in()[role][DAILY_TEMPLATE])}
    raise TemplateError(f"expected the template {DAILY_TEMPLATE} with agentd; reinstall it")


@cache
def built_in() -> Mapping[str, Mapping[str, str]]:
    """Read agentd's own templates, by role and path: once, since a daemon may outlive its package.

    Raises
    ------
    TemplateError
        If one cannot be read.
    """
    roles = files(__package__).joinpath("roles")
    return {
        role.name: {name: _read(template) for name, template in _templates(role)}
        for role in roles.iterdir()
        if role.is_dir()
    }


def _templates(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, Traversable]]:
    if not folder.is_dir():
        return
    for entry in folder.iterdir():
        name = f"{prefix}{entry.name}"
        if entry.is_dir():
            yield from _templates(entry, f"{name}/")
        elif not entry.name.startswith("."):
            yield name, entry


def _read(template: Traversable) -> str:
    try:
        data = template.read_bytes()
        if len(data) > LARGEST_TEMPLATE:
            raise TemplateError(f"the template {template} is larger than {LARGEST_TEMPLATE} bytes; make it smaller")
        return without_mark(data).decode()
    except OSError as error:
        raise TemplateError(f"cannot read the template {template}: {error.strerror or os.strerror(0)}") from error
    except UnicodeDecodeError:
        raise TemplateError(f"the template {template} is not UTF-8; expected text") from None

"""Adding an agent to the jcard that the daemon reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from agentd.cli.agentctl.answers import require_answer
from agentd.cli.agentctl.command import CommandError
from agentd.cli.agentctl.editing import diff_lines
from agentd.cli.agentctl.worktree_look import Surroundings
from agentd.harness.registry import load_harnesses
from agentd.jcard.edit.agents import EditError, add_agent, declared_agents
from agentd.jcard.edit.file import FileEdit, FileEditError, edit_file
from agentd.jcard.load import load_jcard
from agentd.settings.context import LARGEST_CONFIG, load_context


@dataclass(frozen=True, slots=True)
class Declaration:
    """An agent as it stands in the jcard."""

    name: str
    """As the file spells it."""
    diff: tuple[str, ...]
    """What adding it changed; nothing where it was there."""


def declare(surroundings: Surroundings, name: str, fields: Mapping[str, str], *, dry_run: bool = False) -> Declaration:
    """Add an agent, unless there is one of this name, whatever it is.

    Raises
    ------
    CommandError
        If the file cannot be read or written, or would not be valid then.
    """
    config = surroundings.config
    require_answer(config)
    known: list[str] = []

    def add(text: str) -> str:
        known[:] = [declared for declared in declared_agents(text) if declared.casefold() == name.casefold()]
        return text if known else add_agent(text, name, fields)

    def check(content: bytes) -> None:
        user = surroundings.user
        context = load_context(config, user.name, user.home, load_harnesses().harnesses, surroundings.data_dir)
        errors = load_jcard(content, str(config), context).errors
        if errors:
            raise CommandError(f"not added, for the file would not be valid: {errors[0]}")

    try:
        outcome: FileEdit = edit_file(config, add, limit=LARGEST_CONFIG, check=check, create=True, dry_run=dry_run)
    except (EditError, FileEditError) as error:
        raise CommandError(str(error)) from None
    return Declaration(known[0] if known else name, tuple(diff_lines(outcome)))

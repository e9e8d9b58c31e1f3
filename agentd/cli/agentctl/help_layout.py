"""How the help of agentctl is laid out."""

from __future__ import annotations

import argparse
from collections.abc import Iterable

from agentd.cli.agentctl.catalogue import HEADINGS
from agentd.settings.flags import SHARED_FIELDS

_OF_EVERY_COMMAND = SHARED_FIELDS | {"json", "format", "field"}
"""What the help explains by itself, below the command's own."""


class Help(argparse.RawDescriptionHelpFormatter):
    """A command's: its usage is without the options of every command."""

    def add_usage(
        self,
        usage: str | None,
        actions: Iterable[argparse.Action],
        groups: Iterable[argparse._MutuallyExclusiveGroup],
        prefix: str | None = None,
    ) -> None:
        """Add a usage, of what is the command's own."""
        super().add_usage(usage, [each for each in actions if each.dest not in _OF_EVERY_COMMAND], groups, prefix)


class Overview(Help):
    """That of all commands: each below what it is for."""

    def _format_action(self, action: argparse.Action) -> str:
        text = super()._format_action(action)
        # A command is told by what it has not: it is no option, and takes no value.
        heading = HEADINGS.get(action.dest) if not action.option_strings and action.choices is None else None
        return f"\n  {heading}:\n{text}" if heading is not None else text

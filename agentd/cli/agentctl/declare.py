"""Adding an agent to the jcard."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from agentd.cli.agentctl.command import CommandError
from agentd.cli.agentctl.worktree_look import Surroundings
from agentd.daemon.context import ConfigUnavailableError, load_context, read_config
from agentd.harness.registry import load_harnesses
from agentd.jcard.edit import EditError, add_agent, declared_agents
from agentd.jcard.load import load_jcard


@dataclass(frozen=True, slots=True)
class Declarer:
    """The jcard that the daemon reads."""

    surroundings: Surroundings

    def find(self, name: str) -> str | None:
        """Give an agent's name as the file spells it, or ``None`` where it is not declared.

        Raises
        ------
        CommandError
            If the file cannot be read or understood.
        """
        try:
            declared = declared_agents(self._text())
        except EditError as error:
            raise CommandError(str(error)) from None
        return next((known for known in declared if known.casefold() == name.casefold()), None)

    def add(self, name: str, fields: Mapping[str, str]) -> None:
        """Add an agent.

        Raises
        ------
        CommandError
            If the file would not be valid then, or cannot be written.
        """
        try:
            text = add_agent(self._text(), name, fields)
        except EditError as error:
            raise CommandError(str(error)) from None
        around = self.surroundings
        context = load_context(
            around.config, around.user.name, around.user.home, load_harnesses().harnesses, around.data_dir
        )
        errors = load_jcard(text.encode(), str(around.config), context).errors
        if errors:
            raise CommandError(f"that would not be valid: {errors[0]}")
        try:
            _replace(around.config, text)
        except OSError as error:
            raise CommandError(f"cannot write {around.config}: {error.strerror}") from error

    def _text(self) -> str:
        config = self.surroundings.config
        try:
            return read_config(config).decode()
        except ConfigUnavailableError as error:
            if not config.exists() or config.stat().st_size == 0:
                return ""
            raise CommandError(str(error)) from None
        except UnicodeDecodeError:
            raise CommandError(f"{config} is not UTF-8; agentctl validate says where") from None


def _replace(path: Path, text: str) -> None:
    path = path.resolve()
    with tempfile.NamedTemporaryFile(
        "w", dir=path.parent, prefix=f".{path.name}.", delete=False, encoding="utf-8"
    ) as part:
        part.write(text)
        part.flush()
        os.fsync(part.fileno())
        if path.exists():
            found = path.stat()
            os.fchown(part.fileno(), found.st_uid, found.st_gid)
            os.fchmod(part.fileno(), found.st_mode & 0o7777)
    Path(part.name).replace(path)

"""How programs keep that a folder is trusted, and how they ask for it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FOLDER = "{folder}"
"""Stands for the folder in an entry's keys."""


@dataclass(frozen=True, slots=True)
class TrustFile:
    """A JSON file in which a program keeps which folders it was told to trust."""

    name: str
    folder: str
    """From the home of the agents' user; empty for the home itself."""
    folder_variable: str | None
    """The environment variable that names another folder."""
    keys: tuple[str, ...]
    """Way to the entry in the document; `FOLDER` stands for the folder's real path."""
    value: bool | str

    def path(self, environment: Mapping[str, str], home: Path) -> Path:
        """Find the file of an agent with this environment."""
        named = environment.get(self.folder_variable) if self.folder_variable is not None else None
        return (Path(named) if named else Path(environment.get("HOME") or home) / self.folder) / self.name

    def trusting(self, content: bytes | None, folder: Path) -> bytes | None:
        """Write the document with one more trusted folder, or give ``None`` if it has an entry, whatever that says.

        Parameters
        ----------
        content
            The file's; ``None`` if there is none.

        Raises
        ------
        ValueError
            If the content is not what the program writes.
        """
        document: object = {} if content is None else json.loads(content)
        at = document
        keys = [key.replace(FOLDER, str(folder)) for key in self.keys]
        for key in keys[:-1]:
            if not isinstance(at, dict):
                raise ValueError(f"expected an object around {key!r}")  # noqa: TRY004 (of a file, like bad JSON)
            at = at.setdefault(key, {})
        if not isinstance(at, dict):
            raise ValueError(f"expected an object around {keys[-1]!r}")  # noqa: TRY004 (as above)
        if keys[-1] in at:
            return None
        at[keys[-1]] = self.value
        return json.dumps(document, indent=2, ensure_ascii=False).encode()


@dataclass(frozen=True, slots=True)
class FolderTrust:
    """Whether and how a program asks for trust in the folder that it is started in."""

    questions: tuple[str, ...]
    """Sentences by which its question is known on the screen."""
    file: TrustFile | None = None
    """``None`` where agentd cannot give trust."""

"""How programs store that a folder is trusted, and how they ask for it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FOLDER = "{folder}"
"""The folder's path in the keys of an entry."""


@dataclass(frozen=True, slots=True)
class TrustFile:
    """A JSON file in which a program stores the folders it trusts."""

    name: str
    folder: str
    """Relative to the home of the agents' user; empty for the home itself."""
    folder_variable: str | None
    """Environment variable that names another folder."""
    keys: tuple[str, ...]
    """Path of the entry in the document; `FOLDER` stands for the folder's real path."""
    value: bool | str

    def path(self, environment: Mapping[str, str], home: Path) -> Path:
        """Give the path of the file for an agent's environment."""
        named = environment.get(self.folder_variable) if self.folder_variable is not None else None
        return (Path(named) if named else Path(environment.get("HOME") or home) / self.folder) / self.name

    def trusting(self, content: bytes | None, folder: Path) -> bytes | None:
        """Give the document with one more trusted folder; ``None`` if it has an entry, whatever that says.

        Parameters
        ----------
        content
            Content of the file; ``None`` if there is no file.
        folder
            Real path of the folder.

        Raises
        ------
        ValueError
            If the content is not as the program writes it.
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
    """How a program asks for trust in the folder it is started in."""

    questions: tuple[str, ...]
    """Sentences that identify the question on the screen."""
    file: TrustFile | None = None
    """``None`` if agentd cannot give trust."""

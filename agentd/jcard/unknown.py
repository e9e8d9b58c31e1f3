"""Of which files it is not known what they declare, so that what they may have declared is left as it is. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from agentd.jcard.drop_ins import TakenFile


@dataclass(frozen=True, slots=True)
class UnknownSources:
    """Files that were never good since agentd started, and folders that could not be listed."""

    folder: Path = Path()
    """Of the drop-ins."""
    jcard: bool = False
    """Whether the jcard is one of them."""
    files: frozenset[Path] = frozenset()
    folders: frozenset[Path] = frozenset()
    known: frozenset[Path] = frozenset()
    """The other files, those in such folders included."""

    def covers(self, source: str | None) -> bool:
        """Whether an agent may still be declared by the file that declared it last.

        Parameters
        ----------
        source
            That file; ``None`` if it is not known which it was.
        """
        if source is None:
            return self.jcard or bool(self.files or self.folders)
        path = Path(source)
        if path in self.known:
            return False
        if path in self.files or not path.is_relative_to(self.folder):
            return path in self.files or self.jcard
        return path.parent in self.folders or self.folder in self.folders


NOTHING_UNKNOWN = UnknownSources()


def unknown_sources(folder: Path, files: Sequence[TakenFile], unlisted: Collection[Path]) -> UnknownSources:
    """Name them, given what became of each file, the jcard first."""
    return UnknownSources(
        folder,
        jcard=not files[0].known,
        files=frozenset(file.path for file in files if not file.known),
        folders=frozenset(unlisted),
        known=frozenset(file.path for file in files if file.known),
    )

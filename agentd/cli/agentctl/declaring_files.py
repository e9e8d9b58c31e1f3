"""The files that declare agents: the jcard and its drop-ins, which of them declares whom, and whether an edit holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from agentd.cli.agentctl.command import CommandError
from agentd.cli.agentctl.lookup import unknown_agent
from agentd.jcard.document import parse_document
from agentd.jcard.drop_in_folder import SUFFIX, FoundFile
from agentd.jcard.drop_ins import SourceFile, TakenFile, merge
from agentd.jcard.edit.agents import UnknownAgentError, find_agent
from agentd.jcard.edit.plain import EditError
from agentd.jcard.load import load_jcard
from agentd.jcard.problems import Problem
from agentd.jcard.reading import config_bytes, drop_in_source, drop_ins
from agentd.model.spec import LoadContext
from agentd.settings.context import ConfigUnavailableError
from agentd.text.quoting import printable, quote

_DEPTH = 2
"""A drop-in is in the folder or in a direct subfolder of it."""


@dataclass(frozen=True, slots=True)
class DeclaringFiles:
    """The jcard and its drop-ins, as they are now."""

    config: Path
    """The jcard, absolute."""
    folder: Path
    """Of the drop-ins, absolute."""
    context: LoadContext
    """The jcard's."""
    contents: Mapping[Path, bytes]
    """What is in each file that can be read, in the order in which they are taken."""
    taken: Sequence[TakenFile]

    @classmethod
    def read(cls, config: Path, folder: Path, context: LoadContext) -> DeclaringFiles:
        """Read them; what cannot be read declares nothing."""
        contents = {path: file.data for path, file in drop_ins(folder).files.items() if file.data is not None}
        with suppress(ConfigUnavailableError):
            contents[config] = config_bytes(config)
        return cls._of(config, folder, context, contents)

    @classmethod
    def _of(cls, config: Path, folder: Path, context: LoadContext, contents: Mapping[Path, bytes]) -> DeclaringFiles:
        ordered = {path: contents[path] for path in sorted(contents, key=lambda path: (path != config, str(path)))}
        taken = merge(_load(config, folder, context, path, content) for path, content in ordered.items())
        return cls(config, folder, context, ordered, taken)

    def with_content(self, path: Path, content: bytes | None) -> DeclaringFiles:
        """Give them as they are with another content of one file; ``None`` removes it.

        Raises
        ------
        CommandError
            If that file, or one that is valid now, would not be valid.
        """
        contents = {each: data for each, data in self.contents.items() if each != path}
        if content is not None:
            contents[path] = content
        files = self._of(self.config, self.folder, self.context, contents)
        valid = {file.path for file in self.taken if file.valid} | {path}
        errors = [str(error) for file in files.taken if file.path in valid for error in file.errors]
        if errors:
            raise CommandError(f"not edited: the file would not be valid: {'; '.join(errors)}")
        return files

    def is_drop_in(self, path: Path) -> bool:
        """Whether a file is one of the drop-ins."""
        return path != self.config

    def declaring(self, names: Iterable[str]) -> dict[Path, list[str]]:
        """Find the files that declare agents.

        Returns
        -------
        The names by file, spelled as there; a name given twice in different case stands there once.

        Raises
        ------
        CommandError
            If no file declares one of them.
        """
        found: dict[Path, dict[str, None]] = {}
        for name in names:
            path, spelled = self._declaring(name)
            found.setdefault(path, {})[spelled] = None
        return {path: list(spelled) for path, spelled in found.items()}

    def _declaring(self, name: str) -> tuple[Path, str]:
        known: list[str] = []
        readable = set()
        for path, content in self.contents.items():
            document = parse_document(content, str(path))
            if isinstance(document, Problem):
                continue
            readable.add(path)
            try:
                return path, find_agent(document.text, name)
            except UnknownAgentError as error:
                known += map(printable, error.known)
            except EditError as error:
                raise CommandError(str(error)) from None
        if self.config not in readable:
            # Whoever edits it says what is wrong with it.
            return self.config, name
        several = len(readable) > 1
        files = f"{self.config} and its drop-ins declare" if several else f"{self.config} declares"
        if not known:
            raise CommandError(f"there is no agent {quote(name)} in the file: {files} none; agentctl add declares one")
        raise unknown_agent(name, known, otherwise=f"{files} {', '.join(known)}")


def _load(config: Path, folder: Path, context: LoadContext, path: Path, content: bytes) -> SourceFile:
    if path == config:
        return SourceFile(path, None, load_jcard(content, str(path), context))
    return drop_in_source(FoundFile(path, None if path.parent == folder else path.parent.name, content, None), context)


def drop_in_path(folder: Path, name: str) -> Path:
    """Give the path of a drop-in by the name that an operator gives it, with or without ``.toml``.

    Raises
    ------
    CommandError
        If agentd would not look at a file of that name.
    """
    parts = Path(name).parts
    # A name with a slash at its end would become a hidden file.
    absolute_or_folder = name.startswith("/") or name.endswith("/")
    if absolute_or_folder or not 1 <= len(parts) <= _DEPTH or any(part.startswith(".") for part in parts):
        raise CommandError(
            f"--file: expected the name of a drop-in, NAME or OWNER/NAME, with no dot in front; found {quote(name)}"
        )
    return folder / (name if name.endswith(SUFFIX) else f"{name}{SUFFIX}")

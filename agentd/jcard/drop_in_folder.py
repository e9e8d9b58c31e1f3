"""The folder of the drop-ins: which files there are, and what is in those that changed."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Final, NamedTuple

from agentd.files.answering import Way
from agentd.files.permissions import bent_by_others, changed_by_others, replaced_by_others
from agentd.files.regular import open_regular, read_up_to, without_mark
from agentd.settings.context import LARGEST_CONFIG
from agentd.settings.folders import holds_text
from agentd.text.quoting import printable

SUFFIX: Final = ".toml"

_FRESH: Final = 2.0
"""Seconds after a change in which another one may leave all that ``stat`` tells as it was: some file systems count time
in steps of that length."""


class Stamp(NamedTuple):
    """What ``stat`` tells of a file's content."""

    device: int
    inode: int
    size: int
    modified: int
    """Nanoseconds."""
    changed: int

    @classmethod
    def of(cls, found: os.stat_result) -> Stamp:
        """Take it from ``stat``."""
        return cls(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


@dataclass(frozen=True, slots=True)
class FoundFile:
    """One file that declares agents, as it was found; two are equal if they say the same."""

    path: Path
    owner: str | None
    """As `AgentSpec.owner`."""
    data: bytes | None = field(repr=False)
    """``None`` where there is nothing that could be used."""
    unavailable: str | None
    """Why there is not."""
    stamp: Stamp | None = field(default=None, compare=False)
    """``None`` if it could not be looked at."""
    linked: bool = field(default=False, compare=False)
    """Whether it is a symlink."""
    fresh: bool = field(default=False, compare=False)
    """Whether its content may have changed since without a change of its stamp."""


class FolderIdentity(NamedTuple):
    """Which folder it is, so that an empty one is told from the mount point that is left of it."""

    device: int
    inode: int


@dataclass(frozen=True, slots=True)
class DropIns:
    """What is in the folder."""

    files: Mapping[Path, FoundFile] = field(default_factory=dict)
    """In the order in which they are taken: by path."""
    identities: Mapping[Path, FolderIdentity] = field(default_factory=dict)
    """The folder and its subfolders, as far as they hold files."""
    unlisted: Mapping[Path, str] = field(default_factory=dict)
    """Those of them that cannot be listed, and why: what they held before still counts."""
    folders: tuple[Path, ...] = ()
    """The folder and its subfolders, with files or without."""


def look_at_drop_ins(folder: Path, before: DropIns, way: Way) -> DropIns:
    """List the drop-ins in a folder and its direct subfolders, and read those whose stamp is not as before.

    A folder that held files and is missing now, cannot be listed, or is not mounted, holds what it held before.

    Parameters
    ----------
    folder
        Absolute.
    before
        What was found last.
    way
        Is told each step, as any of them may never end.

    Returns
    -------
    DropIns
        `before` itself, if no stamp has changed either.

    Raises
    ------
    NotAnsweringError
        If a step does not answer that did so far.
    """
    return _Look(before, way).at(folder)


class _Entry(NamedTuple):
    """An entry of a folder."""

    name: str
    linked: bool
    folder: bool
    """Whether it is one itself, not by a symlink."""

    @classmethod
    def of(cls, entry: os.DirEntry[str]) -> _Entry:
        return cls(entry.name, entry.is_symlink(), entry.is_dir(follow_symlinks=False))


class _Folder(NamedTuple):
    """A folder that is being looked at."""

    path: Path
    owner: str | None
    at: str
    """Where the way to it led."""
    found: os.stat_result
    shared: bool
    """Whether others may put files in it, which counts only as root."""


class _UnlistedError(Exception):
    """A folder that cannot be listed; the text says why."""


class _Look:
    """One look. Paths are handled as text: for 1000 files that are as before, `Path` alone would take 15 ms."""

    def __init__(self, before: DropIns, way: Way) -> None:
        self._before = before
        self._known = {str(path): file for path, file in before.files.items()}
        self._way = way
        self._guarded = os.geteuid() == 0
        """Whether files that others may write are refused."""
        self._files: dict[str, FoundFile] = {}
        self._identities: dict[Path, FolderIdentity] = {}
        self._unlisted: dict[Path, str] = {}

    def at(self, folder: Path) -> DropIns:
        folders = [folder]
        try:
            identity, subfolders = self._list(folder, None)
            for name in sorted(subfolders):
                self._look_in(folder / name, name)
                # Its files are refused; to watch it would end all watching.
                if holds_text(name):
                    folders.append(folder / name)
            self._keep(folder, identity, empty=not self._files)
        except _UnlistedError as error:
            self._hold(folder, self._known, str(error))
            folders = [folder, *(each for each in self._before.folders if each != folder)]
        files = {file.path: file for _, file in sorted(self._files.items(), key=itemgetter(0))}
        found = DropIns(files, self._identities, self._unlisted, tuple(folders))
        same = found == self._before and all(self._known[text] is file for text, file in self._files.items())
        return self._before if same else found

    def _look_in(self, folder: Path, owner: str) -> None:
        others = len(self._files)
        try:
            identity, _ = self._list(folder, owner)
            self._keep(folder, identity, empty=len(self._files) == others)
        except _UnlistedError as error:
            self._hold(folder, [text for text, file in self._known.items() if file.path.parent == folder], str(error))

    def _keep(self, folder: Path, identity: FolderIdentity, *, empty: bool) -> None:
        """Remember which folder it is that holds files.

        Raises
        ------
        _UnlistedError
            If it held files, and is another one without any now: the folder that it was mounted on.
        """
        if not empty:
            self._identities[folder] = identity
        elif self._before.identities.get(folder, identity) != identity:
            raise _UnlistedError(
                f"it is empty and another folder than before: mount it, or put a {SUFFIX} file in it to have it count"
            )

    def _hold(self, folder: Path, files: Iterable[str], reason: str) -> None:
        """Let what is not known be as it was."""
        if reason:
            self._unlisted[folder] = reason
        self._files.update((text, self._known[text]) for text in files)
        identities = self._before.identities.items()
        self._identities.update((each, identity) for each, identity in identities if each.is_relative_to(folder))

    def _list(self, folder: Path, owner: str | None) -> tuple[FolderIdentity, list[str]]:
        """Take the files of a folder; returns which it is, and the names of its subfolders."""
        try:
            self._way.to(folder)
            at = self._way.at
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                # Of one and the same folder, whatever is mounted there meanwhile.
                around = os.fstat(descriptor)
                with os.scandir(descriptor) as listing:
                    entries = [_Entry.of(entry) for entry in listing if not entry.name.startswith(".")]
            finally:
                os.close(descriptor)
        except FileNotFoundError:
            raise _UnlistedError("it is missing" if folder in self._before.identities else "") from None
        except OSError as error:
            raise _UnlistedError(f"it cannot be listed: {error.strerror}") from None
        subfolders = [] if owner is not None else [each.name for each in entries if self._is_folder(folder, each)]
        shared = self._guarded and changed_by_others(folder, around) is not None
        listed = _Folder(folder, owner, at, around, shared)
        prefix = f"{str(folder).rstrip('/')}/"
        for entry in entries:
            if entry.name.endswith(SUFFIX) and not entry.folder and entry.name not in subfolders:
                text = prefix + entry.name
                file = self._look_at(text, entry, listed)
                if file is not None:
                    self._files[text] = file
        return FolderIdentity(around.st_dev, around.st_ino), subfolders

    def _is_folder(self, folder: Path, entry: _Entry) -> bool:
        if not entry.linked:
            return entry.folder
        path = folder / entry.name
        # Of a folder that held files, a symlink that leads nowhere is no sign that they were removed.
        if path in self._before.identities:
            return True
        try:
            self._way.to(path)
            return path.is_dir()
        except OSError:
            return False

    def _look_at(self, text: str, entry: _Entry, folder: _Folder) -> FoundFile | None:
        """Read one file, unless it is as before; ``None`` if it went since it was listed and was not known before."""
        before, owner = self._known.get(text), folder.owner
        if not holds_text(text):
            return FoundFile(Path(text), owner, None, "its path is not UTF-8; rename it", linked=entry.linked)
        try:
            if entry.linked:
                self._way.to(text)
            else:
                self._way.to_entry(folder.at, entry.name)
            found = os.stat(text)  # noqa: PTH116 (see the class)
            refused = self._refused(text, entry, folder, found) if folder.shared or entry.linked else None
            stamp = Stamp.of(found)
            if refused is not None:
                return FoundFile(Path(text), owner, None, _refusal(refused), stamp, entry.linked, fresh=True)
            if before is not None and before.stamp == stamp and not before.fresh:
                return before
            return self._read(Path(text), owner, linked=entry.linked)
        except FileNotFoundError:
            if entry.linked:
                return FoundFile(Path(text), owner, None, "it is a symlink that leads nowhere", linked=True)
            # The file or its whole folder: the next look will tell.
            return before
        except OSError as error:
            return FoundFile(Path(text), owner, None, f"it cannot be read: {error.strerror}", linked=entry.linked)

    def _refused(self, text: str, entry: _Entry, folder: _Folder, found: os.stat_result) -> str | None:
        """Say why a file is refused for the folders that it is in, or leads through."""
        if not entry.linked:
            return replaced_by_others(folder.path, folder.found, found)
        if not self._guarded:
            return None
        link = Path(text)
        return replaced_by_others(folder.path, folder.found, link.lstat()) or bent_by_others(link)

    def _read(self, path: Path, owner: str | None, *, linked: bool) -> FoundFile:
        data: bytes | None = None
        unavailable = None
        with open_regular(path) as file:
            found = os.fstat(file.fileno())
            others = changed_by_others(file.fileno(), found) if self._guarded else None
            if others is None:
                data = read_up_to(path, file, LARGEST_CONFIG)
        if others is not None:
            unavailable = _refusal(f"it {others}")
        elif not without_mark(data or b""):
            data, unavailable = None, "it is empty (zero bytes), which counts as being written"
        fresh = time.time() - max(found.st_mtime, found.st_ctime) < _FRESH
        return FoundFile(path, owner, data, unavailable, Stamp.of(found), linked, fresh)


def _refusal(reason: str) -> str:
    return f"refused, since agentd runs as root: {printable(reason)}; chown it to root and chmod it go-w"

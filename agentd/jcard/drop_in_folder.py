"""The folder of the drop-ins: which files there are, and what is in those that changed."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from agentd.files.answering import NotAnsweringError, Way
from agentd.files.permissions import changed_by_others, replaced_by_others
from agentd.files.regular import open_regular, read_up_to, without_mark
from agentd.settings.context import LARGEST_CONFIG
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
class DropIn:
    """One drop-in, as it was found; two are equal if they say the same."""

    path: Path
    owner: str | None
    """Name of the subfolder it is in."""
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


@dataclass(frozen=True, slots=True)
class DropIns:
    """What is in the folder."""

    files: Mapping[Path, DropIn] = field(default_factory=dict)
    """In the order in which they are taken: by path."""
    devices: Mapping[Path, int] = field(default_factory=dict)
    """File systems of the folder and its subfolders, as far as they hold files."""
    unlisted: Mapping[Path, str] = field(default_factory=dict)
    """Those of them that cannot be listed, and why: what they held before still counts."""


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

    Raises
    ------
    NotAnsweringError
        If a step does not answer that did so far.
    """
    return _Look(before, way).at(folder)


class _UnlistedError(Exception):
    """A folder that cannot be listed; the text says why."""


class _Look:
    def __init__(self, before: DropIns, way: Way) -> None:
        self._before = before
        self._way = way
        self._guarded = os.geteuid() == 0
        """Whether files that others may write are refused."""
        self._files: dict[Path, DropIn] = {}
        self._devices: dict[Path, int] = {}
        self._unlisted: dict[Path, str] = {}

    def at(self, folder: Path) -> DropIns:
        try:
            device, subfolders = self._list(folder, None)
            for name in subfolders:
                self._look_in(folder / name, name)
            if self._files:
                self._devices[folder] = device
        except _UnlistedError as error:
            self._hold(folder, self._before.files.values(), str(error))
        files = {path: self._files[path] for path in sorted(self._files, key=str)}
        return DropIns(files, self._devices, self._unlisted)

    def _look_in(self, folder: Path, owner: str) -> None:
        try:
            device, _ = self._list(folder, owner)
        except _UnlistedError as error:
            self._hold(folder, [file for file in self._before.files.values() if file.path.parent == folder], str(error))
            return
        if any(path.parent == folder for path in self._files):
            self._devices[folder] = device

    def _hold(self, folder: Path, files: Iterable[DropIn], reason: str) -> None:
        """Let what is not known be as it was."""
        if reason:
            self._unlisted[folder] = reason
        self._files.update((file.path, file) for file in files)
        below = {each: device for each, device in self._before.devices.items() if each.is_relative_to(folder)}
        self._devices.update(below)

    def _list(self, folder: Path, owner: str | None) -> tuple[int, list[str]]:
        """Take the files of a folder; returns its device and the names of its subfolders."""
        held = folder in self._before.devices
        try:
            self._way.to(folder)
            at = self._way.at
            device = folder.stat().st_dev
            with os.scandir(folder) as listing:
                entries = [entry for entry in listing if not entry.name.startswith(".")]
            subfolders = [] if owner is not None else [entry.name for entry in entries if self._is_folder(entry)]
        except FileNotFoundError:
            raise _UnlistedError("it is missing" if held else "") from None
        except OSError as error:
            raise _UnlistedError(f"it cannot be listed: {error.strerror}") from None
        names = [entry for entry in entries if entry.name.endswith(SUFFIX) and not _leads_to_folder(entry, subfolders)]
        if held and device != self._before.devices[folder] and not names and not subfolders:
            raise _UnlistedError(
                f"it is empty, and on another file system than before: mount it again, or put a {SUFFIX} file in it"
            )
        for entry in names:
            file = self._look_at(folder, entry, owner, at)
            if file is not None:
                self._files[file.path] = file
        return device, subfolders

    def _is_folder(self, entry: os.DirEntry[str]) -> bool:
        if entry.is_symlink():
            # Of a folder that held files, the symlink alone is no sign that they were removed.
            if Path(entry.path) in self._before.devices:
                return True
            try:
                self._way.to(entry.path)
            except NotAnsweringError:
                return False
        return entry.is_dir()

    def _look_at(self, folder: Path, entry: os.DirEntry[str], owner: str | None, at: str) -> DropIn | None:
        """Read one file, unless it is as before; ``None`` if it was removed since it was listed."""
        path = folder / entry.name
        linked = entry.is_symlink()
        before = self._before.files.get(path)
        try:
            if linked:
                self._way.to(path)
            else:
                self._way.to_entry(at, entry.name)
            stamp = Stamp.of(path.stat())
            refused = replaced_by_others(folder, entry.name) if self._guarded else None
            if refused is not None:
                return DropIn(path, owner, None, _refusal(refused), stamp, linked, fresh=True)
            if before is not None and before.stamp == stamp and not before.fresh:
                return before
            return self._read(path, owner, linked=linked)
        except FileNotFoundError:
            return DropIn(path, owner, None, "it is a symlink that leads nowhere", linked=True) if linked else None
        except OSError as error:
            return DropIn(path, owner, None, f"it cannot be read: {error.strerror}", linked=linked)

    def _read(self, path: Path, owner: str | None, *, linked: bool) -> DropIn:
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
        return DropIn(path, owner, data, unavailable, Stamp.of(found), linked, fresh)


def _leads_to_folder(entry: os.DirEntry[str], subfolders: Collection[str]) -> bool:
    return entry.name in subfolders or entry.is_dir(follow_symlinks=False)


def _refusal(reason: str) -> str:
    return f"refused, since agentd runs as root: {printable(reason)}; chown it to root and chmod it go-w"

"""File watching: says when the jcard, a prompt file or a secret may have changed.

Editors write by rename and config managers swap symlinks, so folders are watched, not files: the folder of each file
and of every symlink on the way to it. Where watching is not possible (a network file system, an exhausted inotify), the
resync interval serves alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import structlog

from agentd.daemon.file_changes import FileChanges
from agentd.files.answering import NotAnsweringError, Way
from agentd.files.looks import Looks
from agentd.files.worker import in_thread
from agentd.settings.folders import holds_text
from agentd.text.quoting import printable

log = structlog.get_logger(__name__)

_RETRY_FIRST, _RETRY_LATER = 0.1, 30.0
"""Seconds. watchfiles gives what it held back to the kernel a moment after its end."""
_MAX_LINKS = 40


def watched_names(path: Path) -> set[Path]:
    """Every name whose change can change what `path` leads to: itself, and each symlink on the way."""
    names: set[Path] = set()
    todo = [path]
    while todo and len(names) < _MAX_LINKS:
        current = todo.pop()
        if current in names:
            continue
        names.add(current)
        for part in (current, *current.parents):
            try:
                target = part.readlink()
            except OSError:
                continue
            names.add(part)
            rest = current.relative_to(part)
            todo.append(part.parent / target / rest)
            break
    return names


def existing_folder(path: Path) -> Path:
    """The nearest folder on the way to `path` that exists: where its creation will be seen."""
    folder = path.parent
    while not _is_folder(folder) and folder != folder.parent:
        folder = folder.parent
    return folder


@dataclass(frozen=True, slots=True)
class _Seen:
    """What there is to watch for one path."""

    names: set[Path]
    folders: dict[Path, int]


class Watcher:
    """Watches what a configuration is read from, until cancelled.

    Parameters
    ----------
    files
        Gives the files to watch at any time.
    folders
        Gives the folders of which every entry counts at any time.
    on_change
        Called, in the event loop, when something may have changed.
    looks
        What finds out what there is to watch; what does not answer is not watched.
    """

    def __init__(
        self,
        files: Callable[[], Iterable[Path]],
        folders: Callable[[], Iterable[Path]],
        on_change: Callable[[], None],
        looks: Looks,
    ) -> None:
        self._files = files
        self._folders_now = folders
        self._folders: frozenset[Path] = frozenset()
        self._on_change = on_change
        self._looks = looks
        self._changes: FileChanges | None = None
        self._watched: dict[Path, int] = {}
        self._names: set[Path] = set()
        self._looked_at: list[Path] = []
        self._unwatched: set[Path] = set()
        """Folders of which was said that they cannot be watched."""
        self._counting: set[Path] = set()
        """Names whose change counts, and the folders on the way to them."""

    def _wanted(self) -> list[Path]:
        return list(dict.fromkeys((*self._files(), *self._folders_now())))

    @property
    def outdated(self) -> bool:
        """Whether other files are to be watched than when it was last worked out."""
        return self._looked_at != self._wanted()

    async def _look(self) -> dict[Path, int]:
        """Work out the names that count; returns the folders to watch for them: those that answer."""
        self._folders = frozenset(self._folders_now())
        self._looked_at = files = self._wanted()
        seen = await self._looks.each(files, self._look_at, joined=True)
        found = [each for each in seen.values() if not isinstance(each, NotAnsweringError)]
        self._names = names = {name for each in found for name in each.names}
        self._counting = names.union(*(name.parents for name in names))
        folders = {folder: inode for each in found for folder, inode in each.folders.items()}
        return {folder: inode for folder, inode in folders.items() if self._can_watch(folder)}

    def _can_watch(self, folder: Path) -> bool:
        """Whether a folder can be watched by its name: one that is not UTF-8 would end the watching of all."""
        if holds_text(folder):
            return True
        if folder not in self._unwatched:
            self._unwatched.add(folder)
            reason = f"the path {printable(str(folder))} is not UTF-8"
            log.warning("files_not_watched", reason=reason, effect="changes there are seen at the resync interval")
        return False

    def _look_at(self, path: Path) -> _Seen:
        names = watched_names(path)
        folders = {existing_folder(name) for name in names}
        return _Seen(names, _identities(folders | ({path} if path in self._folders and _is_folder(path) else set())))

    async def refresh(self) -> None:
        """Take the files to watch anew; watch other folders if they, or their identities, are not what they were."""
        if await self._look() != self._watched:
            self._end()

    def _end(self) -> None:
        if self._changes is not None:
            self._changes.end()
            self._changes = None

    async def run(self) -> None:
        """Watch."""
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            self._watched = await self._look()
            try:
                # What changed between two watches was seen by neither.
                changes = self._changes = await self._looks.along(self._set_up(self._tell(loop)))
                while await in_thread("file watching", changes.wait):
                    failures = 0
                    self._on_change()
                failures = 0
            except (OSError, RuntimeError) as error:
                failures += 1
                if failures == 2:  # noqa: PLR2004 (not the first)
                    log.warning(
                        "files_not_watched", reason=str(error), effect="changes are seen at the resync interval"
                    )
                await asyncio.sleep(_RETRY_FIRST if failures == 1 else _RETRY_LATER)
            finally:
                self._end()
            self._on_change()

    def _tell(self, loop: asyncio.AbstractEventLoop) -> Callable[[], None]:
        def tell() -> None:
            # The thread may come to it when all is over.
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._on_change)

        return tell

    def _set_up(self, tell: Callable[[], None]) -> Callable[[Way], FileChanges]:
        def set_up(way: Way) -> FileChanges:
            for folder in self._watched:
                way.to(folder)
            return FileChanges(self._watched, self._counts, tell)

        return set_up

    def _counts(self, path: Path) -> bool:
        return path in self._counting or path.parent in self._folders


def _is_folder(path: Path) -> bool:
    """Whether it is a folder, as far as one may see: `Path.is_dir` raises where the folder above is closed to us."""
    try:
        return path.is_dir()
    except OSError:
        return False


def _identities(folders: Iterable[Path]) -> dict[Path, int]:
    """Folders by inode: one that was replaced must be watched anew."""
    found = {}
    for folder in folders:
        try:
            found[folder] = folder.stat().st_ino
        except OSError:
            found[folder] = 0
    return found

"""The jcard and its drop-ins as the daemon follows them: read, loaded where they changed, taken together."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from agentd.daemon.configuration import ConfigFile, Sources
from agentd.files.answering import NotAnsweringError
from agentd.files.boot import boot_id
from agentd.files.looks import Looks
from agentd.jcard.drop_in_folder import DropIns, FolderIdentity, FoundFile, look_at_drop_ins
from agentd.jcard.drop_ins import SourceFile, TakenFile, drop_in_context, merge
from agentd.jcard.leases import Renewal, expired, next_expiry, renew
from agentd.jcard.load import load_jcard
from agentd.jcard.problems import LoadResult
from agentd.model.spec import LoadContext
from agentd.settings.context import ConfigUnavailableError, read_config


@dataclass(frozen=True, slots=True)
class _Loaded:
    data: bytes
    result: LoadResult
    digest: str


class ConfigFiles:
    """Follows the files.

    Parameters
    ----------
    folder
        Of the drop-ins.
    context
        The jcard's.
    identities
        As `DropIns.identities` when a former daemon saw the folder last.
    now
        The monotonic clock, in seconds.
    """

    def __init__(
        self,
        config: Path,
        folder: Path,
        context: LoadContext,
        looks: Looks,
        identities: Mapping[Path, FolderIdentity],
        now: Callable[[], float],
    ) -> None:
        self.config = config
        self.folder = folder
        self._context = context
        self._looks = looks
        self._now = now
        self._found = DropIns(identities=identities, folders=(folder,))
        self._loaded: dict[Path, _Loaded] = {}
        self._good: Mapping[Path, LoadResult] = {}
        self._renewals: Mapping[Path, Renewal] = {}
        self._leases: Mapping[Path, float] = {}
        self._former: frozenset[Path] = frozenset()
        """Files that were written for another boot of the machine."""
        self._read: tuple[FoundFile | None, DropIns] = None, self._found
        self._sources = Sources({}, {}, frozenset())
        self._merged: tuple[Sources, Mapping[Path, LoadResult], tuple[TakenFile, ...]] | None = None

    async def read(self) -> Sources:
        """Read the files once, those of the drop-ins that changed."""
        jcard, found = await asyncio.gather(self._read_jcard(), self._look_at_drop_ins())
        if (jcard, found) != self._read or found is not self._read[1]:
            await self._take_in(jcard, found)
        over = expired(self._renewals, self._leases, self._now()) | self._former
        if over != self._sources.expired:
            self._sources = Sources(self._sources.files, self._sources.unlisted, over)
        if not self._is_merged(self._sources):
            await asyncio.to_thread(self.merged, self._sources)
        return self._sources

    async def _take_in(self, jcard: FoundFile, found: DropIns) -> None:
        """Load what changed, and note what was renewed."""
        drop_ins = {path: file for path, file in found.files.items() if path != self.config}
        files = {self.config: jcard, **drop_ins}
        stale = [file for file in files.values() if self._stale(file)]
        if stale:
            await asyncio.to_thread(lambda: [self._load(file) for file in stale])
        modified = {path: file.stamp.modified for path, file in drop_ins.items() if file.stamp is not None}
        held = {path: renewal for path, renewal in self._renewals.items() if path in files}
        self._renewals = {**held, **renew(held, modified, self._now())}
        contents = {path: self._content(files[path]) for path in drop_ins}
        self._leases = {path: each.lease for path, each in contents.items() if each and each.lease is not None}
        self._former = frozenset(path for path, content in contents.items() if content and _is_former(content.boot))
        self._sources = Sources(files, found.unlisted, frozenset())
        self._read = jcard, found

    async def _read_jcard(self) -> FoundFile:
        path, known = self.config, self._loaded.get(self.config)

        def read() -> bytes:
            data = read_config(path)
            return known.data if known is not None and known.data == data else data

        try:
            return FoundFile(path, None, await self._looks.look(path, read, joined=True), None)
        except ConfigUnavailableError as problem:
            return FoundFile(path, None, None, str(problem).removeprefix(f"{path}: "))
        except NotAnsweringError as problem:
            return FoundFile(path, None, None, problem.strerror)

    async def _look_at_drop_ins(self) -> DropIns:
        before = self._found
        try:
            self._found = await self._looks.along(partial(look_at_drop_ins, self.folder, before), joined=True)
        except NotAnsweringError as error:
            # The next look passes over what does not answer.
            return DropIns(before.files, before.identities, {self.folder: str(error.strerror)}, before.folders)
        return self._found

    def _stale(self, file: FoundFile) -> bool:
        loaded = self._loaded.get(file.path)
        return file.data is not None and (loaded is None or loaded.data is not file.data)

    def _load(self, file: FoundFile) -> _Loaded | None:
        """Load a file, unless it is as it was."""
        path, data = file.path, file.data
        if data is None:
            return None
        loaded = self._loaded.get(path)
        if loaded is not None and loaded.data == data:
            return loaded
        context = self._context if path == self.config else drop_in_context(self._context, path, file.owner)
        loaded = self._loaded[path] = _Loaded(
            data, load_jcard(data, str(path), context), hashlib.sha256(data).hexdigest()
        )
        return loaded

    def _content(self, file: FoundFile) -> LoadResult | None:
        loaded = self._load(file)
        usable = loaded is not None and not loaded.result.errors
        return loaded.result if loaded is not None and usable else self._good.get(file.path)

    def merged(self, sources: Sources) -> tuple[TakenFile, ...]:
        """Take the files together, each in its last good content where it is not good now."""
        known = self._merged
        if known is not None and self._is_merged(sources):
            return known[2]
        files = merge(self._source(file, sources) for file in sources.files.values())
        self._merged = sources, self._good, files
        return files

    def _is_merged(self, sources: Sources) -> bool:
        return self._merged is not None and self._merged[0] == sources and self._merged[1] is self._good

    def _source(self, file: FoundFile, sources: Sources) -> SourceFile:
        loaded, path = self._load(file), file.path
        return SourceFile(
            path,
            file.owner,
            None if loaded is None else loaded.result,
            file.unavailable,
            self._good.get(path),
            expired=path in sources.expired,
        )

    def described(self, file: FoundFile, taken: TakenFile) -> ConfigFile:
        """Say what became of a file."""
        loaded, errors = self._load(file), taken.errors
        return ConfigFile(
            path=file.path,
            error="\n".join(map(str, errors)) if errors else None,
            warnings=tuple(map(str, taken.warnings)),
            agents=len(taken.agents),
            digest=None if loaded is None else loaded.digest,
            expired=taken.expired,
            in_force=taken.in_force,
        )

    def take(self, sources: Sources) -> None:
        """Remember what is in force of each file as its last good content."""
        merged = self.merged(sources)
        good = {file.path: file.in_force for file in merged if file.in_force is not None}
        if any(self._good.get(path) is not content for path, content in good.items()) or len(good) != len(self._good):
            self._good = good
            # In force now is what is in force once that is the last good content, too.
            self._merged = sources, good, merged
        if len(self._loaded) > len(sources.files):
            self._loaded = {path: loaded for path, loaded in self._loaded.items() if path in sources.files}

    @property
    def next_expiry(self) -> float | None:
        """When the next lease will be over, monotonic."""
        return next_expiry(self._renewals, self._leases, self._now())

    @property
    def identities(self) -> Mapping[Path, FolderIdentity]:
        """As `DropIns.identities`."""
        return self._found.identities

    def folders(self) -> tuple[Path, ...]:
        """The folders of the drop-ins."""
        return self._found.folders

    def links(self) -> tuple[Path, ...]:
        """The drop-ins that are symlinks."""
        return tuple(path for path, file in self._found.files.items() if file.linked)


def _is_former(boot: str | None) -> bool:
    """Whether a drop-in was written for another boot of the machine."""
    return boot is not None and boot != boot_id()

"""Restores the daemon's own paths where somebody removed, moved or replaced them.

What a path leads to lives on when the path is lost: a tmux server with every agent, a lock, an API that answers. Nobody
finds it any more, and a second one would be started. So each path is held against what the daemon has in hand: at each
resync, and at once where the folder is watched. What stands there instead and is a stranger's is left alone, and said.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import structlog

from agentd.api.socket_file import ApiSocket
from agentd.daemon.folders import FolderError, Folders
from agentd.files.answering import Way
from agentd.files.path_lock import AlreadyRunningError, PathLock, SocketTakenError
from agentd.files.worker import in_thread
from agentd.launch.owned_folder import RuntimeDirectoryError
from agentd.model.events import Event, EventKind
from agentd.supervise.host import Host
from agentd.tmux.errors import TmuxStartError

log = structlog.get_logger(__name__)

_STUCK = 5.0
"""Seconds after which a look at the disk counts as one that does not come back."""

_PROBLEMS = (
    AlreadyRunningError,
    FolderError,
    OSError,
    RuntimeDirectoryError,
    SocketTakenError,
    TmuxStartError,
)


class OwnPaths:
    """Restores the daemon's own paths.

    Parameters
    ----------
    restore_records
        Writes again what is missing of the runs' records, and says of how many.
    """

    def __init__(
        self,
        host: Host,
        folders: Folders,
        locks: Sequence[PathLock],
        served: Sequence[ApiSocket],
        restore_records: Callable[[], int],
    ) -> None:
        self._host = host
        self._folders = folders
        self._locks = locks
        self._served = served
        self._keep_records = restore_records
        self._problems: dict[str, str] = {}
        """What is wrong, by what is looked at; each is said once."""
        self._disk: asyncio.Future[list[Path]] | None = None
        self.soon = asyncio.Event()
        """Asks for a look now."""

    @property
    def watched(self) -> tuple[Path, ...]:
        """Those whose loss is noticed at once; that of others at the next resync."""
        return (self._host.tmux.socket, *(each.path for each in self._served), self._host.runtime.path)

    async def run(self, interval: float) -> None:
        """Look when asked to, which each resync does, and if nobody did for an interval, until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(interval):
                    await self.soon.wait()
            self.soon.clear()
            await self.keep()

    async def keep(self) -> None:
        """Look once, and restore what is missing."""
        await self._look("folders", self._keep_on_disk)
        await self._look("tmux socket", self._keep_tmux_socket)
        for served in self._served:
            await self._look(f"socket {served.path.name}", partial(self._keep_served, served))
        await self._look("runtime directory", self._keep_runtime)

    async def _look(self, what: str, keep: Callable[[], Awaitable[Iterable[Path]]]) -> None:
        try:
            made = await keep()
        except _PROBLEMS as error:
            reason = f"{error.strerror}: {error.filename}" if isinstance(error, OSError) else str(error)
            if self._problems.get(what) != reason:
                self._problems[what] = reason
                log.error("own_path_lost", what=what, reason=reason)
                self._host.emit(Event(EventKind.PATH_LOST, None, reason, {"path": what}))
            return
        self._problems.pop(what, None)
        for path in made:
            reason = f"the {what} was gone or another's: {path} is made again"
            log.warning("own_path_restored", what=what, path=str(path))
            self._host.emit(Event(EventKind.PATH_RESTORED, None, reason, {"path": str(path)}))

    async def _keep_on_disk(self) -> list[Path]:
        """Folders and locks, which may be on a disk that does not answer: that holds up nothing else."""
        if self._disk is None and await self._stand():
            return []
        if self._disk is None:
            self._disk = in_thread("own paths", self._make_on_disk)
        await asyncio.wait([self._disk], timeout=_STUCK)
        if not self._disk.done():
            raise TimeoutError(0, "the disk does not answer", str(self._folders.settings.state_dir))
        done, self._disk = self._disk, None
        return done.result()

    async def _stand(self) -> bool:
        """Whether nothing has to be made: a look at what nearly always stands is a hundredth of what making costs."""
        paths = [*self._folders.needed, *(lock.file for lock in self._locks if lock.file is not None)]

        def look(way: Way) -> bool:
            for path in paths:
                way.to(path)
            return self._folders.stand() and all(lock.stands() for lock in self._locks)

        try:
            return await self._host.preflight.looks.along(look, joined=True)
        except OSError:
            # Whoever makes them has more patience, and says what is wrong.
            return False

    def _make_on_disk(self) -> list[Path]:
        made = self._folders.make()
        return [*made, *(path for lock in self._locks if (path := lock.restore()) is not None)]

    async def _keep_tmux_socket(self) -> list[Path]:
        tmux = self._host.tmux
        return [tmux.socket] if tmux.connected and await tmux.file.keep() else []

    async def _keep_served(self, served: ApiSocket) -> list[Path]:
        return [served.path] if await served.keep() else []

    async def _keep_runtime(self) -> list[Path]:
        made = self._host.runtime.keep(self._host.hint)
        if self._keep_records() and not made:
            made.append(self._host.runtime.path)
        return made

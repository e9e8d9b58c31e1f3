"""Notes which size the terminals of runs get: transcripts are read with the size in force at each byte.

Only somebody who attaches gives a terminal another size, so sizes are looked at while somebody is attached, beside the
look at all panes at each resync.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import structlog

from agentd.files.worker import Worker
from agentd.recording.transcripts.disk import TranscriptDisk
from agentd.tmux.errors import TmuxError, TmuxUnreachableError
from agentd.tmux.panes import Pane
from agentd.tmux.server import TmuxServer
from agentd.tmux.sizes import SIZE

log = structlog.get_logger(__name__)

_BUSY = 2.0
"""Seconds after which a disk that does not answer is given no more to do."""
_FIRST = (0.0, 0.05, 0.2)
"""Seconds before the first looks: tmux changes the size within milliseconds after it said that somebody attached."""
_PAUSE = 0.5
"""Seconds between two looks while somebody is attached, which cost tmux 0.1 ms; whoever drags the edge of a window
does not see that."""
_AFTER = 4
"""Looks after the last one has left: then tmux, or agentd, gives the terminal its former size back."""


@dataclass(slots=True)
class _Terminal:
    pane_id: str
    noted: tuple[int, int] | None = None
    """Columns and rows, as they stand on disk."""
    busy: bool = False


class TerminalSizes:
    """The sizes of the terminals of runs under way.

    Parameters
    ----------
    tmux
        Their server.
    disk
        Where they are noted.
    worker
        Whose thread does that.
    """

    def __init__(self, tmux: TmuxServer, disk: TranscriptDisk, worker: Worker) -> None:
        self._tmux = tmux
        self._disk = disk
        self._worker = worker
        self._terminals: dict[str, _Terminal] = {}
        """By run id."""
        self._noting: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None

    def note(self, run_id: str, pane: Pane, size: tuple[int, int], offset: int | None = None) -> None:
        """Note the size of a run's terminal, from the byte `offset` of its output on, or from where it ends now."""
        terminal = self._terminals.get(run_id)
        if terminal is None:
            # A new one has the size that its metadata says.
            known = SIZE if offset == 0 else None
            terminal = self._terminals[run_id] = _Terminal(pane.pane_id, known)
        self._note(run_id, terminal, size, offset)

    def _note(self, run_id: str, terminal: _Terminal, size: tuple[int, int], offset: int | None = None) -> None:
        if size == terminal.noted or terminal.busy or self._worker.busy_for() > _BUSY:
            return
        terminal.busy = True
        task = asyncio.create_task(self._write(run_id, terminal, size, offset), name="size of a terminal")
        self._noting.add(task)
        task.add_done_callback(self._noting.discard)

    async def _write(self, run_id: str, terminal: _Terminal, size: tuple[int, int], offset: int | None) -> None:
        try:
            await self._worker.do(lambda: self._disk.resize(run_id, size, offset))
            terminal.noted = size
        except OSError as error:
            # The next look tries it again.
            log.debug("terminal_size_not_noted", run=run_id, reason=error.strerror)
        finally:
            terminal.busy = False

    def forget(self, run_id: str) -> None:
        """The run has ended."""
        self._terminals.pop(run_id, None)

    # -- while somebody is attached

    def start(self) -> None:
        """Begin to look whenever somebody attaches or leaves."""
        self._task = asyncio.create_task(self._follow_clients(), name="sizes of terminals")
        self._task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if not task.cancelled() and task.exception() is not None:
            log.error("terminal_sizes_not_watched", exc_info=task.exception())

    async def _follow_clients(self) -> None:
        while True:
            # The first time without being told: somebody may have attached before.
            await self._watch()
            await self._tmux.clients_changed.wait()

    async def _watch(self) -> None:
        """Look until nobody is attached any more."""
        changed = self._tmux.clients_changed
        sessions: set[str] = set()
        first, left = list(_FIRST), _AFTER
        while left or changed.is_set():
            if changed.is_set():
                changed.clear()
                first, left = list(_FIRST), _AFTER
            await asyncio.sleep(first.pop(0) if first else _PAUSE)
            try:
                attached = await self._tmux.list_attached()
                sessions |= attached
                if sessions:
                    sizes = await self._tmux.list_sizes(sessions)
                    for run_id, terminal in list(self._terminals.items()):
                        if terminal.pane_id in sizes:
                            self._note(run_id, terminal, sizes[terminal.pane_id])
            except (TmuxError, TmuxUnreachableError) as error:
                log.debug("terminal_sizes_not_seen", reason=str(error))
                return
            if attached:
                left = _AFTER
            elif not first:
                left -= 1

    async def close(self) -> None:
        """End."""
        for task in (self._task, *self._noting):
            if task is not None:
                task.cancel()
                await asyncio.wait([task])

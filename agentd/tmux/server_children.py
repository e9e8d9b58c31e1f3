"""The children of a tmux server: the processes in its panes, and those that read what panes print (``pipe-pane``)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import compress
from operator import not_
from typing import Final

import structlog

from agentd.process.identity import ProcessIdentity, ends_within, started_by
from agentd.process.proc import PROC, children_of, read_bytes

log = structlog.get_logger(__name__)

_LIMIT: Final = 1.0
"""Seconds for a child to end with its pipe or terminal; it needs milliseconds."""
_TERMINAL: Final = 4
"""The field of /proc/PID/stat, counted after the program's name, that is 0 without a terminal (proc_pid_stat(5))."""


@dataclass(frozen=True, slots=True)
class ServerChildren:
    """What a tmux server has started."""

    in_panes: tuple[ProcessIdentity, ...] = ()
    """The first process of each pane: it has a terminal."""
    readers: tuple[ProcessIdentity, ...] = ()
    """Those without one."""

    @classmethod
    def of(cls, server: int) -> ServerChildren:
        """List the children of a server that run now."""
        found = [process for process in map(ProcessIdentity.of, children_of(server)) if process is not None]
        terminals = [_has_terminal(process.pid) for process in found]
        return cls(tuple(compress(found, terminals)), tuple(compress(found, map(not_, terminals))))


def _has_terminal(pid: int) -> bool:
    fields = (read_bytes(f"{PROC}/{pid}/stat", 4096) or b"").rpartition(b")")[2].split()
    return len(fields) <= _TERMINAL or fields[_TERMINAL] != b"0"


async def ended_with_panes(processes: Iterable[ProcessIdentity]) -> None:
    """Wait for processes whose terminals were closed: the kernel hangs up on them, and a few may live on for long."""
    await asyncio.gather(*(ends_within(process, _LIMIT) for process in processes))


async def end_readers(readers: Iterable[ProcessIdentity], user: int) -> None:
    """Wait for readers whose pipes were closed; those that wait for a disk that does not answer are killed.

    They hold up everybody else who looks there, agentd's own end among them: the kernel lets one look at a folder at a
    time.

    Parameters
    ----------
    user
        Whom they belong to; nobody else's process is killed.
    """
    waiting = list(readers)
    ended = await asyncio.gather(*(ends_within(reader, _LIMIT) for reader in waiting))
    for reader, gone in zip(waiting, ended, strict=True):
        if not gone and reader.alive() and started_by(user, reader.pid):
            log.warning("pipe_reader_killed", pid=reader.pid, reason=f"it did not end within {_LIMIT:g} s of its pipe")
            with contextlib.suppress(ProcessLookupError):
                os.kill(reader.pid, signal.SIGKILL)

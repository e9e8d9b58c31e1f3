"""The processes that read what panes print, from pipes that tmux opened for them (``pipe-pane``)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterable
from typing import Final

import structlog

from agentd.process.identity import ProcessIdentity, ends_within, started_by
from agentd.process.proc import PROC, children_of, read_bytes

log = structlog.get_logger(__name__)

_LIMIT: Final = 1.0
"""Seconds for a reader to end with its pipe; it needs milliseconds."""
_TERMINAL: Final = 4
"""The field of /proc/PID/stat, counted after the program's name, that is 0 without a terminal (proc_pid_stat(5))."""


def pipe_readers(server: int) -> list[ProcessIdentity]:
    """List the children of a tmux server that have no terminal: each pane's process has one."""
    found = (ProcessIdentity.of(pid) for pid in children_of(server) if not _has_terminal(pid))
    return [process for process in found if process is not None]


def _has_terminal(pid: int) -> bool:
    fields = (read_bytes(f"{PROC}/{pid}/stat", 4096) or b"").rpartition(b")")[2].split()
    return len(fields) <= _TERMINAL or fields[_TERMINAL] != b"0"


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

"""Whether a run's own program listens on a port that the user chose: another one there is not talked to. Blocks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final

from agentd.process.proc import PROC, descendants, read_bytes

_TABLES: Final = ("tcp", "tcp6")
_LONGEST_TABLE: Final = 4 << 20
_LISTENS: Final = b"0A"
_ADDRESS, _STATE, _INODE = 1, 3, 9
"""Columns; source: proc(5)."""


def listens(pid: int, port: int) -> bool:
    """Whether a process, or one that descends from it, listens on a port of TCP, in our network."""
    links = {f"socket:[{inode}]" for inode in _listening(port)}
    return bool(links) and any(not links.isdisjoint(_opened(each)) for each in (pid, *descendants(pid)))


def _listening(port: int) -> Iterator[int]:
    """The sockets that listen on a port."""
    for table in _TABLES:
        for line in (read_bytes(f"{PROC}/net/{table}", _LONGEST_TABLE) or b"").splitlines()[1:]:
            columns = line.split()
            if columns[_STATE] == _LISTENS and int(columns[_ADDRESS].rpartition(b":")[2], 16) == port:
                yield int(columns[_INODE])


def _opened(pid: int) -> Iterator[str]:
    try:
        with os.scandir(f"{PROC}/{pid}/fd") as entries:
            links = [entry.path for entry in entries]
    except OSError:
        return
    for link in links:
        try:
            yield os.readlink(link)  # noqa: PTH115 (a path object costs more than the look)
        except OSError:
            continue

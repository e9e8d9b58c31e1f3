"""The measures of what is recorded, without agents: events to followers, and where reading a year of them begins."""

from __future__ import annotations

import contextlib
import random
import selectors
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from agentd.recording.journal.database import TOTAL_BYTES, JournalDatabase
from agentd.recording.journal.entry import entry_of
from benchmarks.effort import Effort
from benchmarks.machine import cpu_seconds, working_folder
from benchmarks.recorder import EVENT
from benchmarks.results import Result
from benchmarks.subject import PATIENCE, SubjectError

FOLLOWERS = 10
_YEAR = 365 * 86400.0
_FRAME = b"\ndata: "
_ROW = 65
"""Bytes that an event takes beside its JSON."""


class Recorded:
    """What needs no agents."""

    def __init__(self, effort: Effort) -> None:
        self._effort = effort

    def events(self) -> Iterator[Result]:
        """Many events at once, until the last of ten followers has the last one."""
        samples: dict[str, list[float]] = {"journal": [], "bare": []}
        used = 0.0
        for _ in range(self._effort.rounds):
            for kind, kept in samples.items():
                with _recorder(kind) as (process, path):
                    begun = cpu_seconds(process.pid)
                    kept.append(1e6 * _followed(process, path, self._effort.events) / self._effort.events)
                    used = cpu_seconds(process.pid) - begun if kind == "journal" else used
        rate = 1e6 / median(samples["journal"])
        note = (
            f"{rate:.0f} events a second to each of {FOLLOWERS} followers, {self._effort.events} at once; "
            f"the process used {used:.2f} s of CPU"
        )
        yield Result("events", 0, samples["journal"], samples["bare"], note)

    def journal(self) -> Iterator[Result]:
        """The first byte of what comes after any event of a year, and after the last one."""
        folder = working_folder()
        try:
            count = _year(folder / "journal")
            size = sum(path.stat().st_size for path in (folder / "journal").iterdir())
            with _recorder("journal", folder) as (_, path):
                found = [_first(path, random.randrange(1, count)) for _ in range(self._effort.commands * 5)]
                floor = [_first(path, count - 1) for _ in range(self._effort.commands * 5)]
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        yield Result("journal", 0, found, floor, f"{count} events in {size / 1e6:.0f} MB")


@contextlib.contextmanager
def _recorder(kind: str, folder: Path | None = None) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    where = working_folder()
    path = where / "api.sock"
    command = [sys.executable, "-m", "benchmarks.recorder", kind, str(path), str((folder or where) / "journal")]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
    try:
        _connect(path, process).close()
        yield process, path
    finally:
        process.kill()
        process.communicate()
        shutil.rmtree(where, ignore_errors=True)


def _connect(path: Path, process: subprocess.Popen[bytes] | None = None) -> socket.socket:
    until = time.perf_counter() + PATIENCE
    while True:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(PATIENCE)
        try:
            connection.connect(str(path))
            return connection
        except OSError:
            connection.close()
            if process is None or process.poll() is not None or time.perf_counter() > until:
                raise
            time.sleep(0.01)


def _followed(process: subprocess.Popen[bytes], path: Path, count: int) -> float:
    """Seconds from the first event until every follower has all of them."""
    with contextlib.ExitStack() as stack:
        waiting = selectors.DefaultSelector()
        left: dict[int, int] = {}
        for _ in range(FOLLOWERS):
            connection = stack.enter_context(_connect(path))
            connection.sendall(b"GET /v1/events?follow=1&since=0 HTTP/1.0\r\n\r\n")
            while b"retry" not in connection.recv(4096):
                pass
            waiting.register(connection, selectors.EVENT_READ, connection)
            left[connection.fileno()] = count
        begun = time.perf_counter()
        assert process.stdin is not None
        process.stdin.write(b"%d\n" % count)
        process.stdin.flush()
        # What stands at the end of one part and the beginning of the next is found too.
        ends = dict.fromkeys(left, b"")
        while any(left.values()):
            ready = waiting.select(PATIENCE)
            if not ready:
                raise SubjectError(f"followers still wait for {sum(left.values())} events")
            for key, _ in ready:
                part = ends[key.fd] + key.data.recv(1 << 18)
                left[key.fd] -= part.count(_FRAME)
                ends[key.fd] = part[-(len(_FRAME) - 1) :]
        return time.perf_counter() - begun


def _first(path: Path, since: int) -> float:
    """Milliseconds from a request to the first event."""
    with _connect(path) as connection:
        begun = time.perf_counter()
        connection.sendall(b"GET /v1/events?limit=1&since=%d HTTP/1.0\r\n\r\n" % since)
        answer = b""
        while b'"seq"' not in answer:
            part = connection.recv(4096)
            if not part:
                raise SubjectError(f"expected an event after {since}, found {answer[-200:]!r}")
            answer += part
        seconds = time.perf_counter() - begun
    if b'"seq":%d,' % (since + 1) not in answer:
        raise SubjectError(f"expected event {since + 1}, found {answer[-200:]!r}")
    return 1000 * seconds


def _year(folder: Path) -> int:
    """Write as many events as are kept, as if they had happened over a year; returns how many."""
    count = TOTAL_BYTES // 10 * 9 // (len(entry_of(100_000, 0.0, EVENT).body) + _ROW)
    database, begun = JournalDatabase(folder), time.time() - _YEAR
    for first in range(1, count, 1000):
        last = min(first + 1000, count + 1)
        database.append([entry_of(seq, begun + seq * _YEAR / count, EVENT) for seq in range(first, last)])
    database.close()
    return count

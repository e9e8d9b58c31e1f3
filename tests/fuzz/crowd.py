"""Clients of the API that mean no good, and what a well-behaved one notices of them."""

from __future__ import annotations

import contextlib
import resource
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from tests.support.daemon import UnixConnection
from tests.support.waiting import wait_for

HALF_A_HEADER = b"GET /v1/agents HTTP/1.1\r\nHost: a\r\nX-Slow: "
HALF_A_BODY = b"POST /v1/agents HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n{"
MORE_THAN_IS_READ = 20 * b"GET /v1/openapi.json HTTP/1.1\r\nHost: a\r\n\r\n"
"""Asks for 400 KB, twice what a socket's buffer takes."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds of single requests, each on a connection of its own."""

    samples: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    @property
    def worst(self) -> float:
        return max(self.samples)

    def __str__(self) -> str:
        return f"median {self.median:.1f} ms, worst {self.worst:.1f} ms of {len(self.samples)}"


def latency(api: Path, number: int) -> Latency:
    """Ask for the daemon's health that many times."""
    return Latency(tuple(_asked(api) for _ in range(number)))


def _asked(path: Path) -> float:
    asked = time.perf_counter()
    with contextlib.closing(UnixConnection(path, timeout=30)) as connection:
        connection.request("GET", "/v1/health")
        answer = connection.getresponse()
        answer.read()
    assert answer.status == HTTPStatus.OK
    return 1000 * (time.perf_counter() - asked)


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        return client.connect_ex(str(path)) == 0


@contextlib.contextmanager
def bare_server(path: Path, body: bytes) -> Iterator[Path]:
    """Run a server of its own that gives everybody these bytes."""
    content = path.with_name("body")
    content.write_bytes(body)
    with subprocess.Popen([sys.executable, "-m", "benchmarks.echo", path, content]) as server:
        try:
            wait_for(lambda: _listens(path), 10.0, what="the bare server listens")
            yield path
        finally:
            server.kill()


def room_for(files: int) -> bool:
    """Make room for that many open files, if the system lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < files:
        return False
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, files), hard))
    return True


@contextlib.contextmanager
def clients(path: Path, number: int, says: bytes = b"") -> Iterator[list[socket.socket]]:
    """Open connections, say something on each, and neither go on nor read."""
    with contextlib.ExitStack() as stack:
        opened = []
        for _ in range(number):
            client = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            client.connect(str(path))  # without a time limit, which would make it refuse where the queue is full
            # The daemon has hung up on those that are too many.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError, BlockingIOError):
                client.setblocking(False)
                client.send(says)
            opened.append(client)
        yield opened

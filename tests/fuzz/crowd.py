"""Clients of the API that mean no good, and what a well-behaved one notices of them."""

from __future__ import annotations

import contextlib
import resource
import socket
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.daemon import Daemon

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

    @property
    def most(self) -> float:
        """What nine of ten stay below."""
        return statistics.quantiles(self.samples, n=10)[-1]

    def __str__(self) -> str:
        return f"median {self.median:.1f} ms, most {self.most:.1f} ms, worst {self.worst:.1f} ms of {len(self.samples)}"


def latency(daemon: Daemon, number: int) -> Latency:
    """Ask for the daemon's health that many times."""
    samples = []
    for _ in range(number):
        asked = time.perf_counter()
        daemon.health()
        samples.append(1000 * (time.perf_counter() - asked))
    return Latency(tuple(samples))


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

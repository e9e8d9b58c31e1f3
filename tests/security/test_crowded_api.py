"""Clients that are slow, many and greedy: administrators are answered, agents restarted, and little is held."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import psutil
import pytest

from tests.fuzz.crowd import HALF_A_HEADER, clients, latency
from tests.support.agents import jcard
from tests.support.daemon import Daemon

SLOWEST = 1000.0
"""Milliseconds that an administrator waits for an answer at most."""
MOST_FILES = 600
"""512 connections, and the daemon's own."""
MOST_GROWN = 512e6
"""Refused headers of 1 MiB cost most, up to 350 MB until their garbage is collected; the others 10 MB."""
SECONDS = 0.7
HEALTH = b"GET /v1/health HTTP/1.1\r\nHost: a\r\n\r\n"
PIPELINED = 1000


@contextlib.contextmanager
def byte_by_byte(path: Path) -> Iterator[None]:
    """300 clients that each go on with a header that never ends."""
    over = threading.Event()
    with clients(path, 300, HALF_A_HEADER) as slow:

        def trickle() -> None:
            while not over.wait(0.005):
                for client in slow:
                    with contextlib.suppress(OSError):
                        client.send(b"x")

        thread = threading.Thread(target=trickle)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


@contextlib.contextmanager
def half_open(path: Path) -> Iterator[None]:
    """400 clients that say no more, half of them in the middle of a request, and do not hang up."""
    with clients(path, 200) as silent, clients(path, 200, HALF_A_HEADER) as half:
        for client in (*silent, *half):
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_WR)
        yield


@contextlib.contextmanager
def large_headers(path: Path) -> Iterator[None]:
    """20 clients that send 1 MiB of headers again and again: one header, and many."""
    over = threading.Event()
    one, many = b"X: " + (b"x" * (1 << 20)), b"X-Header: value\r\n" * (1 << 16)

    def send(headers: bytes) -> None:
        while not over.is_set():
            with socket.socket(socket.AF_UNIX) as client, contextlib.suppress(OSError):
                client.settimeout(5)
                client.connect(str(path))
                client.sendall(b"GET /v1/health HTTP/1.1\r\n" + headers)
                client.recv(65536)

    threads = [threading.Thread(target=send, args=(headers,)) for headers in (one, many) for _ in range(10)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


@contextlib.contextmanager
def pipelined(path: Path) -> Iterator[None]:
    """20 clients that ask 1000 times at once, and read nothing."""
    with clients(path, 20, PIPELINED * HEALTH):
        yield


@contextlib.contextmanager
def followers(path: Path) -> Iterator[None]:
    """1000 clients that follow events and a log that grows, and read nothing."""
    events = b"GET /v1/events?follow=1&since=0 HTTP/1.1\r\nHost: a\r\n\r\n"
    log = b"GET /v1/agents/talks/log?follow=1&raw=1 HTTP/1.1\r\nHost: a\r\n\r\n"
    with clients(path, 500, events), clients(path, 500, log):
        yield


@pytest.fixture
def busy(daemon: Daemon) -> Daemon:
    """A daemon with an agent that prints a lot and one that ends again and again."""
    daemon.write_jcard(
        jcard(
            {"name": "talks", "command": ["sh", "-c", "yes words | head -c 1000000; exec sleep 600"]},
            {"name": "ends", "command": ["sleep", "0.05"], "restart": "always", "restart_delay": "50ms"},
        )
    )
    daemon.start()
    daemon.wait_state("talks", "running")
    daemon.wait_for(lambda: daemon.agents()["ends"]["restarts"] > 0)
    return daemon


@pytest.mark.parametrize("attack", [byte_by_byte, half_open, large_headers, pipelined, followers])
def test_an_administrator_is_answered_and_agents_are_restarted_meanwhile(
    busy: Daemon, attack: Callable[[Path], AbstractContextManager[None]], record_property: Callable[[str, object], None]
) -> None:
    process = psutil.Process(busy.pid)
    files, memory = process.num_fds(), process.memory_info().rss
    most_files = most_memory = 0
    worst = 0.0
    with attack(busy.api_socket):
        restarts = busy.agents()["ends"]["restarts"]
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            worst = max(worst, latency(busy.api_socket, 5).worst)
            most_files = max(most_files, process.num_fds())
            most_memory = max(most_memory, process.memory_info().rss)
        busy.wait_for(lambda: busy.agents()["ends"]["restarts"] > restarts, what="an agent is restarted meanwhile")
    figures = f"GET {worst:.0f} ms, {files} -> {most_files} files, +{(most_memory - memory) / 1e6:.1f} MB"
    record_property("figures", figures)
    print(figures)  # noqa: T201 (shown with -s)
    assert worst < SLOWEST, figures
    assert most_files < MOST_FILES, figures
    assert most_memory - memory < MOST_GROWN, figures
    # A restart may be under way: a few descriptors come and go.
    busy.wait_for(lambda: process.num_fds() <= files + 10, what="the daemon has let go of the connections")


def test_a_thousand_requests_at_once_are_all_answered(busy: Daemon) -> None:
    last = HEALTH.replace(b"Host", b"Connection: close\r\nHost")
    answers = bytearray()
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(3)
        client.connect(str(busy.api_socket))
        client.sendall((PIPELINED - 1) * HEALTH + last)
        with contextlib.suppress(TimeoutError):
            while part := client.recv(1 << 20):
                answers += part
    assert answers.count(b"HTTP/1.1 200 OK") == PIPELINED

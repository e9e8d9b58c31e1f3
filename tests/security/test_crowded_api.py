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
from tests.support.effort import full_effort

pytestmark = pytest.mark.crowd

SLOWEST = 1000.0
"""Milliseconds that an administrator waits for an answer at most."""
MOST_FILES = 600
"""512 connections, and the daemon's own."""
MOST_GROWN = 50e6
"""Bytes. Measured: 34 MB for more than a stream, 25 MB for other protocols, 10 MB and less for the others."""
SECONDS = 1.0 if full_effort() else 0.3
"""How long each attack goes on; both cores are busy with it. What it can make the daemon hold, it holds after 0.2 s."""
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


def _pushed(path: Path, says: bytes, after: bytes = b"") -> AbstractContextManager[None]:
    """500 clients that say as much of this as is taken of it, after an answer to what they said first."""

    @contextlib.contextmanager
    def push() -> Iterator[None]:
        over = threading.Event()
        with clients(path, 500, after) as greedy:
            for client in greedy if after else ():
                client.settimeout(30)
                assert client.recv(1)
                client.setblocking(False)

            def go_on() -> None:
                said = dict.fromkeys(greedy, 0)
                while said and not over.is_set():
                    for client, start in list(said.items()):
                        try:
                            said[client] += client.send(says[start : start + (64 << 10)])
                        except BlockingIOError:
                            continue
                        except OSError:
                            del said[client]

            thread = threading.Thread(target=go_on)
            thread.start()
            try:
                yield
            finally:
                over.set()
                thread.join()

    return push()


def endless_headers(path: Path) -> AbstractContextManager[None]:
    """500 clients with a megabyte of headers each, all of which are valid, and no end."""
    headers = b"".join(b"X%d: %s\r\n" % (number, b"x" * 8000) for number in range(126))
    return _pushed(path, b"GET /v1/health HTTP/1.1\r\nHost: a\r\n" + headers)


def large_bodies(path: Path) -> AbstractContextManager[None]:
    """500 clients that each send bodies which nobody reads."""
    return _pushed(path, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n" + bytes(1 << 20))


def more_than_a_stream(path: Path) -> AbstractContextManager[None]:
    """500 clients that follow events, as far as they may, and then say what is no request."""
    return _pushed(path, bytes(1 << 20), after=b"GET /v1/events?follow=1&since=0 HTTP/1.1\r\nHost: a\r\n\r\n")


def other_protocols(path: Path) -> AbstractContextManager[None]:
    """500 clients that would speak another protocol, and begin with it at once."""
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    return _pushed(path, b"GET /v1/events?follow=1 HTTP/1.1\r\nHost: a\r\n" + upgrade + bytes(1 << 20))


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


ATTACKS = [
    byte_by_byte,
    half_open,
    large_headers,
    endless_headers,
    large_bodies,
    more_than_a_stream,
    other_protocols,
    pipelined,
    followers,
]


@pytest.mark.parametrize("attack", ATTACKS)
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

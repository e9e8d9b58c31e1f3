"""What a daemon that stays for months holds on to."""

from __future__ import annotations

import socket

import psutil
import pytest

from tests.support.daemon import Daemon

_CONNECTIONS = 4000
"""A closed connection is a cycle of 1.4 kB: 5.6 MB, if nothing looked for cycles."""
_ALLOWED = 2.5e6


def ask(daemon: Daemon) -> None:
    """Make one request on a connection of its own, in a fifth of the time that an HTTP client takes."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(daemon.api_socket))
        client.sendall(b"GET /v1/health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        answer = b""
        while part := client.recv(65536):
            answer += part
    assert answer.startswith(b"HTTP/1.1 200 ")


@pytest.mark.crowd
def test_those_who_ask_leave_little_behind(daemon: Daemon) -> None:
    daemon.start()
    for _ in range(200):
        ask(daemon)
    process = psutil.Process(daemon.pid)
    before = process.memory_info().rss
    for _ in range(_CONNECTIONS):
        ask(daemon)
    assert process.memory_info().rss - before < _ALLOWED

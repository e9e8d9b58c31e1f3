"""agentctl's reading of the socket."""

from __future__ import annotations

import socket
import subprocess

import psutil
import pytest

from tests.cli.support import Client
from tests.support.waiting import wait_for

ANSWER = b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n[]"


def test_a_full_queue_in_front_of_the_daemon_is_waited_for(client: Client) -> None:
    """As many agentctl at once see it."""
    with socket.socket(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX) as before_us:
        listening.bind(str(client.api_socket))
        listening.listen(0)
        before_us.connect(str(client.api_socket))
        asking = client.start("list", "--json")
        wait_for(lambda: asking.poll() is not None or psutil.Process(asking.pid).net_connections("unix"))
        with pytest.raises(subprocess.TimeoutExpired):
            asking.wait(0.2)
        listening.settimeout(30)
        listening.accept()[0].close()
        ours, _ = listening.accept()
        with ours:
            ours.recv(4096)
            ours.sendall(ANSWER)
        out, err = asking.communicate(timeout=30)
        assert (asking.returncode, out, err) == (0, "[]\n", "")

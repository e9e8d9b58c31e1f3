"""Transcripts of runs whose terminal got another size because somebody attached: nothing of them is lost."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from typing import Any

from tests.daemon.support import running, start
from tests.support.daemon import Daemon

DRAWS = """
import shutil, signal, sys, time
def draw(*_):
    columns, rows = shutil.get_terminal_size()
    sys.stdout.write("\\x1b[2J\\x1b[H" + "\\r\\n".join(f"{columns}x{rows} row {row}" for row in range(1, rows + 1)))
    sys.stdout.flush()
signal.signal(signal.SIGWINCH, draw)
draw()
while True:
    time.sleep(60)
"""


@contextlib.contextmanager
def attached(daemon: Daemon, session: str, columns: int, rows: int) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """Attach a terminal of this size; gives its descriptor and the client."""
    ours, theirs = pty.openpty()
    resize(theirs, columns, rows)
    argv = ["tmux", "-S", str(daemon.tmux_socket), "attach-session", "-t", f"={session}"]
    client = subprocess.Popen(
        argv, stdin=theirs, stdout=theirs, stderr=theirs, env={**os.environ, "TERM": "xterm"}, start_new_session=True
    )

    def drain() -> None:
        with contextlib.suppress(OSError):
            while os.read(ours, 65536):
                pass

    reader = threading.Thread(target=drain)
    reader.start()
    try:
        yield theirs, client
    finally:
        client.terminate()
        client.wait(timeout=30)
        os.close(theirs)
        reader.join(30)
        os.close(ours)


def resize(terminal: int, columns: int, rows: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def sizes(daemon: Daemon) -> list[dict[str, Any]]:
    runs: Any = daemon.get("/v1/agents/a/runs")
    found: list[dict[str, Any]] = runs[0]["sizes"]
    return found


def log(daemon: Daemon) -> list[str]:
    return daemon.request("GET", "/v1/agents/a/log").body.decode().splitlines()


def test_every_row_is_read_after_somebody_attached_from_terminals_of_other_sizes(daemon: Daemon) -> None:
    python = [sys.executable, "-I", "-S", "-c", DRAWS]
    start(daemon, {"name": "a", "command": python, "workdir": "work"})
    running(daemon, "a")
    daemon.wait_for(lambda: "200x50 row 50" in daemon.screen("a"))
    with attached(daemon, "a", 90, 71) as (terminal, client):
        # tmux takes a row for its status line.
        daemon.wait_for(lambda: "90x70 row 70" in daemon.screen("a"))
        daemon.wait_for(lambda: [(size["columns"], size["rows"]) for size in sizes(daemon)][-1:] == [(90, 70)])
        resize(terminal, 60, 31)
        client.send_signal(signal.SIGWINCH)
        daemon.wait_for(lambda: "60x30 row 30" in daemon.screen("a"))
        daemon.wait_for(lambda: [(size["columns"], size["rows"]) for size in sizes(daemon)][-1:] == [(60, 30)])
    lines = log(daemon)
    for columns, rows in ((200, 50), (90, 70), (60, 30)):
        shown = [line for line in lines if line.startswith(f"{columns}x{rows} ")]
        assert shown == [f"{columns}x{rows} row {row}" for row in range(1, rows + 1)]

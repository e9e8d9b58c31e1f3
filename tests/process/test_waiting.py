"""Whether a program waits for input at its terminal, by programs of every kind on a real one."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentd.process.waiting import waits_for_input
from tests.support.waiting import wait_for

PYTHON = (sys.executable, "-I", "-S", "-c")

READERS = {
    "read": ("cat",),
    "a shell": ("sh", "-c", "read line"),
    "below a shell": ("sh", "-c", "cat; :"),
    "select": (*PYTHON, "import select; select.select([0], [], [])"),
    "poll": (*PYTHON, "import select; p = select.poll(); p.register(0); p.register(0, select.POLLIN); p.poll()"),
    "epoll": (*PYTHON, "import select; e = select.epoll(); e.register(0, select.EPOLLIN); e.poll()"),
    "a thread": (*PYTHON, "import threading; t = threading.Thread(target=input); t.start(); t.join()"),
    "the terminal by its name": (*PYTHON, "open('/dev/tty').read()"),
}

OTHERS = {
    "sleeps": "time.sleep(1000)",
    "sleeps by select": "select.select([], [], [], 1000)",
    "runs": "[None for _ in iter(int, 1)]",
    "waits for a program": "subprocess.run(['sleep', '1000'])",
    "reads a pipe": "os.read(os.pipe()[0], 1)",
    "waits for a pipe by epoll": "e = select.epoll(); e.register(os.pipe()[0], select.EPOLLIN); e.poll()",
    "waits for a pipe by poll": "p = select.poll(); p.register(os.pipe()[0]); p.poll()",
    "reads a program": "subprocess.run(['sleep', '1000'], stdin=subprocess.DEVNULL, capture_output=True)",
    "serves": "s = socket.socket(); s.bind((HOST, 0)); s.listen(); s.accept()",
    "reads a connection": "s = socket.create_server((HOST, 0)); socket.create_connection(s.getsockname()).recv(1)",
}


@contextlib.contextmanager
def on_a_terminal(*command: str) -> Iterator[tuple[subprocess.Popen[bytes], Path, int]]:
    outer, inner = pty.openpty()
    process = subprocess.Popen(
        ["setsid", "--ctty", *command], stdin=inner, stdout=inner, stderr=inner, start_new_session=False
    )
    path = Path(os.ttyname(inner))
    os.close(inner)
    try:
        yield process, path, outer
    finally:
        # With what it started, which where hang-ups are ignored does not end with its terminal.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.wait()
        os.close(outer)


@pytest.mark.parametrize("command", READERS.values(), ids=READERS.keys())
def test_a_program_that_waits_for_input_does(command: tuple[str, ...]) -> None:
    with on_a_terminal(*command) as (process, terminal, _):
        wait_for(lambda: waits_for_input(process.pid, terminal) is True, what="it waits")


@pytest.mark.parametrize("code", OTHERS.values(), ids=OTHERS.keys())
def test_a_program_that_does_something_else_does_not(code: str) -> None:
    said = f"import os, select, socket, subprocess, time; HOST = '127.0.0.1'; print('go', flush=True); {code}"
    with on_a_terminal(*PYTHON, said) as (process, terminal, outer):
        assert os.read(outer, 2) == b"go"
        wait_for(lambda: waits_for_input(process.pid, terminal) is False, what="it is seen not to wait")
        assert all(waits_for_input(process.pid, terminal) is not True for _ in range(20))


def test_of_a_program_that_has_ended_or_is_elsewhere_nothing_is_known() -> None:
    with on_a_terminal("cat") as (_, terminal, _outer), on_a_terminal("cat") as (other, _other, _others):
        assert waits_for_input(other.pid, terminal) is None
        ended = subprocess.Popen(["true"])
        ended.wait()
        assert waits_for_input(ended.pid, terminal) is None

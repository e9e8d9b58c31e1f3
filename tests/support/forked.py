"""Starting ``agentd`` and ``agentctl`` as forks of a process that has imported them already (`fork_server`)."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

import pytest

from tests.support import fork_server
from tests.support.daemon import Launch, Running, launch_program
from tests.support.fork_server import PADDING, ROOM_FOR_ENVIRONMENT, Request

ONLY_PROGRAMS = os.environ.get("AGENTD_TEST_START") == "program"
"""Whether the tests start every agentd and agentctl as the program that a user starts."""

WITH_THE_PROGRAM = ("examples", "harness", "systemd")
"""Folders whose tests start agentd as the program it is; others do with the marker ``program``."""

_READ_AT_START = ("LANG", "LC_", "PYTHON")
"""Beginnings of the variables that the interpreter looks at before it runs anything."""


class ForkedProcess:
    """A run in a fork: the part of ``subprocess.Popen`` that the tests use."""

    def __init__(self, pid: int, status: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._status = status

    def poll(self) -> int | None:
        """Give the exit status, negative for a signal, if it has ended."""
        return self._ended(0)

    def wait(self, timeout: float | None = None, /) -> int:
        """Wait for the exit status.

        Raises
        ------
        subprocess.TimeoutExpired
            When it runs on.
        """
        status = self._ended(timeout)
        if status is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired(f"fork {self.pid}", timeout)
        return status

    def send_signal(self, number: int, /) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def _ended(self, timeout: float | None) -> int | None:
        if self.returncode is None and self._told(timeout):
            told = os.read(self._status, 32)
            os.close(self._status)
            assert told, f"the fork server died before the end of its child {self.pid}"
            self.returncode = int(told)
        return self.returncode

    def _told(self, timeout: float | None) -> bool:
        # Not select(), which refuses numbers above 1023.
        poll = select.poll()
        poll.register(self._status, select.POLLIN)
        return bool(poll.poll(None if timeout is None else max(0.0, timeout) * 1000))

    def __del__(self) -> None:
        """Close the pipe of a run that nobody waited for."""
        if self.returncode is None:
            os.close(self._status)


class ForkServer:
    """A process that has imported one command; it is started with the first run and lives until :meth:`close`.

    The processes that run tests beside each other share those of the process that started them (:meth:`share`): each
    would import everything once more.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._one_at_a_time = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._requests: socket.socket | None = None
        self._shared: Path | None = None
        self._read_at_start: dict[str, str] = {}

    def can_start(self, env: Mapping[str, str]) -> bool:
        """Whether a fork can be what the program would be with this environment."""
        return _read_at_start(env) == (self._read_at_start if self._requests else _read_at_start(os.environ))

    def start(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path,
        stdin: IO[bytes],
        stdout: IO[bytes],
        stderr: IO[bytes],
        new_session: bool = False,
    ) -> ForkedProcess:
        """Run the command in a fork; ``argv[0]`` is only its name."""
        umask = os.umask(0)
        os.umask(umask)
        request: Request = {
            "argv": list(argv),
            "env": dict(env),
            "cwd": str(cwd),
            "umask": umask,
            "new_session": new_session,
        }
        with self._one_at_a_time, tempfile.TemporaryFile() as file:
            requests = self._requests or self._begin()
            file.write(json.dumps(request).encode())
            file.seek(0)
            reading, writing = os.pipe()
            streams = [stream.fileno() for stream in (stdin, stdout, stderr)]
            socket.send_fds(requests, [b"x"], [file.fileno(), *streams, writing])
            os.close(writing)
            answer = requests.recv(32)
            assert answer, f"the fork server of {self.name} died"
            return ForkedProcess(int(answer), reading)

    def share(self, folder: Path) -> None:
        """Start it, for others who connect to the socket in this folder."""
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(folder / self.name))
            listening.listen()
            self._start(listening.fileno())

    def use_shared(self, folder: Path) -> None:
        """Use the one that another process shares in this folder."""
        self._shared = folder / self.name

    def _begin(self) -> socket.socket:
        if self._shared is None:
            return self._start()
        self._read_at_start = _read_at_start(os.environ)
        self._requests = socket.socket(socket.AF_UNIX)
        self._requests.connect(str(self._shared))
        return self._requests

    def _start(self, *listening: int) -> socket.socket:
        ours, theirs = socket.socketpair()
        self._read_at_start = _read_at_start(os.environ)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", fork_server.__file__, self.name, *map(str, listening)],
                stdin=theirs.fileno(),
                pass_fds=listening,
                env={**os.environ, PADDING: "x" * ROOM_FOR_ENVIRONMENT},
                start_new_session=True,
            )
        self._requests = ours
        return ours

    def close(self) -> None:
        """End the server; what runs in forks of it runs on."""
        if self._requests is not None:
            self._requests.close()
        if self._process is not None:
            assert self._process.wait(30) == 0
        self._process = self._requests = None


AGENTD, AGENTCTL, GATEWAY = ForkServer("agentd"), ForkServer("agentctl"), ForkServer("agentd-gateway")
"""Those of this process; the end of the session closes them."""
SERVERS = (AGENTD, AGENTCTL, GATEWAY)


def launch_of(request: pytest.FixtureRequest) -> Launch:
    """How the test that asks, or the tests of the module that asks, start agentd."""
    here = Path(__file__).parents[1]
    with_the_program = any(request.path.is_relative_to(here / each) for each in WITH_THE_PROGRAM)
    if ONLY_PROGRAMS or with_the_program or request.node.get_closest_marker("program"):
        return launch_program
    return launch_fork


def launch_fork(argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: IO[bytes]) -> Running:
    """Start agentd or agentd-gateway as a fork, or as the program where the environment means something to Python."""
    server = GATEWAY if Path(argv[0]).name == GATEWAY.name else AGENTD
    if not server.can_start(env):
        return launch_program(argv, env=env, cwd=cwd, log=log)
    with Path(os.devnull).open("rb") as nothing:
        return server.start(argv, env=env, cwd=cwd, stdin=nothing, stdout=log, stderr=log, new_session=True)


def run_agentctl(
    argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, timeout: float, given: bytes = b""
) -> subprocess.CompletedProcess[str]:
    """Run agentctl to its end, as ``subprocess.run`` would, away from a terminal.

    Raises
    ------
    subprocess.TimeoutExpired
        When it had to be killed.
    """
    return _run(AGENTCTL, argv, env=env, cwd=cwd, timeout=timeout, given=given)


def run_agentd(
    argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, timeout: float
) -> subprocess.CompletedProcess[str]:
    """Run an agentd that ends by itself, such as ``agentd --check``; else as `run_agentctl`.

    Raises
    ------
    subprocess.TimeoutExpired
        When it had to be killed.
    """
    return _run(AGENTD, argv, env=env, cwd=cwd, timeout=timeout, given=b"")


def _run(
    server: ForkServer, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, timeout: float, given: bytes
) -> subprocess.CompletedProcess[str]:
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        stdin.write(given)
        stdin.seek(0)
        process: Running
        if ONLY_PROGRAMS or not server.can_start(env):
            process = subprocess.Popen(argv, env=env, cwd=cwd, stdin=stdin, stdout=out, stderr=err)
        else:
            process = server.start(argv, env=env, cwd=cwd, stdin=stdin, stdout=out, stderr=err)
        try:
            status = process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(argv, status, out.read().decode(), err.read().decode())


def _read_at_start(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if name.startswith(_READ_AT_START)}

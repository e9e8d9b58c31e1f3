"""The raw floor: a bare control-mode loop that makes the same sessions with the same sh launcher and nothing else.

No files are parsed, nothing is watched, recorded or served: what remains is tmux, the shells and one ``write`` for
each script. Whatever supervises agents in tmux sessions can hardly start them faster on this machine.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from agentd.launch.launcher import HINTS, LaunchScript, render
from agentd.launch.rundir import CLOSING
from benchmarks.machine import children, cpu_seconds, exists
from benchmarks.rollcall import Report, RollCall
from benchmarks.subject import Costs, shell_seconds

DEPTH = 16
"""Commands under way at once: 1 costs tmux almost twice the CPU; 64 and 200 cost it what 16 does."""

PATIENCE = 120.0

_ANCHOR = "floor"
_AND = " ; "
"""Between the commands of one line, each of which is answered."""
_SETTINGS = (
    "refresh-client -f no-output",
    "set-option -s exit-empty off",
    "set-option -g history-limit 50000",
    "set-option -g default-size 200x50",
    "set-option -g automatic-rename off",
)
"""As agentd has them, so that the sessions are the same."""


class FloorError(RuntimeError):
    """tmux refused, or ended."""


class Floor:
    """A tmux server of its own, driven by one blocking control-mode client.

    Parameters
    ----------
    folder
        Holds the socket and the launch scripts; its path must be short.
    environment
        Of each agent: what agentd gives it.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str], roll: RollCall) -> None:
        self._folder = folder
        self._environment = environment
        self._roll = roll
        self._runs = folder / "runs"
        self._runs.mkdir()
        self._socket = folder / "floor.sock"
        os.mkfifo(self._runs / HINTS)
        # Open for as long as the floor runs, so that a launcher's hint is a line in a pipe, as with agentd.
        self._hints = os.open(self._runs / HINTS, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._partial = b""
        self.reports: dict[str, Report] = {}
        self.server_pid = 0
        self._client = subprocess.Popen(
            ["tmux", "-u", "-S", self._socket, "-f", "/dev/null", "-C", "new-session", "-s", _ANCHOR, "cat", "-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            bufsize=0,
        )

    def open(self) -> None:
        """Wait for the server and set it up."""
        self._answers()
        self._pipeline(_SETTINGS)
        self._send("display-message -p '#{pid}'")
        self.server_pid = int(self._answers()[1][0])

    @property
    def pids(self) -> tuple[int, int]:
        """Of the server and the control client."""
        return self.server_pid, self._client.pid

    # -- the control connection

    def _send(self, command: str) -> None:
        assert self._client.stdin is not None
        self._client.stdin.write(command.encode() + b"\n")

    def _answers(self) -> tuple[int, list[bytes]]:
        """Read until a command is answered; how many were by then, and the lines of their output."""
        assert self._client.stdout is not None
        answered, output = 0, list[bytes]()
        while not answered:
            data = os.read(self._client.stdout.fileno(), 1 << 16)
            if not data:
                raise FloorError("tmux closed the control connection")
            *lines, self._partial = (self._partial + data).split(b"\n")
            for line in lines:
                if line.startswith(b"%error"):
                    raise FloorError(b"\n".join(output).decode())
                if line.startswith(b"%end"):
                    answered += 1
                elif not line.startswith(b"%"):
                    output.append(line)
        return answered, output

    def _pipeline(self, commands: Iterable[str]) -> None:
        under_way = 0
        for command in commands:
            self._send(command)
            under_way += 1 + command.count(_AND)
            if under_way >= DEPTH:
                under_way -= self._answers()[0]
        while under_way:
            under_way -= self._answers()[0]

    # -- agents

    def _creations(self, names: Sequence[str], *, recorded: bool) -> Iterator[str]:
        for name in names:
            run_id = secrets.token_hex(8)
            environment = {**self._environment, "AGENTD_AGENT": name, "AGENTD_RUN_ID": run_id}
            script = render(LaunchScript(name, run_id, self._roll.command, environment, str(self._folder)), self._runs)
            path = f"{self._runs}/{run_id}.sh"
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            os.write(descriptor, script)
            os.close(descriptor)
            create = f"new-session -d -s {name} -n {name} -c {self._folder} /bin/sh {path}"
            writer = f"umask 077; exec split -b 1048576 -a 6 --numeric-suffixes=0 - {self._runs}/{run_id}."
            yield f"{create}{_AND}pipe-pane -O -t ={name}: '{writer}'" if recorded else create

    def launch(self, names: Sequence[str], *, recorded: bool = False) -> float:
        """Seconds until that many more agents run."""
        begun = time.perf_counter()
        self._pipeline(self._creations(names, recorded=recorded))
        reports = self._roll.wait(len(names), PATIENCE)
        self.reports |= {report.name: report for report in reports}
        return max(report.seen for report in reports) - begun

    def start(self, count: int, *, recorded: bool = False) -> tuple[float, Costs]:
        """Seconds from nothing to that many agents running, and what they cost.

        Where they are `recorded`, what each one prints goes into a file by the program that agentd uses for it too.
        """
        own, server = _own_cpu_seconds(), cpu_seconds(self.server_pid)
        seconds = self.launch([f"floor-{number}" for number in range(count)], recorded=recorded)
        costs = Costs(
            _own_cpu_seconds() - own, cpu_seconds(self.server_pid) - server, shell_seconds(self.reports.values())
        )
        return seconds, costs

    def stop(self) -> float:
        """Type C-c for every agent and close the server; seconds until nothing is left."""
        pids = [self.server_pid, *(report.pid for report in self.reports.values())]
        (self._runs / CLOSING).touch()
        self._read_hints()
        begun = time.perf_counter()
        self._pipeline(f"send-keys -t ={name}: C-c" for name in self.reports)
        ended = 0
        while ended < len(self.reports):
            if not select.select([self._hints], [], [], PATIENCE)[0]:
                raise FloorError(f"{len(self.reports) - ended} agents did not end after C-c")
            ended += self._read_hints()
        self._send("kill-server")
        self._client.wait()
        while any(map(exists, pids)):
            time.sleep(0.002)
        self.reports.clear()
        return time.perf_counter() - begun

    def _read_hints(self) -> int:
        with contextlib.suppress(BlockingIOError):
            return os.read(self._hints, 1 << 16).count(b"\n")
        return 0

    def close(self) -> None:
        """End everything that is left."""
        left = [report.pid for report in self.reports.values()]
        if self.server_pid and exists(self.server_pid):
            left += [self.server_pid, *children(self.server_pid)]
        if self._socket.exists():
            subprocess.run(["tmux", "-S", self._socket, "kill-server"], check=False, capture_output=True)
        self._client.kill()
        self._client.wait()
        os.close(self._hints)
        deadline = time.perf_counter() + 5.0
        while left := [pid for pid in left if exists(pid)]:
            if time.perf_counter() > deadline:
                for pid in left:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)


def _own_cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system

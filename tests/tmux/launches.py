"""Runs in real panes: a runtime directory, a server, and what the launchers report."""

from __future__ import annotations

import itertools
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agentd.launch.exit_report import ExitReport
from agentd.launch.launcher import LaunchScript
from agentd.launch.rundir import RuntimeDirectory
from agentd.model.spec import RUN_ID_VARIABLE
from agentd.process.identity import ProcessIdentity
from agentd.tmux.panes import Pane
from agentd.tmux.server import TmuxServer
from tests.support.agents import Recorded, misbehaving
from tests.support.waiting import wait_for, wait_for_file
from tests.tmux.servers import tmux

DUMP = """import os, sys
for suffix, path in ((".argv", "/proc/self/cmdline"), (".env", "/proc/self/environ")):
    with open(sys.argv[1] + suffix, "wb") as file:
        file.write(open(path, "rb").read())
with open(sys.argv[1] + ".cwd", "wb") as file:
    file.write(os.getcwdb())
"""
"""A program that writes down what it was started with, to the byte."""

_numbers = itertools.count()


def dumping(program: Path, to: Path) -> tuple[str, ...]:
    """Build the argv of an agent that dumps what it was started with; arguments may follow."""
    program.write_text(DUMP)
    return (sys.executable, "-I", "-S", str(program), str(to))


def read_dump(to: Path, own: int) -> tuple[list[bytes], dict[bytes, bytes], bytes]:
    """The argv after the first `own` words, the environment and the working directory."""
    argv, environment, cwd = (Path(f"{to}{suffix}").read_bytes() for suffix in (".argv", ".env", ".cwd"))
    entries = [entry.split(b"=", 1) for entry in environment.split(b"\0")[:-1]]
    assert len({entry[0] for entry in entries}) == len(entries), "a variable came twice"
    return argv.split(b"\0")[own:-1], {entry[0]: entry[1] for entry in entries}, cwd


def own_environment() -> dict[str, str]:
    """What an interactive shell needs to start quickly."""
    return {name: os.environ[name] for name in ("PATH", "HOME")}


@dataclass(slots=True)
class Run:
    """One run in a pane."""

    id: str
    pane: Pane
    session: str
    launches: Launches

    def process(self) -> ProcessIdentity:
        """Wait until the agent is reported."""
        return wait_for(lambda: self.launches.runtime.read_process(self.id), what=f"{self.session} has a process")

    def exit(self) -> ExitReport:
        """Wait until its end is reported."""
        return wait_for(
            lambda: self.launches.runtime.read_exit(self.id), what=f"{self.session} ended", explain=self.screen
        )

    def screen(self) -> str:
        """All that the pane shows."""
        return tmux(self.launches.server.socket, "capture-pane", "-p", "-t", self.pane.pane_id, "-S", "-")

    def shows(self, text: str) -> str:
        """Wait until the pane shows a text."""
        wait_for(lambda: text in self.screen(), what=f"{self.session} shows {text!r}", explain=self.screen)
        return self.screen()

    def type(self, *keys: str) -> None:
        """Type keys, by their tmux names."""
        tmux(self.launches.server.socket, "send-keys", "-t", self.pane.pane_id, *keys)

    def enter(self, line: str) -> None:
        """Type a line of text."""
        tmux(self.launches.server.socket, "send-keys", "-t", self.pane.pane_id, "-l", line + "\r")

    def format(self, text: str) -> str:
        """What tmux says about the pane."""
        return tmux(self.launches.server.socket, "display-message", "-p", "-t", self.pane.pane_id, text).rstrip("\n")


class Launches:
    """Launches agents as agentd does."""

    def __init__(self, folder: Path, server: TmuxServer) -> None:
        self.folder = folder
        self.server = server
        self.runtime = RuntimeDirectory(folder / "s.runs", os.geteuid(), os.getegid())
        self.runtime.prepare()

    async def start(
        self,
        argv: Sequence[str],
        environment: Mapping[str, str] | None = None,
        workdir: Path | None = None,
        run_id: str | None = None,
    ) -> Run:
        """Run argv in a new session."""
        name = f"run{next(_numbers)}"
        # Of this process alone: processes are found by it wherever they are, and tests run beside each other.
        run_id = run_id or f"{os.getpid()}-{name}".encode().hex()
        given = {**own_environment(), RUN_ID_VARIABLE: run_id} if environment is None else environment
        script = LaunchScript(name, run_id, tuple(argv), given, str(workdir or self.folder))
        path = self.runtime.write_script(script)
        pane = await self.server.new_session(name, name, "/", path)
        return Run(run_id, pane, name, self)

    async def misbehaving(self, *options: str | int | Path) -> Run:
        """Run the scripted agent, and wait until it is ready."""
        ready = self.folder / f"ready{next(_numbers)}"
        run = await self.start(misbehaving("--ready", ready, *options))
        wait_for_file(ready)
        return run

    def recorded(self, path: Path) -> Recorded:
        """What the scripted agent wrote with ``--record``."""
        wait_for_file(path)
        recorded: Recorded = json.loads(path.read_text())
        return recorded

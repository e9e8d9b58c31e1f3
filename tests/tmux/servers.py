"""tmux servers of the tests' own."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import psutil

from agentd.tmux.connection import ClientCommand
from agentd.tmux.server import TmuxServer
from agentd.tmux.setup import ServerUser
from tests.support.waiting import PATIENCE, wait_for


def environment() -> dict[str, str]:
    """Make the small environment that a server is started with."""
    return {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "LANG": "C.UTF-8", "TERM": "xterm-256color"}


def make_server(folder: Path, **options: object) -> TmuxServer:
    """Make a server that is not connected yet."""
    return TmuxServer(folder / "s", **{"user": ServerUser(), "environment": environment(), **options})  # type: ignore[arg-type]


def client_command(socket: Path) -> ClientCommand:
    """Build a client that attaches to a session of its own."""
    program = shutil.which("tmux")
    assert program is not None
    argv = (program, "-u", "-S", str(socket), "-f", "/dev/null", "-C", "new-session", "-A", "-s", "tester", "cat", "-")
    return ClientCommand(argv, environment())


def tmux(socket: Path, *arguments: str, env: Mapping[str, str] | None = None) -> str:
    """Run one tmux command, by a program of its own."""
    done = subprocess.run(
        ["tmux", "-u", "-S", str(socket), *arguments],
        capture_output=True,
        text=True,
        check=True,
        env=env or environment(),
    )
    return done.stdout


def clients(socket: Path) -> list[psutil.Process]:
    """Find the control clients of a server."""

    def is_one(child: psutil.Process) -> bool:
        try:
            return {str(socket), "-C"} <= set(child.cmdline())
        except psutil.NoSuchProcess:  # a zombie too: its end is not noticed yet
            return False

    return [child for child in psutil.Process().children() if is_one(child)]


def wait_for_screen(socket: Path, target: str, text: str, timeout: float = PATIENCE) -> str:
    """Wait until a pane shows a text; returns all it shows."""

    def shown() -> str:
        return tmux(socket, "capture-pane", "-p", "-t", target, "-S", "-")

    wait_for(lambda: text in shown(), timeout, what=f"{target} shows {text!r}", explain=shown)
    return shown()

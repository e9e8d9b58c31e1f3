"""Both commands as programs, an API with canned answers, and tmux servers of the tests' own."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from agentd.api.app import build_app
from agentd.api.serve import serve
from agentd.model.events import Event
from agentd.model.screen import NoScreenError, Screen
from agentd.model.status import AgentStatus
from agentd.recording.journal.journal import Journal
from agentd.recording.metrics.answer import Metrics, Readings
from agentd.recording.metrics.measures import Counters
from agentd.recording.transcripts.reader import TranscriptReader
from tests.api.memory_source import HEALTH, RUNNING, SANDBOX, MemorySource
from tests.support.daemon import program
from tests.support.forked import run_agentctl, run_agentd
from tests.support.processes import alive
from tests.support.transcripts import files_in
from tests.support.waiting import wait_for

__all__ = [
    "HEALTH",
    "RUNNING",
    "SANDBOX",
    "AgentStatus",
    "Client",
    "Finished",
    "MemorySource",
    "TmuxServer",
    "answering",
]


@dataclass(frozen=True)
class Finished:
    """A command that ended."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> object:
        """The one JSON document on stdout."""
        return json.loads(self.out)

    @property
    def rows(self) -> list[list[str]]:
        """The lines of stdout by their fields."""
        return [line.split("\t") for line in self.out.splitlines()]


@dataclass(frozen=True)
class Client:
    """The commands, told by the environment which sockets to use."""

    folder: Path
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def api_socket(self) -> Path:
        return self.folder / "api.sock"

    @property
    def tmux_socket(self) -> Path:
        return self.folder / "tmux.sock"

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "AGENTD_API_SOCKET": str(self.api_socket),
            "AGENTD_TMUX_SOCKET": str(self.tmux_socket),
            "AGENTD_STATE_DIR": str(self.folder / "state"),
            "AGENTD_CONFIG": str(self.folder / "jcard.toml"),
            "TERM": "xterm-256color",
            **self.env,
        }

    def __call__(self, *arguments: str | Path, name: str = "agentctl", **env: str) -> Finished:
        """Run to the end, away from a terminal."""
        argv = [program(name), *map(str, arguments)]
        environment = {**self.environment, **env}
        run = {"agentctl": run_agentctl, "agentd": run_agentd}[name]
        done = run(argv, env=environment, cwd=self.folder, timeout=30)
        assert "Traceback" not in done.stderr, done.stderr
        return Finished(done.returncode, done.stdout, done.stderr)

    def shell(self, script: str, *arguments: str) -> Finished:
        """Run a script of sh in which the commands are on the PATH, away from a terminal."""
        folder = Path(program("agentctl")).parent
        done = subprocess.run(
            ["sh", "-c", script, "sh", *arguments],
            env={**self.environment, "PATH": f"{folder}:{self.environment['PATH']}"},
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=30,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Finished(done.returncode, done.stdout, done.stderr)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start away from a terminal; the test ends it."""
        return subprocess.Popen(
            [program("agentctl"), *arguments],
            env=self.environment,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )

    def shell_words(self, *arguments: str, **env: str) -> str:
        """Write the command for a shell in a terminal, which then says its exit status and waits."""
        changed = {name: value for name, value in {**self.environment, **env}.items() if os.environ.get(name) != value}
        setting = " ".join(f"{name}={shlex.quote(value)}" for name, value in changed.items() if name != "TERM")
        command = shlex.join([program("agentctl"), *arguments])
        return f"trap : INT; {setting} {command}; echo [status $?]; exec cat"


@dataclass(frozen=True)
class TmuxScreens:
    """Screens as a tmux server of the test's has them."""

    source: MemorySource
    socket: Path

    async def screen(self, name: str, *, styled: bool) -> Screen | None:
        agent = self.source.agent(name)
        if agent is None:
            return None
        server = TmuxServer(self.socket)
        if f"{agent.session}\n" not in server("list-sessions", "-F", "#{session_name}", check=False) + "\n":
            raise NoScreenError(f"{agent.name} has no tmux session; it is {agent.state}")
        shown = server.screen(agent.pane or agent.session, *(["-e"] if styled else []))
        return Screen(agent.name, agent.session, 120, 30, 0, 0, cursor_visible=True, lines=shown.rstrip().split("\n"))


@contextmanager
def answering(source: MemorySource, path: Path) -> Iterator[Callable[[Event], None]]:
    """Serve the real API, from the values in ``source``, while the context is open; gives what takes events."""
    loop = asyncio.new_event_loop()
    started, over = threading.Event(), asyncio.Event()
    journal = Journal(path.with_name("journal"), time.time)

    async def work() -> None:
        await journal.open()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
            listening.bind(str(path))
            listening.listen()
            reader = TranscriptReader(files_in(path.parent / "state"))
            screens = TmuxScreens(source, path.parent / "tmux.sock")
            metrics = Metrics(Counters(time.monotonic), time.monotonic, lambda: Readings((), (), (), 0))
            app = build_app(
                source, transcripts=reader, screens=screens, processes=source, journal=journal, metrics=metrics
            )
            async with serve(app, listening):
                started.set()
                await over.wait()
                await journal.close()
            reader.close()

    def run() -> None:
        try:
            loop.run_until_complete(work())
        finally:
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()

    def tell(event: Event) -> None:
        loop.call_soon_threadsafe(journal.add, event)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert started.wait(30)
        yield tell
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(30)
        path.unlink()
    assert not thread.is_alive()


@dataclass(frozen=True)
class TmuxServer:
    """A tmux server on a socket of its own, without anybody's configuration."""

    socket: Path

    def __call__(self, *arguments: str, check: bool = True) -> str:
        done = subprocess.run(
            ["tmux", "-f", "/dev/null", "-S", str(self.socket), *arguments],
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=30,
            check=False,
        )
        assert not check or done.returncode == 0, f"tmux {arguments}: {done.stderr}"
        return done.stdout.removesuffix("\n")

    def session(self, name: str, command: str, columns: int = 120, rows: int = 30) -> None:
        """Run a shell command in a new session."""
        self("new-session", "-d", "-s", name, "-x", str(columns), "-y", str(rows), command)

    def agent(self, name: str, command: str, rows: int = 30) -> tuple[str, int]:
        """Run a shell command in a new session as agentd runs an agent; give its pane and the process there."""
        script = self.socket.with_name(f"{name}.sh")
        script.write_text(command)
        size = ("-x", "120", "-y", str(rows))
        shown = self(
            "new-session", "-d", "-s", name, *size, "-P", "-F", "#{pane_id} #{pane_pid}", "/bin/sh", str(script)
        )
        pane, pid = shown.split()
        return pane, int(pid)

    def screen(self, session: str, *options: str) -> str:
        pane = session if session.startswith("%") else f"={session}:0.0"
        return self("capture-pane", "-p", *options, "-t", pane)

    def wait_for_text(self, session: str, text: str) -> str:
        """Wait until the session's screen shows this text, and return the screen."""
        return wait_for(
            lambda: screen if text in (screen := self.screen(session)) else "",
            what=f"{text!r} is shown",
            explain=lambda: self.screen(session),
        )

    def close(self) -> None:
        pid = self("display-message", "-p", "#{pid}", check=False)
        self("kill-server", check=False)
        if pid.isdigit():
            wait_for(lambda: not alive(int(pid)), what="the tmux server ended")

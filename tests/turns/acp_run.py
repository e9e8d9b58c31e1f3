"""The real renderer on a terminal of its own, with an agent, watched by way of the real socket for hooks."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import pty
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyte
import pytest

from agentd.files.looks import Looks
from agentd.harness.acp import RENDERER, RESUME_VARIABLE, acp_argv
from agentd.harness.additions import HOOK_VARIABLE, LaunchFacts
from agentd.launch.renderer import renderer
from agentd.model.spec import RUN_ID_VARIABLE
from agentd.process.identity import ProcessIdentity
from agentd.turns.acp.adapter import ACP
from agentd.turns.adapter import Ground, LiveRun
from agentd.turns.budgets.ledger import Ledger
from agentd.turns.conversation import Turn
from agentd.turns.file_changes import FileChanges
from agentd.turns.hook_socket import HookSocket
from agentd.turns.messages.store import Store
from agentd.turns.requests import Access, Requests
from agentd.turns.run_watch import RunWatch
from agentd.turns.turns import Turns
from tests.turns import claude_run
from tests.turns.claude_run import Outlet, Terminal, me

SUPPORT = Path(__file__).parents[1] / "support"
SCRIPTED = (sys.executable, str(SUPPORT / "light_acp_agent.py"))
"""The scripted agent of a few lines; add ``--sessions FOLDER``."""
BY_LIBRARY = (sys.executable, str(SUPPORT / "acp_agent.py"))
"""The scripted agent by the library of the protocol's makers, which takes 0.5 s of CPU to import."""
EITHER = [pytest.param(SCRIPTED, id="light"), pytest.param(BY_LIBRARY, id="library", marks=pytest.mark.thorough)]
"""Both, as parameters of a test."""

ROWS, COLUMNS = 30, 80
RUN = "run-1"


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition: two programs are started first, on a machine that may be loaded.

    Shorter than a test may take, or nobody would read what was missing.
    """
    await claude_run.until(condition, 40)


@dataclass(slots=True)
class Seen(Outlet):
    """Keeps the watch, too."""

    watch: RunWatch | None = None

    def changed(self, run: RunWatch) -> None:
        self.watch = run
        Outlet.changed(self, run)


@dataclass(slots=True)
class AcpRun:
    """The renderer, and what became of it."""

    folder: Path
    process: subprocess.Popen[bytes]
    master: int
    outlet: Seen = field(default_factory=Seen)
    screen: pyte.HistoryScreen = field(
        default_factory=lambda: pyte.HistoryScreen(COLUMNS, ROWS, history=5000, ratio=0.5)
    )
    printed: bytearray = field(default_factory=bytearray)
    looks: Looks = field(default_factory=Looks)
    _stream: pyte.ByteStream = field(init=False)
    _turns: Turns | None = None
    _socket: HookSocket | None = None

    def __post_init__(self) -> None:
        # One for all that is read: a sequence may come in two pieces.
        self._stream = pyte.ByteStream(self.screen)

    @property
    def path(self) -> Path:
        return self.folder / "turns.sock"

    @property
    def watch(self) -> RunWatch:
        assert self.outlet.watch is not None
        return self.outlet.watch

    async def serve(self) -> None:
        """Be agentd, one that knows nothing."""
        access = Access(os.getuid(), os.getuid(), None)
        ground = Ground(self.looks, FileChanges(self.looks), me(), time.time)
        self._turns = Turns(
            {"acp": ACP}, ground, self.outlet, Store(self.folder / "messages.sqlite3"), Ledger(self.folder / "b")
        )
        self._turns.adopted.set()
        await self._turns.deliveries.open()
        requests = Requests(self._turns, access)
        turns = self._turns
        # What is accepted while it leaves would be held by one that is no more.
        self._socket = HookSocket(lambda peer: self._turns is turns and requests.may_connect(peer), requests.handle)
        bound = socket.socket(socket.AF_UNIX)
        self.path.unlink(missing_ok=True)
        bound.bind(str(self.path))
        await self._socket.listen(bound)
        facts = LaunchFacts(
            agent="a",
            run_id=RUN,
            harness="acp",
            argv=(),
            environment={},
            workdir=self.folder,
            home=self.folder,
            stays=True,
            file=self.folder / "file",
            socket=self.folder / "socket",
        )
        process = ProcessIdentity.of(self.process.pid)
        assert process is not None
        self._turns.started(LiveRun(facts, process, {}, Terminal()), by_adapter=True)

    async def leave(self) -> None:
        """Be no agentd any more."""
        assert self._turns is not None
        assert self._socket is not None
        turns, self._turns = self._turns, None
        await self._socket.close()
        await turns.close()

    def read(self) -> None:
        """Take what the renderer prints."""
        try:
            said = os.read(self.master, 1 << 16)
        except OSError:
            asyncio.get_running_loop().remove_reader(self.master)
            return
        self.printed += said
        self._stream.feed(said)

    @property
    def text(self) -> str:
        """All that it has shown."""
        above = ["".join(line[x].data for x in range(self.screen.columns)) for line in self.screen.history.top]
        return "\n".join(line.rstrip() for line in [*above, *self.screen.display])

    @property
    def box(self) -> str:
        """The line being typed."""
        return self.screen.display[-1].rstrip()

    def type(self, text: str) -> None:
        """Type at the terminal."""
        os.write(self.master, text.encode())

    def hang_up(self) -> None:
        """Have the terminal gone."""
        asyncio.get_running_loop().remove_reader(self.master)
        os.dup2(os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC), self.master, inheritable=False)

    def resize(self, rows: int, columns: int) -> None:
        """Give the terminal another size."""
        self.screen.resize(rows, columns)
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        os.kill(self.process.pid, signal.SIGWINCH)

    async def shows(self, text: str) -> None:
        """Wait until it shows a text, on whatever lines it has room for: a path before it may be longer."""
        try:
            await until(lambda: "".join(text.split()) in "".join(self.text.split()))
        except TimeoutError:
            raise AssertionError(f"expected {text!r} on the screen:\n{self.text}") from None

    @property
    def activity(self) -> str:
        assert self.watch.current is not None
        return self.watch.current.doing.activity.value

    @property
    def waits(self) -> bool:
        """Whether it is a person's move."""
        return self.activity not in ("working", "waiting_permission", "unknown")

    @property
    def texts(self) -> list[object]:
        """The final texts of its turns."""
        return [data.get("text") for kind, _, data in self.outlet.events if kind == "turn_ended"]

    async def idle(self, turns: int = 0) -> Turn | None:
        """Wait until so many turns have ended, and it is a person's move; gives the last one."""
        try:
            await until(lambda: self.outlet.watch is not None)
            await until(lambda: self.waits and self.kinds.count("turn_ended") >= turns)
        except TimeoutError:
            raise AssertionError(f"expected {turns} turns: {self.outlet.events}\n{self.text}") from None
        return self.watch.conversation.last

    async def ask(self, text: str) -> Turn:
        """Deliver a message by way of agentd, and wait for the end of its turn."""
        ended = self.kinds.count("turn_ended")
        await self.deliver(text)
        turn = await self.idle(ended + 1)
        assert turn is not None
        assert turn.prompt == text
        return turn

    async def deliver(self, text: str) -> None:
        """Deliver a message by way of agentd."""
        await self.watch.deliver(text)

    @property
    def kinds(self) -> list[str]:
        """The events that agentd keeps."""
        return [kind for kind, _, _ in self.outlet.events]

    async def exit_status(self) -> int:
        """Wait for its end."""
        await until(lambda: self.process.poll() is not None)
        return self.process.returncode


@contextlib.asynccontextmanager
async def acp_run(
    folder: Path, command: Sequence[str] = BY_LIBRARY, *, first: str = "", resume: str | None = None, serve: bool = True
) -> AsyncIterator[AcpRun]:
    """Run the renderer."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    environment = {
        "PATH": f"{folder}:{os.environ['PATH']}",
        "TERM": "xterm-256color",
        RUN_ID_VARIABLE: RUN,
        HOOK_VARIABLE: str(folder / "turns.sock"),
    }
    if resume is not None:
        environment[RESUME_VARIABLE] = resume
    process = subprocess.Popen(
        [*renderer(RENDERER), *acp_argv(command, first)],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        cwd=folder,
        env=environment,
        start_new_session=True,
    )
    os.close(slave)
    run = AcpRun(folder, process, master)
    loop = asyncio.get_running_loop()
    loop.add_reader(master, run.read)
    try:
        if serve:
            await run.serve()
        yield run
    finally:
        if process.poll() is None:
            os.kill(process.pid, signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                await until(lambda: process.poll() is not None)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        if run._turns is not None:
            await run.leave()
        loop.remove_reader(master)
        os.close(master)
        run.looks.close()

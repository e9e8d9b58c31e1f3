"""A run of Claude Code to test the adapter with: its files in a home, its hooks posted as recorded."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pwd
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

from agentd.files.looks import Looks
from agentd.harness.additions import LaunchFacts
from agentd.model.events import Detail, EventKind
from agentd.model.user import AgentUser
from agentd.process.identity import ProcessIdentity
from agentd.supervise.budgets import BudgetUse
from agentd.turns.activity import Doing
from agentd.turns.adapter import Ground, Hook, LiveRun, Typed
from agentd.turns.claude.adapter import CLAUDE
from agentd.turns.conversation import Turn
from agentd.turns.conversations import Remembered
from agentd.turns.events import TurnEvent
from agentd.turns.file_changes import FileChanges
from agentd.turns.run_watch import RunWatch
from agentd.turns.sending import Screen

SAMPLES = Path(__file__).with_name("samples") / "claude"

PROCESS = ProcessIdentity(3678, 340383)
"""As in the recorded status files."""


STATUS: dict[str, object] = {"pid": PROCESS.pid, "procStart": str(PROCESS.started), "version": "2.1.197"}
"""What is the same in every status file of it."""


@dataclass(slots=True)
class Terminal:
    """Keeps what was pressed, and shows what it is told to."""

    pressed: list[str] = field(default_factory=list)
    shown: str = ""
    sent: list[str] = field(default_factory=list)
    reads: bool | None = None

    async def send(self, typed: Typed) -> None:
        self.sent.append(typed.text)

    async def look(self) -> Screen:
        rows = tuple(self.shown.split("\n"))
        return Screen.of(rows, len(rows[-1]), len(rows) - 1)

    async def press(self, key: str) -> None:
        self.pressed.append(key)

    async def show(self) -> str:
        return self.shown

    async def waits(self) -> bool | None:
        return self.reads


@dataclass(slots=True)
class Outlet:
    """Keeps what was told."""

    events: list[tuple[str, str | None, dict[str, Detail]]] = field(default_factory=list)
    shown: list[Doing] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)
    happenings: list[TurnEvent] = field(default_factory=list)
    keeps: bool = True
    """Whether conversations can be written down."""

    def changed(self, run: RunWatch) -> None:
        if run.current is not None and (not self.shown or self.shown[-1] != run.current.doing):
            self.shown.append(run.current.doing)

    def talked(self, run: RunWatch) -> None:
        pass

    async def restored(self, agent: str, conversation: Remembered) -> bool:
        del agent, conversation
        return self.keeps

    def not_resumed(self, run: RunWatch) -> None:
        pass

    def happened(self, run: RunWatch, event: TurnEvent) -> None:
        assert run.agent == "a"
        self.happenings.append(event)

    def unheard(self, run: RunWatch) -> None:
        pass

    def used(self, agent: str, run_ids: tuple[str, ...], use: BudgetUse) -> None:
        pass

    def emit(self, agent: str, kind: EventKind, reason: str | None, data: dict[str, Detail]) -> None:
        assert agent == "a"
        self.events.append((kind.value, reason, data))


@dataclass(slots=True)
class ClaudeRun:
    """A watched run."""

    watch: RunWatch
    outlet: Outlet
    terminal: Terminal
    home: Path
    held: dict[str, asyncio.Task[bytes | None]] = field(default_factory=dict)
    """Hooks that have no answer yet, by their names."""

    async def hook(self, name: str, **body: object) -> None:
        """Post a hook; one that is held goes on in the background."""
        task = asyncio.ensure_future(self.watch.hook(Hook(name, body)))
        if name != "PermissionRequest":
            assert await task is None
            return
        self.held[name] = task
        await until(lambda: task.done() or bool(self.watch.conversation.requests))

    def status(self, document: dict[str, object]) -> None:
        """Write the status file."""
        path = self.home / ".claude" / "sessions" / f"{PROCESS.pid}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".new")
        temporary.write_text(json.dumps(document))
        temporary.replace(path)

    def now(self) -> int:
        """Now, as a status file has it."""
        return int(1000 * wall())

    @property
    def activity(self) -> str:
        assert self.watch.current is not None
        return self.watch.current.doing.activity.value


def wall() -> float:
    """Seconds since an epoch."""
    return 1_795_000_000.0 + time.monotonic()


async def until(condition: Callable[[], bool], limit: float = 20.0) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(limit):
        while not condition():  # noqa: ASYNC110 (nothing tells of a plain value)
            await asyncio.sleep(0.005)


def me() -> AgentUser:
    """Who runs the tests."""
    account = pwd.getpwuid(os.getuid())
    return AgentUser(account.pw_name, account.pw_uid, account.pw_gid, (), Path(account.pw_dir), "/bin/sh", switch=False)


@contextlib.asynccontextmanager
async def claude_run(
    home: Path, *, stays: bool = True, memo: dict[str, str] | None = None, conversation: str | None = None
) -> AsyncIterator[ClaudeRun]:
    """Watch a run."""
    looks = Looks()
    changes = FileChanges(looks, interval=0.01)
    outlet, terminal = Outlet(), Terminal()
    facts = LaunchFacts(
        agent="a",
        run_id="run-1",
        harness="claude-code",
        argv=(),
        environment={},
        workdir=Path("/srv/agents/work"),
        home=home,
        stays=stays,
        file=home / "file",
        socket=home / "socket",
    )
    ground = Ground(looks, changes, me(), wall)
    watch = RunWatch(LiveRun(facts, PROCESS, memo or {}, terminal, conversation), ground, outlet)
    watch.begin(CLAUDE)
    looking = asyncio.create_task(changes.run())
    try:
        yield ClaudeRun(watch, outlet, terminal, home)
    finally:
        await watch.let_go()
        looking.cancel()
        await asyncio.wait([looking])
        looks.close()


def recorded(*names: str) -> list[dict[str, object]]:
    """Recorded hooks of several files, in order of time."""
    lines = [json.loads(line) for name in names for line in (SAMPLES / name).read_text().splitlines()]
    return sorted(lines, key=lambda line: float(line["t"]))

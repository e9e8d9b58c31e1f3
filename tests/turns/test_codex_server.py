"""A scripted app server of Codex: what is asked of it, and what becomes of a run whose server misbehaves."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import WSMsgType, web

from agentd.files.looks import Looks
from agentd.harness.additions import LaunchFacts
from agentd.model.states import Activity
from agentd.process.identity import ProcessIdentity
from agentd.turns.adapter import Answer, Ground, LiveRun, TurnsError
from agentd.turns.codex import by_server
from agentd.turns.codex.adapter import CODEX
from agentd.turns.codex.by_server import ServerWatch
from agentd.turns.codex.launch import SERVER
from agentd.turns.events import Decision, Outcome
from agentd.turns.file_changes import FileChanges
from agentd.turns.quota import QuotaWindow
from agentd.turns.run_watch import RunWatch
from tests.turns.claude_run import Outlet, Terminal, me, until, wall

Message = Mapping[str, object]
IDLE, ACTIVE = {"type": "idle"}, {"type": "active", "activeFlags": []}


@dataclass(slots=True)
class Scripted:
    """The server."""

    sockets: list[web.WebSocketResponse] = field(default_factory=list)
    asked: list[Message] = field(default_factory=list)
    """What it was asked and told, but for the handshake."""
    answers: dict[str, Message] = field(default_factory=dict)
    """By method; what is missing is refused."""
    thread: dict[str, object] = field(
        default_factory=lambda: {"id": "t", "source": "cli", "createdAt": int(wall()) + 9, "status": IDLE}
    )
    turns: list[Message] = field(default_factory=list)
    silent: bool = False
    """Whether it answers nothing."""
    refusals: int = 0
    """How often it is still to refuse to tell of the thread."""

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        self.sockets.append(ws)
        async for received in ws:
            if received.type is WSMsgType.TEXT and not self.silent:
                await self.take(ws, received.json())
        return ws

    async def take(self, ws: web.WebSocketResponse, message: Message) -> None:
        method = message.get("method")
        answers: dict[str, Message] = {
            "initialize": {},
            "thread/loaded/list": {"data": ["t"]},
            "thread/read": {"thread": self.thread},
            "thread/resume": {"thread": self.thread, "initialTurnsPage": {"data": self.turns}},
            **self.answers,
        }
        if method not in ("initialize", "initialized"):
            self.asked.append(message)
        if method == "thread/resume" and self.refusals:
            self.refusals -= 1
            del answers["thread/resume"]
        if method in answers and "id" in message:
            await ws.send_json({"id": message["id"], "result": answers[str(method)]})
        elif method is not None and "id" in message:
            await ws.send_json({"id": message["id"], "error": {"code": -1, "message": "no such thing"}})

    async def say(self, *messages: tuple[str, Message], **more: object) -> None:
        for method, said in messages:
            await self.sockets[-1].send_json({"method": method, "params": {"threadId": "t", **said}, **more})

    def methods(self) -> list[object]:
        return [each.get("method") for each in self.asked]


def status(which: Message) -> tuple[str, Message]:
    return "thread/status/changed", {"status": which}


def began(text: str = "go") -> tuple[tuple[str, Message], ...]:
    item = {"type": "userMessage", "id": "u", "content": [{"type": "text", "text": text}]}
    return (
        status(ACTIVE),
        ("turn/started", {"turn": {"id": "1", "items": [], "status": "inProgress"}}),
        ("item/completed", {"turnId": "1", "item": item}),
    )


def ended(outcome: str = "completed") -> tuple[tuple[str, Message], ...]:
    return status(IDLE), ("turn/completed", {"turn": {"id": "1", "items": [], "status": outcome}})


@dataclass(slots=True)
class Run:
    server: Scripted
    watch: RunWatch
    outlet: Outlet
    terminal: Terminal
    path: Path

    @property
    def adapter(self) -> ServerWatch:
        assert isinstance(self.watch._watched.watch, ServerWatch)
        return self.watch._watched.watch

    async def ready(self) -> None:
        """Wait until the server tells of its thread."""
        await until(self.does(Activity.IDLE))
        await until(lambda: self.adapter._reader.threads["t"].heard)

    def does(self, wanted: Activity, source: str = "app-server") -> Callable[[], bool]:
        def reached() -> bool:
            assert self.watch.current is not None
            return (self.watch.current.doing.activity, self.watch.current.doing.source) == (wanted, source)

        return reached


@contextlib.asynccontextmanager
async def run_of(short_folder: Path, server: Scripted | None = None) -> AsyncIterator[Run]:
    server = server or Scripted()
    app = web.Application()
    app.router.add_get("/", server.serve)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    path = short_folder / "a.turns-socket"
    await web.UnixSite(runner, str(short_folder / "real")).start()
    path.symlink_to(short_folder / "real")
    async with watched(path) as (watch, outlet, terminal):
        yield Run(server, watch, outlet, terminal, path)
    await runner.cleanup()


@contextlib.asynccontextmanager
async def watched(path: Path) -> AsyncIterator[tuple[RunWatch, Outlet, Terminal]]:
    folder, outlet, terminal, looks = path.parent, Outlet(), Terminal(), Looks()
    facts = LaunchFacts("a", "r", "codex", (), {}, folder, folder, True, folder / "file", path)
    process = ProcessIdentity.of(os.getpid())
    assert process is not None
    run = LiveRun(facts, process, {SERVER: str(path)}, terminal)
    watch = RunWatch(run, Ground(looks, FileChanges(looks, interval=0.01), me(), wall), outlet)
    watch.begin(CODEX)
    yield watch, outlet, terminal
    await watch.let_go()
    looks.close()


async def test_a_turn_is_told_as_it_goes(short_folder: Path) -> None:
    async with run_of(short_folder) as run:
        await run.ready()
        assert run.watch.session == "t"
        await run.server.say(*began(), ("item/agentMessage/delta", {"turnId": "1", "delta": "Hel"}))
        await until(lambda: run.watch.conversation.turn is not None and run.watch.conversation.turn.text == "Hel")
        assert run.does(Activity.WORKING)()
        await run.server.say(*ended())
        await until(run.does(Activity.IDLE))
        await until(lambda: run.watch.conversation.last is not None)


async def test_a_thread_is_heard_once_its_first_message_was_taken(short_folder: Path) -> None:
    async with run_of(short_folder, Scripted(refusals=3)) as run:
        await until(run.does(Activity.IDLE))
        await until(lambda: run.server.refusals == 2)
        # It is not asked for again while nothing happens in it.
        for _ in range(3):
            await run.server.say(("warning", {}))
            assert run.adapter._connection is not None
            await run.adapter._connection.ask("thread/loaded/list", {})
        assert run.server.refusals == 2
        run.server.turns = [{"id": "1", "status": "inProgress", "items": [began()[2][1]["item"]]}]
        await run.server.say(status(ACTIVE))
        await until(lambda: run.watch.conversation.turn is not None)
        assert run.server.refusals == 0
        assert run.watch.conversation.turn is not None
        assert run.watch.conversation.turn.prompt == "go"


async def test_a_thread_that_is_gone_back_to_is_looked_up(short_folder: Path) -> None:
    async with run_of(short_folder) as run:
        await run.ready()
        run.server.thread["id"] = "old"
        await run.server.sockets[-1].send_json(
            {"method": "thread/status/changed", "params": {"threadId": "old", "status": IDLE}}
        )
        await until(lambda: run.watch.session == "old")
        assert run.server.asked[-1]["params"] == {
            "threadId": "old",
            "excludeTurns": True,
            "initialTurnsPage": {"limit": 3, "sortDirection": "desc", "itemsView": "summary"},
        }


ASKED = {"turnId": "1", "itemId": "c", "command": "make"}


async def test_a_permission_is_answered(short_folder: Path) -> None:
    async with run_of(short_folder) as run:
        await run.ready()
        await run.server.say(*began(), status({"type": "active", "activeFlags": ["waitingOnApproval"]}))
        await run.server.say(("item/commandExecution/requestApproval", ASKED), id=7)
        await until(run.does(Activity.WAITING_PERMISSION))
        await until(lambda: len(run.watch.conversation.requests) == 1)
        assert run.watch.current is not None
        assert run.watch.current.doing.text == "make"
        await run.watch.answer(None, Answer(Decision.ALLOW))
        await until(lambda: run.server.asked[-1] == {"id": 7, "result": {"decision": "accept"}})
        await run.server.say(("serverRequest/resolved", {"requestId": 7}), status(ACTIVE))
        await until(run.does(Activity.WORKING))
        resolved = [data["decision"] for kind, _, data in run.outlet.events if kind == "turn_permission_resolved"]
        assert resolved == ["allow"]
        with pytest.raises(TurnsError, match="waits for no answer"):
            await run.watch.answer(None, Answer(Decision.DENY))


async def test_a_message_begins_a_turn_and_never_joins_one(short_folder: Path) -> None:
    async with run_of(short_folder, Scripted(answers={"turn/start": {"turn": {"id": "1"}}})) as run:
        await run.ready()
        await run.adapter.deliver("go on")
        given = {"threadId": "t", "input": [{"type": "text", "text": "go on"}]}
        assert (run.server.asked[-1]["method"], run.server.asked[-1]["params"]) == ("turn/start", given)
        await run.server.say(*began("go on"))
        await until(run.does(Activity.WORKING))
        with pytest.raises(TurnsError, match="busy"):
            await run.adapter.deliver("and this")
        assert run.server.methods().count("turn/start") == 1


async def test_a_message_that_is_refused_is_said(short_folder: Path) -> None:
    async with run_of(short_folder) as run:
        await run.ready()
        with pytest.raises(TurnsError, match="codex refused turn/start: no such thing"):
            await run.adapter.deliver("go on")


async def test_a_turn_is_interrupted(short_folder: Path) -> None:
    async with run_of(short_folder, Scripted(answers={"turn/interrupt": {}})) as run:
        await run.ready()
        await run.server.say(*began())
        await until(lambda: run.watch.conversation.turn is not None)
        await run.watch.interrupt()
        assert run.server.asked[-1]["params"] == {"threadId": "t", "turnId": "1"}
        await run.server.say(*ended("interrupted"))
        await until(lambda: run.watch.conversation.last is not None)
        # With no turn there is nothing to interrupt.
        assert not await run.watch.interrupt()
        assert run.terminal.pressed == []
        assert run.server.methods().count("turn/interrupt") == 1


async def test_the_quota_is_told(short_folder: Path) -> None:
    async with run_of(short_folder) as run:
        await run.ready()
        primary = {"usedPercent": 40, "windowDurationMins": 300, "resetsAt": 1_795_020_000}
        await run.server.say(("account/rateLimits/updated", {"rateLimits": {"primary": primary, "secondary": None}}))
        told = QuotaWindow("primary", 40, 18000, 1_795_020_000).told("app-server")
        await until(lambda: any(told.items() <= data.items() for _, _, data in run.outlet.events))


async def test_a_server_that_goes_is_connected_to_again(short_folder: Path) -> None:
    async with run_of(short_folder) as run:
        await run.ready()
        await run.server.say(*began())
        await until(run.does(Activity.WORKING))
        run.server.turns = [{"id": "1", "status": "interrupted", "items": []}]
        await run.server.sockets[-1].close()
        await until(lambda: len(run.server.sockets) == 2)
        await until(run.does(Activity.IDLE))
        last = run.watch.conversation.last
        assert last is not None
        assert last.end is not None
        assert last.end.outcome is Outcome.INTERRUPTED
        assert len([kind for kind, _, _ in run.outlet.events if kind == "turn_started"]) == 1


@pytest.mark.parametrize("nonsense", ["nonsense", "5", "[" * 100_000, b"bytes"])
async def test_garbage_costs_the_connection_alone(short_folder: Path, nonsense: str | bytes) -> None:
    async with run_of(short_folder) as run:
        await run.ready()
        await (
            run.server.sockets[-1].send_str(nonsense)
            if isinstance(nonsense, str)
            else run.server.sockets[-1].send_bytes(nonsense)
        )
        await until(lambda: len(run.server.sockets) == 2)
        await until(run.does(Activity.IDLE))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have attempts come quickly, and end."""
    monkeypatch.setattr(by_server, "_RETRY", (0.01,))
    monkeypatch.setattr(by_server, "_PATIENCE", 2)
    monkeypatch.setattr(by_server, "_LAST_ATTEMPT", 4)
    monkeypatch.setattr("agentd.turns.codex.server._CONNECT_LIMIT", 0.05)


@pytest.mark.usefixtures("impatient")
async def test_without_a_server_the_file_and_the_screen_are_left(short_folder: Path) -> None:
    async with watched(short_folder / "nothing") as (watch, _, terminal):
        adapter = watch._watched.watch
        assert isinstance(adapter, ServerWatch)
        await until(lambda: adapter._reading is not None)
        await watch.interrupt()
        assert terminal.pressed == ["Escape"]
        await adapter.deliver("go")
        assert terminal.sent == ["go"]
        assert watch.current is not None
        assert watch.current.doing.activity is Activity.UNKNOWN


@pytest.mark.usefixtures("impatient")
async def test_a_server_that_never_answers_costs_nothing(short_folder: Path) -> None:
    async with run_of(short_folder, Scripted(silent=True)) as run:
        await until(lambda: len(run.server.sockets) == 4)
        await until(lambda: run.adapter._reading is not None)
        assert run.watch.current is not None
        assert run.watch.current.doing.activity is Activity.UNKNOWN
        run.server.silent = False


@pytest.mark.usefixtures("impatient")
async def test_a_server_that_comes_late_takes_over(short_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(by_server, "_LAST_ATTEMPT", 10_000)
    monkeypatch.setattr("agentd.turns.codex.server._CONNECT_LIMIT", 5.0)
    async with watched(short_folder / "a.turns-socket") as (watch, _, _):
        adapter = watch._watched.watch
        assert isinstance(adapter, ServerWatch)
        await until(lambda: adapter._reading is not None)
        async with run_of(short_folder):
            await until(lambda: adapter._reading is None)
            await until(lambda: watch.session == "t")


@pytest.mark.usefixtures("impatient")
async def test_what_is_no_socket_of_the_agents_user_is_not_talked_to(short_folder: Path) -> None:
    (short_folder / "file").write_bytes(b"")
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(short_folder / "others"))
        other.listen()
        if os.geteuid() == 0:
            os.chown(short_folder / "others", 1, 1)
        else:
            (short_folder / "others").unlink()
        for target in ("file", "others", "nowhere"):
            path = short_folder / "a.turns-socket"
            path.unlink(missing_ok=True)
            path.symlink_to(short_folder / target)
            async with watched(path) as (watch, _, _):
                adapter = watch._watched.watch
                assert isinstance(adapter, ServerWatch)
                await until(lambda adapter=adapter: adapter._reading is not None)  # type: ignore[misc]
        other.setblocking(False)
        with pytest.raises(BlockingIOError):
            other.accept()

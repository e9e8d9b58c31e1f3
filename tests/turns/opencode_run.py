"""A run of OpenCode to test the adapter with: a server that says what the test tells it to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from agentd.files.looks import Looks
from agentd.harness.additions import LaunchFacts
from agentd.model.states import Activity
from agentd.process.identity import ProcessIdentity
from agentd.turns.adapter import Ground, LiveRun
from agentd.turns.conversation import Turn
from agentd.turns.file_changes import FileChanges
from agentd.turns.opencode import launch
from agentd.turns.opencode.adapter import OPENCODE
from agentd.turns.opencode.watch import OpenCodeWatch
from agentd.turns.run_watch import RunWatch
from agentd.turns.screen.styled import read_rows
from tests.turns.claude_run import Outlet, Terminal, me, until, wall


def said_of(turn: Turn) -> tuple[str | None, str | None, str | None]:
    assert turn.end is not None
    return turn.prompt, turn.end.outcome.value, turn.end.final_text


IDLE = {"type": "session.idle", "properties": {"sessionID": "s"}}


def prompt(message: str, text: str) -> tuple[Mapping[str, object], ...]:
    info = {"id": message, "role": "user", "sessionID": "s"}
    part = {"id": f"p{message}", "type": "text", "text": text, "messageID": message, "sessionID": "s"}
    return (
        {"type": "message.updated", "properties": {"sessionID": "s", "info": info}},
        {"type": "message.part.updated", "properties": {"sessionID": "s", "part": part}},
    )


ASKED = {
    "type": "permission.asked",
    "properties": {"id": "per_1", "sessionID": "s", "permission": "bash", "metadata": {"command": "make"}},
}


def message(number: int, role: str, text: str = "", **info: object) -> dict[str, object]:
    """A message as the server lists it."""
    at = round(1000 * wall()) + 60_000 + number
    times = {"created": at} if role == "user" else {"created": at, "completed": at}
    about = {"id": f"m{number}", "role": role, "sessionID": "s", "time": times, **info}
    part = {"id": f"p{number}", "type": "text", "text": text, "messageID": f"m{number}", "sessionID": "s"}
    return {"info": about, "parts": [{**part, "time": {"end": at}}]}


TOKENS = {"input": 10, "output": 5}


SCREENS = sorted((Path(__file__).parent / "screens" / "opencode").glob("*.ansi"))
HOME = next(path.read_text() for path in SCREENS if path.name.endswith("just-started.ansi"))
CONVERSATION = next(path.read_text() for path in SCREENS if path.name == "o3-06-trap-list-and-code-block.ansi")


def rows(screen: str) -> list[str]:
    return [row.text for row in read_rows(screen)]


HOME_ROWS, CONVERSATION_ROWS = "\n".join(rows(HOME)), "\n".join(rows(CONVERSATION))


def facts(*argv: str, stays: bool = True, resume: str | None = None, **environment: str) -> LaunchFacts:
    place = Path("/nowhere")
    return LaunchFacts(
        "a", "run", "opencode", argv, environment, place, place, stays, place / "file", place / "socket", resume
    )


@dataclass
class Scripted:
    """A server that says what the test tells it to."""

    port: int = 0
    statuses: dict[str, object] = field(default_factory=dict)
    posts: list[tuple[str, object]] = field(default_factory=list)
    status: int = 200
    lists: dict[str, object] = field(default_factory=dict)
    """What there is, by the path."""
    unanswered: int = 0
    """Requests for events that will never be answered."""
    answers: dict[str, object] = field(default_factory=dict)
    """To what is posted there."""
    cut_off: str | None = None
    """Where the connection ends without an answer."""
    refused: str | None = None
    """Where nothing is taken."""
    slow: dict[str, asyncio.Event] = field(default_factory=dict)
    """Where an answer waits, and for what."""
    terminal: Terminal = field(default_factory=Terminal)
    streams: list[asyncio.Queue[bytes | None]] = field(default_factory=list)

    async def say(self, *events: Mapping[str, object] | bytes) -> None:
        for event in events:
            data = event if isinstance(event, bytes) else b"data: " + json.dumps(event).encode() + b"\n\n"
            await self.streams[-1].put(data)

    async def events(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") is None:
            return web.Response(status=401)
        if self.unanswered:
            self.unanswered -= 1
            await asyncio.Event().wait()
        response = web.StreamResponse()
        await response.prepare(request)
        stream: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.streams.append(stream)
        await self.say({"type": "server.connected", "properties": {}})
        while (piece := await stream.get()) is not None:
            await response.write(piece)
        return response

    async def say_statuses(self, _request: web.Request) -> web.Response:
        return web.json_response(self.statuses)

    async def say_list(self, request: web.Request) -> web.Response:
        return web.json_response(self.lists.get(request.path, []))

    async def take(self, request: web.Request) -> web.Response:
        self.posts.append((request.path, await request.json()))
        if request.path == self.cut_off:
            assert request.transport is not None
            request.transport.abort()
        if (answers := self.slow.get(request.path)) is not None:
            await answers.wait()
        status = 503 if request.path == self.refused else self.status
        return web.json_response(self.answers.get(request.path, True), status=status)


@asynccontextmanager
async def watched(
    server: Scripted | None = None,
    data: Path | None = None,
    *,
    conversation: str | None = None,
    wanted: Activity = Activity.IDLE,
    **noted: str,
) -> AsyncIterator[tuple[Scripted, RunWatch, OpenCodeWatch]]:
    server = server or Scripted()
    app = web.Application()
    app.router.add_get("/event", server.events)
    app.router.add_get("/session/status", server.say_statuses)
    app.router.add_get("/{rest:.*}", server.say_list)
    app.router.add_post("/{rest:.*}", server.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.port = runner.addresses[0][1]
    memo = {launch.PORT: str(server.port), launch.PASSWORD: "x", **noted}
    if data is not None:
        memo[launch.DATA] = str(data)
    process = ProcessIdentity(1, None)
    run = LiveRun(facts("opencode"), process, memo, server.terminal, conversation)
    looks = Looks()
    watch = RunWatch(run, Ground(looks, FileChanges(looks, interval=0.01), me(), wall), Outlet())
    watch.begin(OPENCODE)
    await until(lambda: activity(watch) is wanted)
    assert isinstance(watch._watched.watch, OpenCodeWatch)
    yield server, watch, watch._watched.watch
    await watch.let_go()
    looks.close()
    for stream in server.streams:
        stream.put_nowait(None)
    await runner.cleanup()


def activity(watch: RunWatch) -> Activity | None:
    return None if watch.current is None else watch.current.doing.activity


def doing(watch: RunWatch, wanted: Activity) -> Callable[[], bool]:
    return lambda: activity(watch) is wanted

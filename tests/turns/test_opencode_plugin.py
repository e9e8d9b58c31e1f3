"""OpenCode by its plugin: what it posts, told as the server would tell it; a stand-in for it, and what it adds."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from agentd.files.looks import Looks
from agentd.harness.additions import HOOK_VARIABLE, LaunchFacts
from agentd.model.states import Activity
from agentd.process.identity import ProcessIdentity
from agentd.turns.adapter import Answer, Granularity, Ground, Hook, LiveRun, NotNowError, TurnsError
from agentd.turns.events import Decision
from agentd.turns.file_changes import FileChanges
from agentd.turns.opencode import launch, plugin
from agentd.turns.opencode.adapter import OPENCODE
from agentd.turns.opencode.plugin import CONFIG, PROGRAM, Plugin
from agentd.turns.opencode.server import NoAnswerError
from agentd.turns.opencode.watch import OpenCodeWatch
from agentd.turns.run_watch import RunWatch
from tests.turns.claude_run import Outlet, Terminal, me, until, wall
from tests.turns.opencode_run import (
    ASKED,
    CONVERSATION_ROWS,
    IDLE,
    TOKENS,
    doing,
    facts,
    message,
    prompt,
    said_of,
)

OWN, OTHER = 100, 101
"""Processes."""


@dataclass
class StandIn:
    """Posts as the plugin does, and answers what it is asked."""

    watch: RunWatch
    answers: dict[str, object] = field(default_factory=lambda: {"/session/status": {}})
    posts: list[tuple[str, object]] = field(default_factory=list)
    failing: list[str] = field(default_factory=list)
    """What is not answered once."""
    silent: bool = False
    pieces: int = 1
    pid: int = OWN

    async def post(self, name: str, **body: object) -> Mapping[str, object]:
        said = await self.watch.hook(Hook(name, body, self.pid))
        found: Mapping[str, object] = json.loads(said or b"{}")
        return found

    async def serve(self) -> None:
        while True:
            wish = await self.post("next")
            if "refused" in wish:
                return
            if "id" in wish and not self.silent:
                await self.answer(wish)

    async def answer(self, wish: Mapping[str, object]) -> None:
        if wish["path"] in self.failing:
            self.failing.remove(str(wish["path"]))
            await self.post("answer", id=wish["id"], status=503, text="", last=True)
            return
        path = str(wish["path"]).partition("?")[0]
        if wish["method"] == "POST":
            self.posts.append((path, wish["document"]))
        said = json.dumps(self.answers.get(path, []))
        length = -(-len(said) // self.pieces)
        for at in range(0, len(said), length):
            last = at + length >= len(said)
            await self.post("answer", id=wish["id"], status=200, text=said[at : at + length], last=last)

    async def say(self, *events: Mapping[str, object], lost: bool = False) -> None:
        await self.post("events", events=list(events), lost=lost)


@asynccontextmanager
async def standing_in(**given: object) -> AsyncIterator[tuple[StandIn, RunWatch, OpenCodeWatch]]:
    looks, terminal = Looks(), Terminal()
    terminal.shown = CONVERSATION_ROWS
    run = LiveRun(facts("opencode"), ProcessIdentity(1, None), {launch.PLUGIN: "yes"}, terminal)
    watch = RunWatch(run, Ground(looks, FileChanges(looks, interval=0.01), me(), wall), Outlet())
    watch.begin(OPENCODE)
    other = replace(StandIn(watch), **given)  # type: ignore[arg-type]
    serving = asyncio.create_task(other.serve())
    await until(doing(watch, Activity.IDLE))
    assert isinstance(watch._watched.watch, OpenCodeWatch)
    yield other, watch, watch._watched.watch
    serving.cancel()
    await asyncio.wait([serving])
    await watch.let_go()
    looks.close()


async def test_a_turn_a_permission_and_an_interrupt() -> None:
    async with standing_in() as (other, watch, adapter):
        assert watch.current is not None
        assert watch.current.doing.source == "plugin"
        assert watch.granularity is Granularity.TOKEN
        assert watch.witnesses.started == "plugin"
        await other.say(*prompt("m1", "go"), ASKED)
        await until(doing(watch, Activity.WAITING_PERMISSION))
        await watch.answer(None, Answer(Decision.ALLOW))
        assert other.posts == [("/permission/per_1/reply", {"reply": "once"})]
        await watch.interrupt()
        assert other.posts[-1][0] == "/session/s/abort"
        await other.say(IDLE)
        await until(doing(watch, Activity.IDLE))
        await adapter.deliver("next")
        assert other.posts[-1] == ("/session/s/prompt_async", {"parts": [{"type": "text", "text": "next"}]})


@pytest.mark.parametrize("pieces", [1, 7])
async def test_what_was_lost_is_asked_for(pieces: int) -> None:
    async with standing_in(pieces=pieces) as (other, watch, _):
        await other.say(*prompt("m1", "go"))
        await until(doing(watch, Activity.WORKING))
        other.answers["/session/s/message"] = [message(1, "user", "go"), message(2, "assistant", "done", tokens=TOKENS)]
        await other.say(lost=True)
        await until(lambda: watch.conversation.last is not None)
        assert watch.conversation.last is not None
        assert said_of(watch.conversation.last) == ("go", "completed", "done")
        assert watch.conversation.usage.input_tokens == 10


async def test_a_turn_of_a_former_agentd_is_looked_up_however_late_the_plugin_is_heard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("agentd.turns.opencode.watch._FOUND", 0.02)
    # Before this agentd was started.
    said = [message(1, "user", "go", time={"created": 1}), message(2, "assistant", "done", tokens=TOKENS)]
    async with standing_in() as (other, watch, adapter):
        other.answers["/session/s/message"] = said
        adapter._reader.session = "s"
        adapter._heard.clear()
        await watch.recall("go", None, 0.0)
        told = watch.conversation.last
        # It is asked again where it does not answer.
        other.failing.append("/session/s/message")
        await other.say(lost=True)
        await until(lambda: watch.conversation.last is not None)
        last = watch.conversation.last
        assert told is None
        assert last is not None
        assert said_of(last) == ("go", "completed", "done")


async def test_another_program_of_the_run_is_not_believed() -> None:
    async with standing_in() as (other, watch, _):
        other.pid = OTHER
        assert await other.post("next") == {"refused": True}
        await other.say(*prompt("m1", "forged"))
        other.pid = OWN
        await other.say(*prompt("m2", "go"))
        await until(doing(watch, Activity.WORKING))
        assert watch.conversation.turn is not None
        assert watch.conversation.turn.prompt == "go"


async def test_a_plugin_that_is_gone_is_a_witness_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugin, "_ABSENT", 0.05)
    monkeypatch.setattr(plugin, "_HELD", 0.02)
    async with standing_in() as (other, watch, adapter):
        other.pid = OTHER
        await until(doing(watch, Activity.UNKNOWN))
        assert await adapter.hindrance(returned=None) == "its server is not heard"
        other.pid = OWN
        serving = asyncio.create_task(other.serve())
        await until(doing(watch, Activity.IDLE))
        serving.cancel()


async def test_a_plugin_that_does_not_answer_costs_the_request_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    async with standing_in() as (other, watch, adapter):
        await other.say(*prompt("m1", "go"), ASKED)
        await until(doing(watch, Activity.WAITING_PERMISSION))
        other.silent = True
        with monkeypatch.context() as impatient:
            impatient.setattr("agentd.turns.opencode.server.Server.post.__defaults__", (0.05,))
            with pytest.raises(NoAnswerError):
                await watch.answer(None, Answer(Decision.ALLOW))
        other.silent = False
        await watch.answer(None, Answer(Decision.ALLOW))
        assert adapter.voice.conversation.requests == ()


async def test_nobody_there_is_asked_later() -> None:
    with pytest.raises(NotNowError, match="plugin is not heard"):
        await Plugin().ask("GET", "/path", None, 0.01, 100)


@pytest.mark.parametrize(
    "garbage",
    [
        Hook("events", None, OWN),
        Hook("events", {"events": 5}, OWN),
        Hook("events", {"events": [5, {"type": 5}, {"properties": []}]}, OWN),
        Hook("answer", {"id": "x", "status": "y", "text": 5}, OWN),
        Hook("answer", {"id": 99, "status": 200, "text": "{", "last": True}, OWN),
        Hook("nonsense", {}, OWN),
    ],
)
async def test_garbage_costs_nothing(garbage: Hook) -> None:
    async with standing_in() as (other, watch, _):
        assert await watch.hook(garbage) is None
        await other.say(*prompt("m1", "go"))
        await until(doing(watch, Activity.WORKING))


async def test_an_answer_that_is_too_long_or_no_json_is_none() -> None:
    async with standing_in() as (other, watch, adapter):
        other.answers["/path"] = "x" * (70 << 10)
        server = adapter._server
        assert server is not None
        with pytest.raises(OSError, match="over 65536 bytes"):
            await server.get("/path")
        other.answers["/path"] = 5
        with pytest.raises(OSError, match="no object"):
            await server.get("/path")
        with pytest.raises(TurnsError):
            await watch.answer(None, Answer(Decision.ALLOW))


# -- launches


def hooked(*argv: str, stays: bool = True, **environment: str) -> LaunchFacts:
    """A launch with a socket for hooks."""
    given = facts(*argv, stays=stays)
    return replace(given, environment={HOOK_VARIABLE: "/run/agentd.sock.turns", **environment})


ELSEWHERE = [
    ("--port", "0"),
    ("--port",),
    ("--port=70000",),
    ("--port", "4096", "--hostname", "192.168.0.1"),
    ("--hostname=0.0.0.0",),
    ("--mdns",),
]


@pytest.mark.parametrize("words", ELSEWHERE)
def test_where_the_server_cannot_be_followed_a_plugin_is_added(words: tuple[str, ...]) -> None:
    given = replace(hooked("opencode", *words), resume="ses_1")
    added = OPENCODE.additions(given)
    assert added.argv == ("opencode", "-s", "ses_1", *words)
    assert (dict(added.environment), added.file) == ({}, PROGRAM)
    assert json.loads(added.amended[CONFIG]) == {"plugin": ["file:///nowhere/file"]}
    assert dict(added.memo) == {launch.PLUGIN: "yes", launch.RESUMED: "ses_1"}


def test_what_the_user_has_configured_is_kept_and_shown_nowhere() -> None:
    own = json.dumps({"model": "m", "plugin": ["mine"], "key": "hunter2"})
    added = OPENCODE.additions(hooked("opencode", "--mdns", OPENCODE_CONFIG_CONTENT=own))
    assert json.loads(added.amended[CONFIG]) == {
        "model": "m",
        "plugin": ["mine", "file:///nowhere/file"],
        "key": "hunter2",
    }
    assert "hunter2" not in repr(added)


def test_the_server_of_another_user_is_told_of_by_the_plugin() -> None:
    added = OPENCODE.additions(hooked("opencode", "--port", "4096", OPENCODE_SERVER_USERNAME="me"))
    assert launch.PLUGIN in added.memo


@pytest.mark.parametrize(
    "given",
    [
        facts("opencode", "--mdns"),
        hooked("opencode", "--mdns", "--pure"),
        hooked("opencode", "--mdns", stays=False),
        hooked("opencode", "serve", "--mdns"),
        hooked("opencode", "--mdns", OPENCODE_CONFIG_CONTENT="{ // a comment\n}"),
        hooked("opencode", "--mdns", OPENCODE_CONFIG_CONTENT='{"plugin": 5}'),
        hooked("opencode", "--mdns", OPENCODE_CONFIG_CONTENT="[]"),
    ],
)
def test_it_is_not_where_it_would_not_be_loaded(given: LaunchFacts) -> None:
    added = OPENCODE.additions(given)
    assert (added.argv, dict(added.amended), dict(added.memo)) == (given.argv, {}, {})


def test_the_plugin_is_part_of_the_package() -> None:
    assert Path(plugin.__file__).with_name("plugin.js").read_bytes() == PROGRAM

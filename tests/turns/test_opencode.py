"""OpenCode's events, replayed; its server, scripted; what is added to its launch."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from agentd.harness.additions import LaunchFacts
from agentd.model.states import Activity
from agentd.turns.activity import SCREEN, Rank, Seen
from agentd.turns.adapter import Answer, TurnsError
from agentd.turns.conversation import Conversation, Turn, take
from agentd.turns.events import Decision, Ended, Failure, Outcome, PermissionAsked
from agentd.turns.opencode import launch
from agentd.turns.opencode.adapter import OPENCODE
from agentd.turns.opencode.events import Doing, Reader
from agentd.turns.opencode.listening import listens
from tests.turns.claude_run import until, wall
from tests.turns.opencode_run import ASKED, IDLE, doing, facts, prompt, said_of, watched

SAMPLES = Path(__file__).parent / "samples"


def sample(name: str) -> list[Mapping[str, object]]:
    return [json.loads(line) for line in (SAMPLES / f"opencode-events-{name}.jsonl").read_text().splitlines()]


def replayed(name: str) -> list[Turn]:
    reader, conversation, turns = Reader(), Conversation(), list[Turn]()
    for at, event in enumerate(sample(name)):
        for each in reader.read(event):
            last = conversation.last
            conversation = take(conversation, each, float(at))
            if (
                conversation.last is not None
                and conversation.last is not last
                and conversation.last.id not in [turn.id for turn in turns]
            ):
                turns.append(conversation.last)
    return turns


def test_the_turns_of_a_recorded_day_are_told() -> None:
    told = [said_of(turn) for turn in replayed("f1")]
    reply = "STUB-REPLY: "
    first, bash = "STUB-TRICKLE:3 from the gateway\na\nb", "STUB-BASH:echo hi > /srv/agents/work/ocf"
    assert told[:3] == [
        (first, "completed", reply + first),
        ("human typed", "completed", reply + "human typed"),
        (bash, "completed", reply + bash),
    ]
    # Two prompts while it works: the first one's end is never told.
    assert told[4:6] == [
        ("STUB-TRICKLE:4 first of two", "lost", None),
        ("second of two", "completed", reply + "second of two"),
    ]
    assert told[6][1] == "interrupted"
    assert told[-1] == ("after restart", "completed", reply + "after restart")


def test_the_turns_that_a_recorded_plugin_heard_are_told() -> None:
    texts = "STUB-TRICKLE:2 a\nb", "STUB-BASH:echo hi > /srv/agents/work/og"
    assert [said_of(turn) for turn in replayed("plugin")] == [
        (text, "completed", f"STUB-REPLY: {text}") for text in texts
    ]


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        ({"name": "APIError", "data": {"statusCode": 401, "message": "Unauthorized"}}, Failure.AUTH_ERROR),
        ({"name": "APIError", "data": {"statusCode": 429, "message": "slow down"}}, Failure.USAGE_LIMIT),
        ({"name": "APIError", "data": {"message": "You exceeded your quota"}}, Failure.USAGE_LIMIT),
        ({"name": "UnknownError", "data": {"message": "boom"}}, Failure.OTHER),
        ({}, Failure.OTHER),
    ],
)
def test_errors_end_turns(error: dict[str, object], failure: Failure) -> None:
    reader, conversation = Reader(), Conversation()
    for event in (
        *prompt("m1", "go"),
        {"type": "session.error", "properties": {"sessionID": "s", "error": error}},
        IDLE,
    ):
        for each in reader.read(event):
            conversation = take(conversation, each, 0.0)
    assert conversation.last is not None
    assert conversation.last.end is not None
    assert (conversation.last.end.outcome, conversation.last.end.failure) == (Outcome.FAILED, failure)


def answer(message: str, finish: str | None = None, **info: object) -> Mapping[str, object]:
    about = {"id": message, "role": "assistant", "sessionID": "s", **info}
    if finish is not None:
        about |= {"finish": finish, "time": {"completed": 1}}
    return {"type": "message.updated", "properties": {"sessionID": "s", "info": about}}


def ends(*events: Mapping[str, object]) -> list[tuple[str, str | None]]:
    reader = Reader()
    told = (each for event in events for each in reader.read(event))
    return [(each.outcome.value, each.final_text) for each in told if isinstance(each, Ended)]


def test_a_turn_that_a_refused_tool_ends_is_interrupted() -> None:
    # With a reason the agent goes on, and says something.
    assert ends(*prompt("m1", "go"), answer("a1", "tool-calls"), IDLE) == [("interrupted", None)]
    told = answer("a1", "tool-calls"), answer("a2"), answer("a2", "stop")
    assert ends(*prompt("m1", "go"), *told, IDLE) == [("completed", "")]


def test_the_second_end_of_an_aborted_turn_does_not_end_the_next() -> None:
    aborted = {"name": "MessageAbortedError"}
    error = {"type": "session.error", "properties": {"sessionID": "s", "error": aborted}}
    left = answer("a1", error=aborted, time={"completed": 1})
    first = *prompt("m1", "go"), answer("a1"), error, IDLE
    second = answer("a2"), answer("a2", "stop"), IDLE
    both = [("interrupted", None), ("completed", "")]
    assert ends(*first, left, IDLE, *prompt("m2", "next"), *second) == both
    assert ends(*first, *prompt("m2", "next"), left, IDLE, *second) == both
    assert ends(*first, *prompt("m2", "next"), left, answer("a2"), IDLE) == both
    # One that ends before the agent says anything.
    assert ends(*first, left, IDLE, *prompt("m2", "next"), IDLE) == both
    assert ends(*first, *prompt("m2", "next"), error, IDLE) == [both[0], both[0]]


def _of_a_tool(status: str, given: Mapping[str, object]) -> Mapping[str, object]:
    state = {"status": status, "input": given}
    part = {"id": "p", "type": "tool", "tool": "toy_delete", "callID": "c", "messageID": "a", "state": state}
    return {"type": "message.part.updated", "properties": {"sessionID": "s", "part": part}}


def _asking_early() -> Reader:
    """A server's tool is asked for before it is told what it is given, as measured with 1.18.33."""
    reader = Reader(session="s")
    tool = {"messageID": "a", "callID": "c"}
    asked = {"id": "per", "sessionID": "s", "permission": "toy_delete", "patterns": ["*"], "metadata": {}, "tool": tool}
    for event in (*prompt("m", "go"), _of_a_tool("pending", {}), {"type": "permission.asked", "properties": asked}):
        told = [*reader.read(event)]
        assert not any(isinstance(each, PermissionAsked) for each in told)
    assert reader.holds
    return reader


def test_what_is_asked_for_before_its_input_is_known_is_told_with_it() -> None:
    reader = _asking_early()
    _, asked = reader.read(_of_a_tool("running", {"path": "/x"}))
    assert asked == PermissionAsked("per", "toy_delete", "toy_delete", "c", arguments={"path": "/x"})
    assert reader.doing == Doing(Activity.WAITING_PERMISSION, "toy_delete")
    assert not reader.holds


def test_what_is_asked_for_is_told_also_if_its_input_never_comes() -> None:
    reader = _asking_early()
    assert [*reader.release()] == [PermissionAsked("per", "toy_delete", "toy_delete", "c", arguments={})]
    assert [*reader.release()] == []


@pytest.mark.parametrize(
    "event",
    [IDLE, {"type": "permission.replied", "properties": {"sessionID": "s", "requestID": "per", "reply": "once"}}],
)
def test_what_is_decided_or_over_is_not_asked_for(event: Mapping[str, object]) -> None:
    reader = _asking_early()
    assert not any(isinstance(each, PermissionAsked) for each in reader.read(event))
    assert not reader.holds


def test_sessions_of_subagents_are_passed_over() -> None:
    reader = Reader()
    child = {"type": "session.created", "properties": {"sessionID": "c", "info": {"id": "c", "parentID": "s"}}}
    asked = {"type": "message.updated", "properties": {"sessionID": "c", "info": {"role": "user", "id": "m"}}}
    assert [*reader.read(child), *reader.read(asked)] == []
    assert reader.session is None


@pytest.mark.parametrize(
    "event", [{}, {"type": 5}, {"type": "message.updated", "properties": [1]}, {"type": "session.idle"}]
)
def test_nonsense_says_nothing(event: dict[str, object]) -> None:
    assert list(Reader().read(event)) == []


# -- launches


def test_a_launch_that_stays_serves_behind_a_password_that_is_in_no_argument() -> None:
    added = OPENCODE.additions(facts("opencode", "--prompt", "hi", resume="ses_1"))
    port, password = added.memo[launch.PORT], added.memo[launch.PASSWORD]
    assert added.argv == ("opencode", "--hostname", "127.0.0.1", "--port", port, "-s", "ses_1", "--prompt", "hi")
    assert added.environment == {"OPENCODE_SERVER_PASSWORD": password}
    assert password not in repr(added)
    assert password not in added.argv


@pytest.mark.parametrize(
    "given",
    [
        facts("opencode", "--prompt", "hi", stays=False),
        facts("opencode", "--port", "0"),
        facts("opencode", "--port"),
        facts("opencode", "--port=70000"),
        facts("opencode", "--port", "4096", "--hostname", "192.168.0.1"),
        facts("opencode", "--port", "4096", OPENCODE_SERVER_USERNAME="me"),
        facts("opencode", "--hostname=0.0.0.0"),
        facts("opencode", "--mdns"),
        facts("opencode", "serve"),
    ],
)
def test_nothing_is_added_to_other_launches(given: LaunchFacts) -> None:
    added = OPENCODE.additions(given)
    assert (added.argv, dict(added.environment), dict(added.memo)) == (given.argv, {}, {})


@pytest.mark.parametrize("words", [("--port", "4096"), ("--port=4096", "--hostname", "0.0.0.0")])  # noqa: S104
def test_a_server_that_the_user_has_set_up_is_followed(words: tuple[str, ...]) -> None:
    added = OPENCODE.additions(facts("opencode", *words, resume="ses_1", OPENCODE_SERVER_PASSWORD="mine"))
    assert added.argv == ("opencode", "-s", "ses_1", *words)
    assert dict(added.environment) == {}
    assert dict(added.memo) == {
        launch.PORT: "4096",
        launch.PASSWORD: "mine",
        launch.GIVEN: "yes",
        launch.RESUMED: "ses_1",
    }
    assert OPENCODE.additions(facts("opencode", *words)).memo[launch.PASSWORD] == ""


def test_who_listens_on_a_port_is_known() -> None:
    code = "import socket; s=socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        port = int(other.stdout.readline())
        assert listens(other.pid, port)
        assert listens(os.getpid(), port), "it descends from this one"
        with subprocess.Popen(["sleep", "60"]) as stranger:
            assert not listens(stranger.pid, port)
            stranger.kill()
        other.communicate(b"\n")


def test_a_password_of_the_users_is_kept() -> None:
    added = OPENCODE.additions(facts("opencode", OPENCODE_SERVER_PASSWORD="mine"))
    assert added.argv[1:4] == ("--hostname", "127.0.0.1", "--port")
    assert (dict(added.environment), added.memo[launch.PASSWORD]) == ({}, "mine")
    assert "mine" not in repr(added)


def test_a_run_that_ends_with_its_answer_is_one_turn() -> None:
    added = OPENCODE.additions(facts("opencode", "run", "hi", stays=False))
    assert (added.argv, dict(added.memo)) == (("opencode", "run", "hi"), {launch.ONE_TURN: "yes"})


# -- answers and losses


async def test_a_permission_is_answered_and_the_turn_interrupted() -> None:
    async with watched() as (server, watch, adapter):
        await server.say(*prompt("m1", "go"), ASKED)
        await until(doing(watch, Activity.WAITING_PERMISSION))
        await watch.answer(None, Answer(Decision.ALLOW))
        assert server.posts == [("/permission/per_1/reply", {"reply": "once"})]
        await watch.interrupt()
        assert server.posts[-1][0] == "/session/s/abort"
        await adapter.deliver("next")
        assert server.posts[-1] == ("/session/s/prompt_async", {"parts": [{"type": "text", "text": "next"}]})
        await server.say(IDLE)
        await until(doing(watch, Activity.IDLE))
        assert watch.session == "s"


async def test_a_permission_that_only_the_screen_shows_yet_is_answered_once_the_server_tells_of_it() -> None:
    async with watched() as (server, watch, _):
        watch.seen("server", None)
        watch.seen(SCREEN, Seen(Activity.WAITING_PERMISSION, wall(), "make", Rank.SCREEN))
        answering = asyncio.create_task(watch.answer(None, Answer(Decision.ALLOW)))
        await asyncio.sleep(0)
        assert not answering.done()
        await server.say(*prompt("m1", "go"), ASKED)
        assert (await answering).id == "per_1"
        assert server.posts == [("/permission/per_1/reply", {"reply": "once"})]


async def test_an_answer_to_what_only_the_screen_shows_is_refused_after_a_moment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("agentd.turns.asked.LIMIT", 0.1)
    async with watched() as (_, watch, _):
        watch.seen("server", None)
        watch.seen(SCREEN, Seen(Activity.WAITING_PERMISSION, wall(), "trust?", Rank.SCREEN))
        with pytest.raises(TurnsError, match="no answer that can be given here"):
            await watch.answer(None, Answer(Decision.ALLOW))


async def test_why_a_permission_is_denied_is_said_to_the_agent() -> None:
    async with watched() as (server, watch, _):
        await server.say(*prompt("m1", "go"), ASKED)
        await until(doing(watch, Activity.WAITING_PERMISSION))
        await watch.answer(None, Answer(Decision.DENY, "not now"))
        assert server.posts == [("/permission/per_1/reply", {"reply": "reject", "message": "not now"})]


async def test_a_refusal_of_the_server_is_said() -> None:
    async with watched() as (server, watch, _):
        await server.say(*prompt("m1", "go"), ASKED)
        await until(doing(watch, Activity.WAITING_PERMISSION))
        server.status = 404
        with pytest.raises(TurnsError, match="status 404"):
            await watch.answer(None, Answer(Decision.DENY))


async def test_garbage_and_an_endless_line_cost_nothing_else() -> None:
    async with watched() as (server, watch, _):
        await server.say(b"data: {{{\n\n", b"nonsense\n", b"data: " + b"[" * 100_000 + b"\n", b"data: 5\n\n")
        for _ in range(6):
            await server.say(b"data: " + b"x" * (1 << 20))
        await server.say(b"\n\n", *prompt("m1", "go"))
        await until(doing(watch, Activity.WORKING))


async def test_a_server_that_goes_is_connected_to_again() -> None:
    async with watched() as (server, watch, _):
        await server.say(*prompt("m1", "go"))
        await until(doing(watch, Activity.WORKING))
        server.statuses = {"s": {"type": "busy"}}
        server.streams[-1].put_nowait(None)
        await until(lambda: len(server.streams) == 2)
        await until(doing(watch, Activity.WORKING))
        server.statuses = {}
        server.streams[-1].put_nowait(None)
        await until(doing(watch, Activity.IDLE))
        last = watch.conversation.last
        assert last is not None
        assert last.end is not None
        assert last.end.outcome is Outcome.LOST

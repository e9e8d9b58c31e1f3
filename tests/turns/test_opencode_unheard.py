"""What OpenCode's events do not tell: where its terminal stands, and what happened while its server was not heard."""

from __future__ import annotations

import asyncio

import pytest

from agentd.model.states import Activity
from agentd.turns.adapter import NotNowError
from agentd.turns.conversation import Conversation, take
from agentd.turns.events import Ended
from agentd.turns.opencode.events import Reader
from agentd.turns.opencode.home_screen import is_home
from agentd.turns.opencode.messages import missed
from agentd.turns.opencode.port import Port
from agentd.turns.opencode.server import Server
from tests.turns.claude_run import until, wall
from tests.turns.opencode_run import (
    ASKED,
    CONVERSATION,
    CONVERSATION_ROWS,
    HOME,
    HOME_ROWS,
    IDLE,
    SCREENS,
    TOKENS,
    Scripted,
    doing,
    message,
    prompt,
    rows,
    said_of,
    watched,
)

# -- the home screen


def test_the_home_screen_is_told_from_all_others() -> None:
    homes = [path for path in SCREENS if is_home(rows(path.read_text()))]
    assert homes == [path for path in SCREENS if path.name.endswith("just-started.ansi")]
    assert len(homes) >= 3


def test_a_message_that_looks_like_the_home_screens_box_is_none() -> None:
    placeholder = next(row for row in rows(HOME) if "Ask anything" in row)
    assert is_home([placeholder, "", *rows(CONVERSATION)]) is False
    assert is_home([placeholder]) is None


async def test_a_conversation_that_was_left_for_the_home_screen_is_left() -> None:
    async with watched() as (server, watch, _):
        await server.say(*prompt("m1", "go"))
        await until(doing(watch, Activity.WORKING))
        watch.saw(HOME)
        assert not watch.wants_screen
        await server.say(IDLE)
        await until(lambda: watch.wants_screen)
        # It is drawn late: what the terminal shows is not the conversation yet.
        watch.saw(HOME)
        assert watch.session == "s"
        watch.saw(CONVERSATION)
        watch.saw("a dialog\n")
        assert watch.session == "s"
        watch.saw(HOME)
        assert watch.session is None


async def test_the_next_message_begins_another_conversation_then() -> None:
    async with watched() as (server, watch, adapter):
        server.answers["/session"] = {"id": "ses_2"}
        await server.say(*prompt("m1", "go"), IDLE)
        await until(lambda: watch.conversation.last is not None)
        watch.saw(CONVERSATION)
        server.terminal.shown = CONVERSATION_ROWS
        assert await adapter.hindrance(returned=None) is None
        server.terminal.shown = HOME_ROWS
        assert await adapter.hindrance(returned=None) is None
        await adapter.deliver("next")
        assert [path for path, _ in server.posts] == ["/session", "/tui/select-session", "/session/ses_2/prompt_async"]
        # A draft stands where a new conversation would begin.
        watch.saw(CONVERSATION)
        watch.saw(HOME)
        server.terminal.shown = CONVERSATION_ROWS
        assert "not show" in str(await adapter.hindrance(returned=None))


@pytest.mark.parametrize("path", ["/session", "/tui/select-session"])
async def test_what_fails_before_the_message_is_sent_may_be_tried_again(path: str) -> None:
    async with watched() as (server, _, adapter):
        server.answers["/session"] = {"id": "ses_2"}
        server.refused = path
        with pytest.raises(NotNowError, match="status 503"):
            await adapter.deliver("hello")
        assert server.posts[-1][0] == path
        server.refused = None
        await adapter.deliver("hello")
        assert server.posts[-1][0] == "/session/ses_2/prompt_async"


async def test_a_conversation_that_is_begun_slowly_is_waited_for_and_begun_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("agentd.turns.opencode.beginning._BEGUN", 0.01)
    async with watched() as (server, _, adapter):
        server.answers["/session"] = {"id": "ses_2"}
        server.slow["/session"] = asyncio.Event()
        for _ in range(3):
            with pytest.raises(NotNowError, match="not begun a conversation yet"):
                await adapter.deliver("hello")
        monkeypatch.setattr("agentd.turns.opencode.beginning._BEGUN", 10.0)
        server.slow["/session"].set()
        await adapter.deliver("hello")
        assert [path for path, _ in server.posts] == ["/session", "/tui/select-session", "/session/ses_2/prompt_async"]


async def test_a_conversation_that_is_shown_slowly_is_the_same_one_still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentd.turns.opencode.beginning._SHOWN", 0.2)
    async with watched() as (server, _, adapter):
        server.answers["/session"] = {"id": "ses_2"}
        server.slow["/tui/select-session"] = asyncio.Event()
        with pytest.raises(NotNowError, match="did not answer"):
            await adapter.deliver("hello")
        server.slow.clear()
        monkeypatch.setattr("agentd.turns.opencode.beginning._SHOWN", 10.0)
        await adapter.deliver("hello")
        assert [path for path, _ in server.posts].count("/session") == 1


def test_a_server_that_answers_late_again_and_again_is_given_more_time() -> None:
    server, given = Server(Port(1, "password")), list[float]()
    for late in (0, 1, 2, 3, 4, 5, 1000):
        server.be_patient(late)
        given.append(server._limit)
    assert given == [3.0, 3.0, 6.0, 6.0, 12.0, 12.0, 12.0]


# -- what was not heard


def test_turns_that_were_not_heard_are_told_from_the_list() -> None:
    said = [
        message(1, "user", "heard before"),
        message(2, "assistant", "yes", tokens=TOKENS),
        message(3, "user", "one"),
        message(4, "assistant", "1", tokens=TOKENS),
        message(5, "user", "two"),
        message(6, "assistant", "", error={"name": "MessageAbortedError"}),
        message(7, "user", "three"),
    ]
    reader, conversation, ends = Reader(session="s"), Conversation(), list[tuple[str | None, str | None, str | None]]()
    for event in missed(said, 0.0, None, lambda each: each == "m1", idle=True):
        for each in reader.read(event):
            conversation = take(conversation, each, 0.0)
            if isinstance(each, Ended):
                assert conversation.last is not None
                ends.append(said_of(conversation.last))
    assert ends == [("one", "completed", "1"), ("two", "interrupted", None)]
    assert conversation.turn is not None
    assert conversation.turn.prompt == "three"
    assert conversation.usage.input_tokens == 10
    assert [*missed(said[:2], wall() + 120, None, lambda _: False, idle=True)] == []


async def test_what_was_said_before_the_server_was_heard_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    # Where it starts just then, the first request is never answered.
    monkeypatch.setattr("agentd.turns.opencode.port._HEADERS", 0.5)
    server = Scripted(unanswered=1)
    server.lists = {
        "/session": [{"id": "s", "time": {"created": round(1000 * wall()) + 60_000}}],
        "/session/s/message": [message(1, "user", "the prompt"), message(2, "assistant", "done", tokens=TOKENS)],
    }
    server.terminal.shown = CONVERSATION_ROWS
    async with watched(server) as (_, watch, _):
        last = watch.conversation.last
        assert last is not None
        assert said_of(last) == ("the prompt", "completed", "done")
        assert watch.session == "s"
        assert watch.conversation.usage.input_tokens == 10


@pytest.mark.parametrize(("begun", "shown"), [(2, CONVERSATION_ROWS), (1, HOME_ROWS)])
async def test_a_conversation_of_another_one_in_the_folder_is_not_taken(begun: int, shown: str) -> None:
    server = Scripted()
    server.lists = {
        "/session": [{"id": f"s{n}", "time": {"created": round(1000 * wall()) + 60_000}} for n in range(begun)]
    }
    server.terminal.shown = shown
    async with watched(server) as (_, watch, _):
        assert watch.session is None


BUSY = {"s": {"type": "busy"}}


LONG_AGO: dict[str, object] = {"created": 1, "completed": 1}


def at_work() -> list[dict[str, object]]:
    """A conversation whose last turn has used a tool, and writes its answer."""
    writes = message(5, "assistant", "half ", time={"created": 1})
    return [
        message(1, "user", "before", time=LONG_AGO),
        message(2, "assistant", "before", time=LONG_AGO, finish="stop"),
        message(3, "user", "typed", time=LONG_AGO),
        message(4, "assistant", "", time=LONG_AGO, tokens=TOKENS, finish="tool-calls"),
        {**writes, "parts": [{**part, "time": {}} for part in parts(writes)]},
    ]


def parts(said: dict[str, object]) -> list[dict[str, object]]:
    found = said["parts"]
    assert isinstance(found, list)
    return found


@pytest.mark.parametrize("known", [None, "s", "another"])
async def test_a_turn_that_is_under_way_when_agentd_starts_is_told_whole(known: str | None) -> None:
    server = Scripted(statuses={**BUSY, "of its subagent": {"type": "busy"}})
    server.lists = {"/session/s": {"id": "s"}, "/session/of its subagent": {"parentID": "s"}}
    server.lists["/session/s/message"] = at_work()
    server.terminal.shown = CONVERSATION_ROWS
    async with watched(server, conversation=known, wanted=Activity.WORKING) as (_, watch, _):
        turn = watch.conversation.turn
        assert turn is not None
        assert (turn.prompt, turn.usage.input_tokens, watch.session) == ("typed", 10, "s")
        text = {**parts(at_work()[-1])[0], "text": "half done", "time": {"end": 1}}
        whole = {"id": "m5", "role": "assistant", "sessionID": "s", "time": {"completed": 1}, "tokens": TOKENS}
        for kind, said in (("message.part.updated", {"part": text}), ("message.updated", {"info": whole})):
            await server.say({"type": kind, "properties": {"sessionID": "s", **said}})
        await server.say(IDLE)
        await until(lambda: watch.conversation.last is not None)
        assert watch.conversation.last is not None
        assert said_of(watch.conversation.last) == ("typed", "completed", "half done")
        assert watch.conversation.last.usage.input_tokens == 20


async def test_what_a_conversation_is_at_after_its_last_turn_is_none() -> None:
    server = Scripted(statuses=dict(BUSY))
    server.lists = {
        "/session/s": {"id": "s"},
        "/session/s/message": [*at_work()[:2], message(3, "user", "", time=LONG_AGO)],
    }
    async with watched(server, conversation="s", wanted=Activity.WORKING) as (_, watch, _):
        assert watch.conversation.turn is None


async def test_a_turn_that_ends_while_the_server_is_not_heard_is_told() -> None:
    async with watched() as (server, watch, adapter):
        await server.say(*prompt("m1", "go"), ASKED)
        await until(doing(watch, Activity.WAITING_PERMISSION))
        server.lists["/session/s/message"] = [message(1, "user", "go"), message(2, "assistant", "done", tokens=TOKENS)]
        server.streams[-1].put_nowait(None)
        await until(lambda: watch.conversation.last is not None)
        last = watch.conversation.last
        assert last is not None
        assert said_of(last) == ("go", "completed", "done")
        await until(adapter._heard.is_set)
        assert await adapter.hindrance(returned=None) is None


async def test_what_was_asked_while_the_server_was_not_heard_is_told() -> None:
    async with watched() as (server, watch, _):
        await server.say(*prompt("m1", "go"), ASKED)
        await until(doing(watch, Activity.WAITING_PERMISSION))
        question = {"id": "que_1", "sessionID": "s", "questions": [{"question": "Which?", "options": []}]}
        server.lists = {"/session/s/message": [message(1, "user", "go")], "/question": [question]}
        server.statuses = {"s": {"type": "busy"}}
        server.streams[-1].put_nowait(None)
        await until(doing(watch, Activity.WAITING_INPUT))
        assert [request.id for request in watch.conversation.requests] == ["que_1"]


async def test_no_message_is_handed_over_while_the_server_is_not_heard() -> None:
    async with watched() as (server, watch, adapter):
        server.unanswered = 1
        server.streams[-1].put_nowait(None)
        await until(doing(watch, Activity.UNKNOWN))
        assert await adapter.hindrance(returned=None) == "its server is not heard"

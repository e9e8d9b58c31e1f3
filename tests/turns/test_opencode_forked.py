"""A run of OpenCode whose conversation begins as a fork: with the first message, once."""

from __future__ import annotations

import pytest

from agentd.turns.adapter import NotNowError
from tests.turns.claude_run import until, wall
from tests.turns.opencode_run import CONVERSATION_ROWS, HOME_ROWS, IDLE, Scripted, message, prompt, watched

ONE_TURN = [message(1, "user", "first"), message(2, "assistant", "yes")]


def forking() -> Scripted:
    server = Scripted(lists={"/session/other/message": [*ONE_TURN], "/session/s/message": [*ONE_TURN]})
    server.lists |= {"/path": {"directory": "/work"}, "/session/other": {"directory": "/work"}}
    server.answers = {"/session/other/fork": {"id": "s"}, "/session": {"id": "new"}}
    server.terminal.shown = HOME_ROWS
    return server


async def test_the_first_message_forks_and_the_next_ones_do_not() -> None:
    async with watched(forking(), fork="other@m1") as (server, watch, adapter):
        assert await adapter.hindrance(returned=None) is None
        await adapter.deliver("second")
        begun = ["/session/other/fork", "/tui/select-session", "/session/s/prompt_async"]
        assert [path for path, _ in server.posts] == begun
        await server.say(*prompt("m1", "first"), *prompt("m3", "second"))
        await until(lambda: watch.conversation.turn is not None)
        assert watch.conversation.turn is not None
        assert watch.conversation.turn.prompt == "second", "what was copied is no turn"
        await adapter.deliver("third")
        assert [path for path, _ in server.posts] == [*begun, begun[-1]]


async def test_a_fork_that_does_not_work_out_is_tried_again() -> None:
    server = forking()
    server.refused = "/session/other/fork"
    async with watched(server, fork="other@m1") as (server, _, adapter):
        with pytest.raises(NotNowError, match="status 503"):
            await adapter.deliver("second")
        server.refused = None
        await adapter.deliver("second")
        assert [path for path, _ in server.posts][-3:] == [
            "/session/other/fork",
            "/tui/select-session",
            "/session/s/prompt_async",
        ]


async def test_a_conversation_of_a_person_does_not_take_the_place_of_the_fork() -> None:
    async with watched(forking(), fork="other@m1") as (server, watch, adapter):
        await server.say(*prompt("m7", "mine"), IDLE)
        await until(lambda: watch.conversation.last is not None)
        server.terminal.shown = "a dialog\n"
        assert await adapter.hindrance(returned=None) is not None
        server.terminal.shown = CONVERSATION_ROWS
        assert await adapter.hindrance(returned=None) is None
        await adapter.deliver("second")
        assert server.posts[0][0] == "/session/other/fork"


async def test_an_agentd_that_comes_back_takes_up_the_copy_that_was_made() -> None:
    server = forking()
    made = round(1000 * wall()) + 60_000
    server.lists["/session"] = [{"id": "s", "time": {"created": made}}]
    before = {"created": made - 200_000, "completed": made - 199_000}
    earlier = [message(1, "user", "first", time=before), message(2, "assistant", "yes", time=before)]
    server.lists["/session/s/message"] = [*earlier, message(3, "user", "second")]
    server.terminal.shown = CONVERSATION_ROWS
    async with watched(server, fork="other@m1") as (server, watch, adapter):
        assert watch.conversation.turn is not None
        assert watch.conversation.turn.prompt == "second"
        await adapter.deliver("third")
        assert [path for path, _ in server.posts] == ["/session/s/prompt_async"]

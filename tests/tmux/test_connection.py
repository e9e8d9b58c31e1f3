from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil
import pytest
from structlog.testing import LogCapture

from agentd.tmux import connection as connections
from agentd.tmux.connection import ClientCommand, ControlConnection
from agentd.tmux.errors import TmuxError, TmuxStartError, TmuxUnreachableError
from agentd.tmux.protocol import Notification
from agentd.tmux.server import TmuxServer
from agentd.tmux.syntax import command
from tests.support.processes import alive, children_named
from tests.support.waiting import until
from tests.tmux.servers import client_command, clients, environment, tmux, wait_for_screen

Connect = Callable[..., Awaitable[ControlConnection]]


def client_of(connection: ControlConnection) -> int:
    assert connection._transport is not None
    return connection._transport.get_pid()


def shell(script: str) -> ClientCommand:
    """Something else than tmux in the client's place."""
    return ClientCommand(("/bin/sh", "-c", script), environment())


async def test_hundreds_of_commands_in_flight_are_each_given_their_own_answer(connect: Connect) -> None:
    connection = await connect()
    answers = await asyncio.gather(*(connection.run(f"display-message -p {number}") for number in range(500)))
    assert answers == [[(str(number),)] for number in range(500)]


async def test_a_sequence_gives_the_lines_of_each_command(connect: Connect) -> None:
    connection = await connect()
    assert await connection.run("display-message -p a", "set-option -s @x 1", "display-message -p b") == [
        ("a",),
        (),
        ("b",),
    ]


async def test_a_refused_command_ends_its_sequence_and_no_other(connect: Connect) -> None:
    connection = await connect()
    before, failing, after = await asyncio.gather(
        connection.run("display-message -p before"),
        connection.run("set-option -s @a 1", "kill-session -t =nobody", "set-option -s @b 1"),
        connection.run("display-message -p after"),
        return_exceptions=True,
    )
    assert (before, after) == ([("before",)], [("after",)])
    assert isinstance(failing, TmuxError)
    assert "can't find session: nobody" in str(failing)
    assert await connection.run("show-options -sqv @a", "show-options -sqv @b") == [("1",), ()]


@pytest.mark.parametrize("wrong", ["no-such-command", "display-message {", "display-message -Z"])
async def test_a_command_that_tmux_cannot_read_is_an_error_and_the_next_one_works(connect: Connect, wrong: str) -> None:
    connection = await connect()
    with pytest.raises(TmuxError):
        await connection.run(wrong)
    assert await connection.run("display-message -p next") == [("next",)]


async def test_answers_after_a_cancelled_command_go_to_whom_they_belong(server: TmuxServer, connect: Connect) -> None:
    connection = await connect()
    assert server.identity is not None
    os.kill(server.identity.pid, signal.SIGSTOP)
    cancelled = [asyncio.create_task(connection.run(f"display-message -p no{number}")) for number in range(20)]
    kept = asyncio.create_task(connection.run("display-message -p a", "display-message -p b"))
    await asyncio.sleep(0)
    for task in cancelled[::2]:
        task.cancel()
    os.kill(server.identity.pid, signal.SIGCONT)
    assert await kept == [("a",), ("b",)]
    assert await asyncio.gather(*cancelled[1::2]) == [[(f"no{number}",)] for number in range(1, 20, 2)]


async def test_a_big_answer_comes_whole(connect: Connect) -> None:
    connection = await connect()
    value = "x" * 2000
    await connection.run(*(command("set-option", "-s", f"@big{number}", value) for number in range(500)))
    lines = (await connection.run("show-options -s"))[0]
    assert sum(line.endswith(value) for line in lines) == 500


async def test_blank_lines_of_a_screen_are_kept(server: TmuxServer, connect: Connect) -> None:
    connection = await connect()
    await connection.run("new-session -d -s blank sh -c 'printf \"\\\\n\\\\nthird\\\\n\\\\nfifth\"; exec cat'")
    await asyncio.to_thread(wait_for_screen, server.socket, "=blank:", "fifth")
    shown = (await connection.run("capture-pane -p -t =blank:"))[0]
    assert shown[:6] == ("", "", "third", "", "fifth", "")


async def test_notifications_are_handed_on(server: TmuxServer) -> None:
    told: list[Notification] = []
    connection = await ControlConnection.open(client_command(server.socket), told.append)
    await connection.run("new-session -d -s told cat")
    await connection.run("display-message -p after")
    await connection.close()
    assert "sessions-changed" in {notification.name for notification in told}


async def test_a_killed_client_fails_what_waits_and_all_that_follows(server: TmuxServer, connect: Connect) -> None:
    connection = await connect()
    assert server.identity is not None
    os.kill(server.identity.pid, signal.SIGSTOP)
    waiting = [asyncio.create_task(connection.run("display-message -p x")) for _ in range(3)]
    await asyncio.sleep(0)
    os.kill(client_of(connection), signal.SIGKILL)
    for task in waiting:
        with pytest.raises(TmuxUnreachableError, match="closed the control connection"):
            await task
    with pytest.raises(TmuxUnreachableError, match="is closed"):
        await connection.run("display-message -p x")
    assert "closed" in await connection.closed


async def test_a_killed_server_ends_the_connection_with_the_reason(server: TmuxServer, connect: Connect) -> None:
    connection = await connect()
    assert server.identity is not None
    os.kill(server.identity.pid, signal.SIGKILL)
    assert "server exited unexpectedly" in await connection.closed


async def test_a_server_told_to_end_ends_the_connection(connect: Connect) -> None:
    connection = await connect()
    await connection.run("kill-server")
    assert "tmux closed the control connection" in await connection.closed
    with pytest.raises(TmuxUnreachableError):
        await connection.run("display-message -p x")


async def test_a_server_that_does_not_answer_counts_as_unreachable(
    server: TmuxServer, connect: Connect, events: LogCapture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_LEAVE_LIMIT", 0.05)
    connection = await connect(answer_limit=0.1)
    client = client_of(connection)
    assert server.identity is not None
    os.kill(server.identity.pid, signal.SIGSTOP)
    with pytest.raises(TmuxUnreachableError, match=r"did not answer within 0\.1 s"):
        await connection.run("display-message -p x")
    assert "did not answer" in await connection.closed
    await connection.close()
    assert not alive(client)
    assert [event["event"] for event in events.entries] == ["tmux_client_killed"]


async def test_a_server_that_does_not_greet_is_a_start_error(
    server: TmuxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_LEAVE_LIMIT", 0.05)
    assert server.identity is not None
    os.kill(server.identity.pid, signal.SIGSTOP)
    with pytest.raises(TmuxStartError, match=r"did not answer within 0\.1 s"):
        await ControlConnection.open(client_command(server.socket), lambda _: None, greeting_limit=0.1)


async def test_closing_leaves_neither_process_nor_task_nor_event(server: TmuxServer, events: LogCapture) -> None:
    before = asyncio.all_tasks()
    connection = await ControlConnection.open(client_command(server.socket), lambda _: None)
    client = client_of(connection)
    await connection.close()
    await connection.close()
    assert not psutil.pid_exists(client)
    assert asyncio.all_tasks() == before
    assert events.entries == []
    assert len(clients(server.socket)) == 1
    assert "tester" in tmux(server.socket, "list-sessions")


async def test_opening_that_is_cancelled_leaves_no_process(server: TmuxServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_LEAVE_LIMIT", 0.05)
    assert server.identity is not None
    os.kill(server.identity.pid, signal.SIGSTOP)
    opening = asyncio.create_task(ControlConnection.open(client_command(server.socket), lambda _: None))
    await until(lambda: len(clients(server.socket)) == 2)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert len(clients(server.socket)) == 1


async def test_opening_may_be_cancelled_at_any_moment() -> None:
    for turns in range(20):
        opening = asyncio.create_task(ControlConnection.open(shell("exec cat"), lambda _: None))
        for _ in range(turns):
            await asyncio.sleep(0)
        opening.cancel()
        done, _ = await asyncio.wait([opening], timeout=10)
        assert done, f"hangs when cancelled after {turns} turns of the loop"
    assert children_named(os.getpid(), "cat") == []


async def test_a_program_that_cannot_be_started_is_a_start_error(short_folder: Path) -> None:
    with pytest.raises(TmuxStartError, match=r"cannot start .*/nothing: No such file"):
        await ControlConnection.open(ClientCommand((str(short_folder / "nothing"),), {}), lambda _: None)


async def test_what_a_client_complains_about_is_the_reason() -> None:
    for _ in range(20):
        with pytest.raises(TmuxStartError, match="no luck today"):
            await ControlConnection.open(shell("exec 1>&-; echo no luck today >&2"), lambda _: None)


async def test_a_refused_command_line_is_a_start_error(server: TmuxServer) -> None:
    refused = client_command(server.socket)
    with pytest.raises(TmuxStartError, match="duplicate session"):
        await ControlConnection.open(
            ClientCommand((*refused.argv[:7], "new-session", "-s", "_agentd"), refused.environment), lambda _: None
        )


async def test_a_program_that_speaks_something_else_is_a_start_error() -> None:
    with pytest.raises(TmuxStartError, match=r"broke its protocol.*hello"):
        await ControlConnection.open(shell("echo hello; exec cat"), lambda _: None)


async def test_a_client_whose_output_ends_before_the_greeting_is_not_waited_for() -> None:
    began = time.monotonic()
    with pytest.raises(TmuxStartError, match="closed the control connection"):
        await ControlConnection.open(shell("exec sleep 600 >&-"), lambda _: None, greeting_limit=60)
    assert time.monotonic() - began < 30


async def test_an_answer_nobody_asked_for_is_logged(events: LogCapture) -> None:
    greeting = (
        "printf '%%begin 1 1 0\\n%%end 1 1 0\\n%%begin 1 2 1\\nwhat\\n%%end 1 2 1\\n%%begin 1 3 0\\n%%end 1 3 0\\n'"
    )
    connection = await ControlConnection.open(shell(f"{greeting}; exec cat >/dev/null"), lambda _: None)
    await until(lambda: events.entries)
    await connection.close()
    assert [(event["event"], event["answer"]) for event in events.entries] == [("tmux_unexpected_answer", "what")]


async def test_only_the_end_of_long_complaints_is_kept() -> None:
    with pytest.raises(TmuxStartError) as caught:
        await ControlConnection.open(
            shell("head -c 100000 /dev/zero | tr '\\0' x >&2; echo the end >&2"), lambda _: None
        )
    assert len(str(caught.value)) < 3000
    assert str(caught.value).endswith("the end")

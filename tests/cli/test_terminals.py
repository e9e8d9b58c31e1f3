from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cli.support import RUNNING, Client, MemorySource, TmuxServer
from tests.support.daemon import program
from tests.support.waiting import wait_for

AGENT = replace(RUNNING, name="Reviewer", session="rev")
DECOY = "rev-two"
"""A session that `-t rev` would match too."""


@pytest.fixture(autouse=True)
def agents(source: MemorySource) -> None:
    source.statuses = [AGENT, replace(RUNNING, name="idle", session="idle", state="disabled", running=False, pid=None)]


def write(text: str) -> str:
    """Make a shell command that writes this and stays."""
    return f"printf %b {json.dumps(text)}; exec cat"


def test_logs_prints_the_scrollback_of_exactly_this_session(client: Client, agents_tmux: TmuxServer) -> None:
    agents_tmux.session(DECOY, write("decoy"))
    agents_tmux.session("rev", write("".join(f"line {n}\\n" for n in range(100))), rows=10)
    agents_tmux.wait_for_text("rev", "line 99")
    done = client("logs", "reviewer")
    assert done.status == 0
    assert done.out.splitlines() == [f"line {n}" for n in range(100)]
    assert client("logs", "reviewer", "-n", "3").out.splitlines() == ["line 97", "line 98", "line 99"]
    assert client("logs", "reviewer", "-n", "0").out == ""
    document = client("logs", "reviewer", "--json", "-n1").document
    assert document == {"name": "Reviewer", "session": "rev", "lines": ["line 99"]}


def test_logs_joins_lines_that_only_the_terminals_width_broke(client: Client, agents_tmux: TmuxServer) -> None:
    agents_tmux.session("rev", write("x" * 150 + " end"), columns=40)
    agents_tmux.wait_for_text("rev", "end")
    assert client("logs", "reviewer").out == "x" * 150 + " end\n"


def test_logs_are_utf_8_in_any_locale(client: Client, agents_tmux: TmuxServer) -> None:
    agents_tmux.session("rev", "printf 'grün ✓\\n'; exec cat")
    agents_tmux.wait_for_text("rev", "✓")
    assert client("logs", "reviewer", LC_ALL="C", LANG="C").out == "grün ✓\n"


def test_the_agents_own_pane_is_read_whatever_an_operator_opened(client: Client, agents_tmux: TmuxServer) -> None:
    agents_tmux.session("rev", write("the agent"))
    agents_tmux.wait_for_text("rev", "the agent")
    agents_tmux("split-window", "-t", "=rev:", write("a split"))
    agents_tmux("new-window", "-t", "=rev:", write("a window"))
    for command in ("logs", "screen"):
        assert client(command, "reviewer").out.strip() == "the agent"


@contextmanager
def following(client: Client, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Run ``logs -f`` into a file."""
    path = client.folder / "followed"
    with path.open("w") as file:
        process = subprocess.Popen(
            [program("agentctl"), "logs", "reviewer", "-f", *arguments],
            env=client.environment,
            stdout=file,
            stderr=subprocess.PIPE,
            text=True,
        )
    try:
        yield process, path
    finally:
        process.kill()
        process.communicate()


def enter(server: TmuxServer, text: str) -> None:
    server("send-keys", "-t", "=rev:", "-l", text)
    server("send-keys", "-t", "=rev:", "Enter")


def wait_for_line(path: Path, line: str) -> None:
    wait_for(
        lambda: f"{line}\n" in path.read_text(), what=f"{line} is printed", explain=lambda: path.read_text()[-500:]
    )


def test_following_prints_each_line_once_until_the_session_is_closed(client: Client, agents_tmux: TmuxServer) -> None:
    agents_tmux.session(DECOY, "exec cat")
    agents_tmux("set-option", "-g", "history-limit", "50000")
    agents_tmux.session("rev", "echo first; stty -echo; exec sh", rows=5)
    agents_tmux.wait_for_text("rev", "first")
    enter(agents_tmux, "PS1=; echo ready")
    agents_tmux.wait_for_text("rev", "ready")
    with following(client) as (process, path):
        wait_for(lambda: "first" in path.read_text(), what="what was there is printed")
        for block in range(1, 4):
            enter(agents_tmux, f"seq {block}000 {block}999")
            wait_for_line(path, f"{block}999")
        agents_tmux("kill-session", "-t", "=rev")
        assert process.wait(20) == 0
        printed = [line for line in path.read_text().splitlines() if line.isdigit()]
        assert printed == [str(number) for number in range(1000, 4000)]


def test_following_goes_on_when_tmux_drops_the_oldest_lines(client: Client, agents_tmux: TmuxServer) -> None:
    agents_tmux.session("other", "exec cat")
    agents_tmux("set-option", "-g", "history-limit", "300")
    agents_tmux.session("rev", "stty -echo; exec sh", rows=5)
    enter(agents_tmux, "PS1=; seq 0 299")
    agents_tmux.wait_for_text("rev", "299")
    with following(client, "-n", "2") as (_, path):
        wait_for(lambda: "299\n" in path.read_text(), what="the last lines are printed")
        for start in range(300, 700, 50):
            enter(agents_tmux, f"seq {start} {start + 49}")
            wait_for_line(path, str(start + 49))
        printed = [line for line in path.read_text().splitlines() if line.isdigit()]
        assert printed == [str(number) for number in range(298, 700)]


def test_following_goes_on_in_the_session_of_the_next_run(client: Client, agents_tmux: TmuxServer) -> None:
    agents_tmux.session(DECOY, "exec cat")
    agents_tmux.session("rev", write("one\\n"))
    with following(client) as (_, path):
        wait_for(lambda: "one\n" in path.read_text(), what="the first run is printed")
        agents_tmux("kill-session", "-t", "=rev", ";", "new-session", "-d", "-s", "rev", write("two\\n"))
        wait_for(lambda: path.read_text() == "one\ntwo\n", what="the next run is printed", explain=path.read_text)


def test_screen_is_what_the_terminal_shows_now(client: Client, agents_tmux: TmuxServer) -> None:
    agents_tmux.session("rev", write("gone\\n" * 20 + "\\033[2J\\033[3;5H\\033[31mred"), rows=10)
    agents_tmux.wait_for_text("rev", "red")
    assert client("screen", "reviewer").out == "\n\n    red\n"
    assert client("screen", "reviewer", "--json").document == {
        "name": "Reviewer",
        "session": "rev",
        "lines": ["", "", "    red"],
    }


def test_screen_keeps_colours_on_a_terminal(client: Client, agents_tmux: TmuxServer, operator_tmux: TmuxServer) -> None:
    agents_tmux.session("rev", write("\\033[31mred"))
    agents_tmux.wait_for_text("rev", "red")
    operator_tmux.session("s", client.shell_words("screen", "reviewer"))
    operator_tmux.wait_for_text("s", "[status 0]")
    assert "\x1b[31mred" in operator_tmux.screen("s", "-e")


@pytest.mark.parametrize("command", ["logs", "screen", "attach"])
def test_an_agent_without_a_session_fails_with_its_state(client: Client, agents_tmux: TmuxServer, command: str) -> None:
    agents_tmux.session("idle-not-quite", "exec cat")
    done = client(command, "idle")
    assert (done.status, done.out) == (1, "")
    assert "idle has no tmux session; it is disabled" in done.err


def test_a_tmux_server_that_is_not_there_is_said(client: Client) -> None:
    done = client("logs", "reviewer")
    assert done.status == 1
    assert str(client.tmux_socket) in done.err


@pytest.mark.parametrize("command", ["logs", "screen", "attach"])
def test_an_unknown_agent_fails_with_a_hint(client: Client, command: str) -> None:
    done = client(command, "revewer")
    assert done.status == 1
    assert "did you mean Reviewer?" in done.err


def test_following_has_no_json(client: Client) -> None:
    assert client("logs", "reviewer", "-f", "--json").status == 2


@pytest.mark.parametrize("number", ["-1", "x", "1.5", "٣"])
def test_a_number_of_lines_is_checked(client: Client, number: str) -> None:
    assert client("logs", "reviewer", f"--lines={number}").status == 2


def test_attach_shows_the_agent_takes_typing_and_comes_back_on_detach(
    client: Client, agents_tmux: TmuxServer, operator_tmux: TmuxServer
) -> None:
    agents_tmux.session(DECOY, write("decoy"))
    agents_tmux.session("rev", write("the agent\\n"))
    operator_tmux.session("op", client.shell_words("attach", "REVIEWER"))
    operator_tmux.wait_for_text("op", "the agent")
    # On the agent's screen, where it is needed; what was printed before may be gone from the operator's afterwards.
    operator_tmux.wait_for_text("op", "C-b d detaches")
    operator_tmux("send-keys", "-t", "=op:", "-l", "typed by hand")
    agents_tmux.wait_for_text("rev", "typed by hand")
    operator_tmux("send-keys", "-t", "=op:", "C-b", "d")
    screen = operator_tmux.wait_for_text("op", "[status 0]")
    assert "detached (from session rev)" in screen
    assert agents_tmux("list-clients") == ""


def test_attach_works_from_a_pane_of_the_agents_own_server(client: Client, agents_tmux: TmuxServer) -> None:
    agents_tmux.session("rev", write("the agent\\n"))
    agents_tmux.session("op", client.shell_words("attach", "reviewer"))
    agents_tmux.wait_for_text("op", "the agent")
    agents_tmux("detach-client", "-s", "=rev")
    agents_tmux.wait_for_text("op", "[status 0]")


def test_attach_needs_a_terminal(client: Client, agents_tmux: TmuxServer) -> None:
    agents_tmux.session("rev", "exec cat")
    done = client("attach", "reviewer")
    assert (done.status, done.out) == (1, "")
    assert "needs a terminal" in done.err


def test_attach_with_json_prints_the_command_line(client: Client, agents_tmux: TmuxServer) -> None:
    agents_tmux.session("rev", "exec cat")
    assert client("attach", "reviewer", "--json").document == {
        "name": "Reviewer",
        "session": "rev",
        "argv": ["tmux", "-S", str(client.tmux_socket), "attach-session", "-t", "=rev"],
    }


def test_without_a_daemon_the_session_of_the_same_name_is_taken_with_a_warning(
    client: Client, agents_tmux: TmuxServer
) -> None:
    agents_tmux.session("rev", write("still here"))
    agents_tmux.wait_for_text("rev", "still here")
    done = client("logs", "rev", AGENTD_API_SOCKET="gone.sock")
    assert (done.status, done.out) == (0, "still here\n")
    assert "gone.sock" in done.err
    assert client("logs", "re", AGENTD_API_SOCKET="gone.sock").status == 3


def test_tmux_that_is_not_installed_is_said(client: Client) -> None:
    done = client("logs", "reviewer", PATH=str(client.folder))
    assert done.status == 1
    assert "there is no tmux on the PATH: install it" in done.err


def test_interrupted_following_ends_as_by_the_signal(
    client: Client, agents_tmux: TmuxServer, operator_tmux: TmuxServer
) -> None:
    agents_tmux.session("rev", write("one\\n"))
    operator_tmux.session("s", client.shell_words("logs", "reviewer", "-f"))
    operator_tmux.wait_for_text("s", "one")
    operator_tmux("send-keys", "-t", "=s:", "C-c")
    operator_tmux.wait_for_text("s", "[status 130]")

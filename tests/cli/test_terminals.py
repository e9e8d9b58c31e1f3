from __future__ import annotations

import json
from dataclasses import replace
from typing import Protocol

import pytest

from tests.cli.support import RUNNING, Client, MemorySource, TmuxServer

AGENT = replace(RUNNING, name="Reviewer", session="rev")
DECOY = "rev-two"
"""A session that `-t rev` would match too."""


IDLE = replace(
    RUNNING, name="idle", session="idle", state="disabled", running=False, pid=None, pane=None, pane_pid=None
)


@pytest.fixture(autouse=True)
def agents(source: MemorySource) -> None:
    source.statuses = [AGENT, IDLE]


class Open(Protocol):
    """Runs the agent with a command."""

    def __call__(self, command: str, rows: int = 30) -> str: ...


@pytest.fixture
def open_agent(source: MemorySource, agents_tmux: TmuxServer) -> Open:
    """Give what runs a command as the agent; that gives the pane's id."""

    def run(command: str, rows: int = 30) -> str:
        pane, pid = agents_tmux.agent(AGENT.session, command, rows)
        source.statuses = [replace(AGENT, pane=pane, pane_pid=pid), IDLE]
        return pane

    return run


def write(text: str) -> str:
    """Make a shell command that writes this and stays."""
    return f"printf %b {json.dumps(text)}; exec cat"


@pytest.mark.parametrize(
    "moved",
    [
        pytest.param(["split-window", "-b", "-t", "=rev:0"], id="a split before it"),
        pytest.param(["split-window", "-t", "=rev:0", ";", "swap-pane", "-U", "-t", "=rev:0"], id="swapped"),
        pytest.param(["new-window", "-b", "-t", "=rev:0"], id="a window before it"),
        pytest.param(["new-window", "-t", "=rev:9", ";", "swap-window", "-s", "=rev:0", "-t", "=rev:9"], id="moved"),
    ],
)
def test_the_agents_own_pane_is_read_whatever_an_operator_opened(
    client: Client, agents_tmux: TmuxServer, open_agent: Open, moved: list[str]
) -> None:
    pane = open_agent(write("the agent"))
    agents_tmux.wait_for_text(pane, "the agent")
    agents_tmux(*moved)
    assert client("screen", "reviewer").out.strip() == "the agent"
    assert client("screen", "rev", AGENTD_API_SOCKET="gone.sock").out.strip() == "the agent"


def test_screen_is_what_the_terminal_shows_now(client: Client, agents_tmux: TmuxServer, open_agent: Open) -> None:
    open_agent(write("gone\\n" * 20 + "\\033[2J\\033[3;5H\\033[31mred"), rows=10)
    agents_tmux.wait_for_text("rev", "red")
    assert client("screen", "reviewer").out == "\n\n    red\n"
    document = client("screen", "reviewer", "--json").document
    assert isinstance(document, dict)
    expected = {"name": "Reviewer", "session": "rev", "lines": ["", "", "    red"]}
    assert {name: document[name] for name in expected} == expected
    assert {"width", "height", "cursor_x", "cursor_y", "cursor_visible"} <= document.keys()
    without_daemon = client("screen", "rev", "--json", AGENTD_API_SOCKET="gone.sock")
    assert without_daemon.document == {**expected, "name": "rev"}


@pytest.mark.thorough
def test_screen_keeps_colours_on_a_terminal(
    client: Client, agents_tmux: TmuxServer, operator_tmux: TmuxServer, open_agent: Open
) -> None:
    open_agent(write("\\033[31mred"))
    agents_tmux.wait_for_text("rev", "red")
    operator_tmux.session("s", client.shell_words("screen", "reviewer"))
    operator_tmux.wait_for_text("s", "[status 0]")
    assert "\x1b[31mred" in operator_tmux.screen("s", "-e")


@pytest.mark.parametrize("command", ["screen", "attach"])
def test_an_agent_without_a_session_fails_with_its_state(client: Client, agents_tmux: TmuxServer, command: str) -> None:
    agents_tmux.session("idle-not-quite", "exec cat")
    done = client(command, "idle")
    assert (done.status, done.out) == (1, "")
    assert "idle has no tmux session; it is disabled" in done.err


def test_a_session_of_the_same_name_that_agentd_did_not_open_is_not_taken(
    client: Client, source: MemorySource, agents_tmux: TmuxServer
) -> None:
    agents_tmux.session("rev", write("somebody else's"))
    agents_tmux.wait_for_text("rev", "somebody else's")
    done = client("screen", "rev", AGENTD_API_SOCKET="gone.sock")
    assert (done.status, done.out) == (3, "")
    pid = agents_tmux("display-message", "-p", "-t", "=rev:", "#{pane_pid}")
    for pane, held in (("%0", 1), ("%9", int(pid))):
        source.statuses = [replace(AGENT, pane=pane, pane_pid=held)]
        done = client("attach", "reviewer", "--json")
        assert done.status == 1
        assert f"the pane {pane} of Reviewer is gone, or holds another run" in done.err


def test_a_tmux_server_that_is_not_there_is_said(client: Client) -> None:
    done = client("attach", "reviewer", "--json")
    assert done.status == 1
    assert str(client.tmux_socket) in done.err


@pytest.mark.parametrize("command", ["logs", "screen", "attach"])
def test_an_unknown_agent_fails_with_a_hint(client: Client, command: str) -> None:
    done = client(command, "revewer")
    assert done.status == 1
    assert "did you mean Reviewer?" in done.err


def test_attach_shows_the_agent_takes_typing_and_comes_back_on_detach(
    client: Client, agents_tmux: TmuxServer, operator_tmux: TmuxServer, open_agent: Open
) -> None:
    agents_tmux.session(DECOY, write("decoy"))
    open_agent(write("hello from rev\\n"))
    operator_tmux.session("op", client.shell_words("attach", "REVIEWER"))
    operator_tmux.wait_for_text("op", "hello from rev")
    # On the agent's screen, where it is needed; what was printed before may be gone from the operator's afterwards.
    operator_tmux.wait_for_text("op", "C-b d detaches")
    operator_tmux("send-keys", "-t", "=op:", "-l", "typed by hand")
    agents_tmux.wait_for_text("rev", "typed by hand")
    operator_tmux("send-keys", "-t", "=op:", "C-b", "d")
    screen = operator_tmux.wait_for_text("op", "[status 0]")
    assert "detached (from session rev)" in screen
    assert agents_tmux("list-clients") == ""


def test_attach_works_from_a_pane_of_the_agents_own_server(
    client: Client, agents_tmux: TmuxServer, open_agent: Open
) -> None:
    open_agent(write("hello from rev\\n"))
    agents_tmux.session("op", client.shell_words("attach", "reviewer"))
    agents_tmux.wait_for_text("op", "hello from rev")
    agents_tmux("detach-client", "-s", "=rev")
    agents_tmux.wait_for_text("op", "[status 0]")


@pytest.mark.thorough
def test_an_unknown_terminal_is_attached_as_one_that_everybody_knows(
    client: Client, operator_tmux: TmuxServer, open_agent: Open
) -> None:
    open_agent(write("hello from rev\\n"))
    operator_tmux.session("op", "export TERM=xterm-nobody-knows; " + client.shell_words("attach", "reviewer"))
    operator_tmux.wait_for_text("op", "hello from rev")
    operator_tmux("send-keys", "-t", "=op:", "C-b", "d")
    assert "TERM=xterm-nobody-knows is unknown here" in operator_tmux.wait_for_text("op", "[status 0]").replace(
        "\n", ""
    )


def test_a_terminal_that_cannot_move_its_cursor_is_refused_with_what_to_do(
    client: Client, operator_tmux: TmuxServer, open_agent: Open
) -> None:
    open_agent(write("hello from rev\\n"))
    operator_tmux.session("op", "export TERM=dumb; " + client.shell_words("attach", "reviewer"))
    screen = operator_tmux.wait_for_text("op", "[status 1]")
    assert "TERM=xterm-256color agentctl attach" in screen.replace("\n", "")


def test_attach_needs_a_terminal(client: Client, open_agent: Open) -> None:
    open_agent("exec cat")
    done = client("attach", "reviewer")
    assert (done.status, done.out) == (1, "")
    assert "needs a terminal" in done.err


def test_attach_with_json_prints_the_command_line(client: Client, open_agent: Open) -> None:
    pane = open_agent("exec cat")
    shown = ["attach-session", "-t", pane, ";", "select-window", "-t", pane, ";", "select-pane", "-t", pane]
    assert client("attach", "reviewer", "--json").document == {
        "name": "Reviewer",
        "session": "rev",
        "argv": ["tmux", "-S", str(client.tmux_socket), *shown],
    }


def test_without_a_daemon_the_session_of_the_same_name_is_taken_with_a_warning(
    client: Client, agents_tmux: TmuxServer, open_agent: Open
) -> None:
    open_agent(write("still here"))
    agents_tmux.wait_for_text("rev", "still here")
    done = client("screen", "rev", AGENTD_API_SOCKET="gone.sock")
    assert (done.status, done.out) == (0, "still here\n")
    assert "gone.sock" in done.err
    assert client("screen", "re", AGENTD_API_SOCKET="gone.sock").status == 3


def test_tmux_that_is_not_installed_is_said(client: Client) -> None:
    done = client("attach", "reviewer", "--json", PATH=str(client.folder))
    assert done.status == 1
    assert "there is no tmux on the PATH: install it" in done.err

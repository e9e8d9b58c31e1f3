"""What is typed for an agent reaches its own pane, its own run, and no shell."""

from __future__ import annotations

import pytest

from agentd.cli.agentctl.terminals import NotTypedError, Terminal
from agentd.cli.agentctl.tmux import Pane, Server
from tests.cli.support import Client
from tests.cli.talking import READS, daemons_client, start, wait_for_text
from tests.support.agents import misbehaving
from tests.support.daemon import Daemon
from tests.support.waiting import wait_for


@pytest.fixture
def client(daemon: Daemon) -> Client:
    return daemons_client(daemon)


def terminal_of(daemon: Daemon, pane: object, pid: object) -> Terminal:
    """The terminal of the run that this process began."""
    server = Server(daemon.tmux_socket)
    return Terminal("a", "a", server, Pane(server, pane_id=str(pane), pane_pid=str(pid)))


SHELL = "bash --norc -i"


@pytest.mark.parametrize(
    "operated",
    [
        pytest.param(["split-window", "-d", "-b", "-t", "=a:0", SHELL], id="a split before it"),
        pytest.param(
            ["split-window", "-t", "=a:0", SHELL, ";", "swap-pane", "-D", "-t", "=a:0.0"],
            id="swapped panes",
            marks=pytest.mark.thorough,
        ),
        pytest.param(
            ["new-session", "-d", "-s", "other", SHELL, ";", "swap-pane", "-s", "=a:0.0", "-t", "=other:0.0"],
            id="swapped with another session",
            marks=pytest.mark.thorough,
        ),
        pytest.param(["new-window", "-b", "-t", "=a:0", SHELL], id="a window before it", marks=pytest.mark.thorough),
        pytest.param(
            [
                *("new-window", "-t", "=a:5", SHELL, ";", "set-option", "-t", "=a:", "base-index", "1"),
                *(";", "move-window", "-r", "-t", "=a:"),
            ],
            id="renumbered windows",
            marks=pytest.mark.thorough,
        ),
    ],
)
def test_text_and_keys_reach_the_agent_wherever_an_operator_moved_it(
    daemon: Daemon, client: Client, operated: list[str]
) -> None:
    start(daemon, READS)
    pane = str(daemon.wait_state("a", "running")["pane"])
    pwned = daemon.folder / "pwned"
    daemon.tmux(*operated)
    assert client("send", "a", f"touch {pwned}").out.endswith("to a: taken\n")
    assert client("keys", "a", "x", "y", "Enter").status == 0
    wait_for(lambda: "got <xy>" in shown(daemon, pane), what="the agent has both", explain=lambda: shown(daemon, pane))
    assert f"got <touch {pwned}>" in shown(daemon, pane, "-J")
    assert "got <xy>" in client("screen", "a").out
    assert client("interrupt", "a").status == 0
    daemon.wait_state("a", "failed")
    assert not pwned.exists()


def shown(daemon: Daemon, pane: str, *options: str) -> str:
    return daemon.tmux("capture-pane", "-p", *options, "-t", pane)


def test_what_is_typed_for_an_agent_is_not_executed_by_the_shell_that_follows_it(daemon: Daemon) -> None:
    """Before tmux knows of the end, what was typed is thrown away with what the agent has not read."""
    end, pwned = daemon.folder / "end", daemon.workdir / "pwned"
    start(daemon, misbehaving("--print", "go", "--wait-for", end), workdir=str(daemon.workdir))
    for word in ("touch", "Space", "pwned", "Enter"):
        daemon.tmux("send-keys", "-t", "=a:", word)
    end.touch()
    wait_for_text(daemon, "a", "This is a shell")
    daemon.type("a", "echo se''cond")
    wait_for_text(daemon, "a", "second")
    assert not pwned.exists()


def test_the_shell_that_follows_an_agent_is_not_typed_into_whatever_the_daemon_says(daemon: Daemon) -> None:
    """The daemon may not know yet: tmux itself does, in the moment of typing."""
    start(daemon, ["sh", "-c", "echo go; read line"])
    agent = daemon.wait_state("a", "running")
    daemon.type("a", "over")
    daemon.wait_state("a", "exited")
    wait_for_text(daemon, "a", "This is a shell")
    terminal = terminal_of(daemon, agent["pane"], agent["pane_pid"])
    with pytest.raises(NotTypedError, match="nothing was entered, since it has ended, and a shell is in its pane"):
        terminal.type(("send-keys", "echo x", "Enter"))
    with pytest.raises(NotTypedError):
        terminal.type(("paste-buffer", "-p", "-d", "-b", terminal.buffer), text=b"touch pwned\n")
    assert daemon.tmux("list-buffers") == ""
    other = terminal_of(daemon, agent["pane"], int(str(agent["pane_pid"])) + 1)
    with pytest.raises(NotTypedError, match="its pane is gone, or another run is in it"):
        other.type(("send-keys", "echo x", "Enter"))
    assert "echo x" not in daemon.screen("a")


def test_another_run_in_the_pane_is_not_typed_into(daemon: Daemon) -> None:
    start(daemon, READS, restart="always", restart_delay="10ms")
    former = daemon.wait_state("a", "running")
    daemon.tmux("send-keys", "-t", "=a:", "C-c")
    now = daemon.wait_for(
        lambda: (
            agent if (agent := daemon.agent("a")) and agent["running"] and agent["pane"] and agent["restarts"] else None
        )
    )
    assert (now["pane"], now["pane_pid"] == former["pane_pid"]) == (former["pane"], False)
    terminal = terminal_of(daemon, now["pane"], former["pane_pid"])
    with pytest.raises(NotTypedError, match="another run is in it"):
        terminal.type(("send-keys", "x", "Enter"))
    terminal_of(daemon, now["pane"], now["pane_pid"]).type(("send-keys", "y", "Enter"))
    assert "got <x>" not in wait_for_text(daemon, "a", "got <y>")


@pytest.mark.thorough
def test_keys_that_neighbours_would_get_too_are_refused(daemon: Daemon, client: Client) -> None:
    start(daemon, READS)
    daemon.tmux("split-window", "-t", "=a:0", SHELL, ";", "set-option", "-w", "-t", "=a:0", "synchronize-panes", "on")
    pwned = daemon.folder / "pwned"
    for words in (["send", "a", f"touch {pwned}"], ["keys", "a", "y"], ["interrupt", "a"]):
        done = client(*words)
        assert done.status == 1
        assert "its pane is synchronized with others" in done.err
    daemon.tmux("set-option", "-w", "-t", "=a:0", "synchronize-panes", "off")
    assert client("send", "a", "hello").status == 0
    assert not pwned.exists()

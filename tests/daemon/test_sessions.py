"""What an operator finds in tmux: live sessions to attach to, scrollback, a shell after the end."""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import subprocess
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon.support import (
    another_run,
    bad,
    counting,
    declare,
    own_home,
    pids,
    running,
    script,
    settled,
    start,
    stay,
)
from tests.support.daemon import Daemon
from tests.support.processes import wait_until_gone
from tests.support.thorough import everyday

HISTORY = 50_000


class Terminal:
    """An operator's own terminal, with tmux attached in it."""

    def __init__(self, daemon: Daemon, session: str, size: tuple[int, int] = (33, 101)) -> None:
        self._daemon = daemon
        self._master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
        os.set_blocking(self._master, False)
        self.shown = b""
        self.process = subprocess.Popen(
            ["tmux", "-u", "-S", str(daemon.tmux_socket), "attach", "-t", f"={session}"],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=daemon.environment(TERM="xterm-256color"),
            start_new_session=True,
        )
        os.close(slave)

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def shows(self, text: str) -> bool:
        """Whether this text was drawn so far."""
        with contextlib.suppress(BlockingIOError, OSError):
            while True:
                self.shown += os.read(self._master, 65536)
        return text.encode() in self.shown

    def close(self) -> None:
        """End it, and wait until tmux has noticed: until then its size counts."""
        self.process.kill()
        self.process.wait()
        os.close(self._master)
        clients = ("list-clients", "-F", "#{client_pid}")
        self._daemon.wait_for(
            lambda: str(self.process.pid) not in self._daemon.tmux(*clients, check=False).split(), what="it is detached"
        )


@contextlib.contextmanager
def attached(daemon: Daemon, session: str) -> Iterator[Terminal]:
    terminal = Terminal(daemon, session)
    try:
        yield terminal
    finally:
        terminal.close()


def test_an_operator_attaches_sees_the_agent_and_types_to_it(daemon: Daemon) -> None:
    start(daemon, bad("echoes", "--print=hello operator", "--echo", restart="no"))
    running(daemon, "echoes")
    daemon.wait_for(lambda: "ready for input" in daemon.screen("echoes"))
    with attached(daemon, "echoes") as terminal:
        daemon.wait_for(lambda: terminal.shows("hello operator"), what="the screen is drawn")
        terminal.type("grüße\r")
        daemon.wait_for(lambda: "you said: grüße" in daemon.screen("echoes"))
        size = daemon.tmux("display-message", "-p", "-t", "=echoes:0", "#{pane_width}")
        assert size == "101"
        # Detaching leaves the agent alone.
        terminal.type("\x02d")
        assert terminal.process.wait(30) == 0
    assert daemon.wait_state("echoes", "running")
    with attached(daemon, "echoes") as terminal:
        daemon.wait_for(lambda: terminal.shows("grüße"))
        terminal.type("quit\r")
        daemon.wait_state("echoes", "exited")
        # The operator is not thrown out when the agent ends.
        daemon.wait_for(lambda: terminal.shows("exit status 0"))
        assert terminal.process.poll() is None


def test_an_operator_who_is_attached_stays_attached_over_a_restart(daemon: Daemon) -> None:
    start(daemon, script("a", 'echo "this is $X"; exec sleep 600', env={"X": "one"}), flags=["--debug"])
    running(daemon, "a")
    with attached(daemon, "a") as terminal:
        daemon.wait_for(lambda: terminal.shows("this is one"))
        declare(daemon, script("a", 'echo "this is $X"; exec sleep 600', env={"X": "two"}))
        daemon.wait_for(lambda: terminal.shows("this is two"))
        assert terminal.process.poll() is None


def test_interrupting_at_the_terminal_reaches_the_agent_alone(daemon: Daemon) -> None:
    start(daemon, bad("a", "--on-int=9", "--print=waiting", "--forever"))
    running(daemon, "a")
    with attached(daemon, "a") as terminal:
        daemon.wait_for(lambda: terminal.shows("waiting"))
        terminal.type("\x03")
        assert daemon.wait_state("a", "failed")["exit_code"] == 9
        daemon.wait_for(lambda: terminal.shows("exit status 9"))


@pytest.mark.thorough
@pytest.mark.slow
def test_the_scrollback_holds_50_000_lines(daemon: Daemon) -> None:
    start(daemon, script("a", f"seq 1 {HISTORY + 2000}"))
    daemon.wait_state("a", "exited", timeout=30)
    daemon.wait_for(lambda: "exit status 0" in daemon.screen("a"), 30)
    lines = [int(line) for line in daemon.screen("a", history=True).splitlines() if line.isdigit()]
    assert len(lines) >= HISTORY
    assert lines == list(range(lines[0], HISTORY + 2001))


def test_window_0_is_the_agent_and_the_session_has_its_name(daemon: Daemon) -> None:
    start(daemon, stay("a"), stay("Some_Name-1", session="other"), stay("w", replicas=2))
    found = running(daemon, "a", "Some_Name-1", "w-0", "w-1")
    assert {"a", "other", "w-0", "w-1"} <= set(daemon.sessions())
    for name, session in (("a", "a"), ("Some_Name-1", "other"), ("w-1", "w-1")):
        tty = daemon.tmux("display-message", "-p", "-t", f"={session}:0.0", "#{pane_tty}")
        assert Path(f"/proc/{found[name]}/fd/0").readlink() == Path(tty)


def test_after_the_end_there_is_a_shell_in_the_agents_workdir_and_environment(daemon: Daemon) -> None:
    daemon.write_secret("TOKEN", "s3cret")
    env = {**own_home(daemon)["env"], "OWN": "value"}
    start(daemon, script("a", "echo last words", workdir="work", env=env))
    daemon.wait_state("a", "exited")
    daemon.wait_for(lambda: "exit status 0" in daemon.screen("a"))
    assert "last words" in daemon.screen("a")
    daemon.type("a", 'echo "<$PWD|$OWN|$TOKEN|$AGENTD_AGENT>"')
    expected = f"<{os.path.realpath(daemon.workdir)}|value|s3cret|a>"
    daemon.wait_for(lambda: expected in daemon.screen("a"), what="the shell answers")
    # A restart by hand replaces the shell, and keeps what was printed.
    declare(daemon, script("a", "echo once more", workdir="work", env=env, restarted_at="now"))
    daemon.wait_for(lambda: "once more" in daemon.screen("a", history=True))
    daemon.wait_state("a", "exited")
    assert daemon.sessions().count("a") == 1


@pytest.mark.thorough
def test_leaving_the_shell_of_an_ended_agent_ends_only_the_session(daemon: Daemon) -> None:
    agent = counting("a", daemon.folder, "exit 3", **own_home(daemon))
    start(daemon, agent, flags=["--interval=200ms"])
    daemon.wait_state("a", "failed")
    daemon.wait_for(lambda: "exit status 3" in daemon.screen("a"))
    daemon.type("a", "exit")
    daemon.wait_for(lambda: "a" not in daemon.sessions())
    settled(daemon, agent)
    assert daemon.wait_state("a", "failed")["exit_code"] == 3
    declare(daemon, {**agent, "restarted_at": "now"})
    daemon.wait_for(lambda: "exit status 3" in daemon.tmux("capture-pane", "-p", "-t", "=a:0", check=False))


@pytest.mark.thorough
def test_a_terminal_that_the_agent_left_in_a_mess_is_usable_again(daemon: Daemon) -> None:
    mess = r"printf '\033[?1049h\033[?1003h\033[?25l'; stty raw -echo; exit 1"
    start(daemon, script("a", mess, **own_home(daemon)))
    daemon.wait_state("a", "failed")
    daemon.wait_for(lambda: "exit status 1" in daemon.screen("a"))
    daemon.type("a", "echo $((6*7))")
    daemon.wait_for(lambda: "\n42" in daemon.screen("a"))
    flags = daemon.tmux("display-message", "-p", "-t", "=a:0", "#{alternate_on} #{mouse_any_flag} #{cursor_flag}")
    assert flags == "0 0 1"


def test_a_foreign_session_with_an_agents_name_fails_that_agent_alone(daemon: Daemon) -> None:
    start(daemon, stay("first"))
    first = running(daemon, "first")
    daemon.tmux("new-session", "-d", "-s", "taken", "sleep 601")
    pid = int(daemon.tmux("display-message", "-p", "-t", "=taken:0", "#{pane_pid}"))
    declare(daemon, stay("first"), stay("taken"), stay("free"))
    agent = daemon.wait_state("taken", "failed")
    assert "taken" in (agent["error"] or "")
    assert "session" in (agent["error"] or "")
    running(daemon, "free")
    assert int(daemon.tmux("display-message", "-p", "-t", "=taken:0", "#{pane_pid}")) == pid
    assert pids(daemon)["first"] == first["first"]
    # With the agent gone from the jcard, the foreign session is still nobody's business.
    settled(daemon, stay("first"))
    assert "taken" in daemon.sessions()


@pytest.mark.parametrize("restart", everyday(["always"], ["no", "always"]))
def test_an_agent_gets_its_session_once_the_foreign_one_is_gone(daemon: Daemon, restart: str) -> None:
    start(daemon, stay("first"), flags=["--interval=200ms"])
    daemon.tmux("new-session", "-d", "-s", "taken", "sleep 601")
    declare(daemon, stay("taken", restart=restart, max_restarts=1, restart_delay="50ms", restart_delay_max="100ms"))
    daemon.wait_for(lambda: (found := daemon.agent("taken")) and found["error"])
    daemon.tmux("kill-session", "-t", "=taken")
    running(daemon, "taken")
    # The launches before never began.
    agent = daemon.agent("taken")
    assert agent is not None
    assert agent["restarts"] == 0


@pytest.mark.thorough
def test_names_that_begin_alike_are_not_mistaken(daemon: Daemon) -> None:
    start(daemon, stay("abc-two"), stay("abc"), stay("ABCD"))
    before = running(daemon, "abc-two", "abc", "ABCD")
    daemon.tmux("new-session", "-d", "-s", "ab", "sleep 601")
    declare(daemon, stay("abc-two"), stay("ABCD"))
    daemon.wait_gone("abc")
    assert pids(daemon) == {name: before[name] for name in ("abc-two", "ABCD")}
    assert {"abc-two", "ABCD", "ab"} <= set(daemon.sessions())


def test_what_an_operator_opens_is_never_touched(daemon: Daemon) -> None:
    start(daemon, stay("a"), stay("b"), flags=["--interval=200ms"])
    before = running(daemon, "a", "b")
    daemon.tmux("new-session", "-d", "-s", "mine", "sleep 601")
    daemon.tmux("new-window", "-d", "-t", "=a:", "sleep 602")
    daemon.tmux("split-window", "-d", "-t", "=b:0", "sleep 603")

    def foreign() -> list[str]:
        panes = daemon.tmux("list-panes", "-a", "-F", "#{pane_pid} #{pane_start_command}").splitlines()
        return sorted(line for line in panes if "sleep 60" in line)

    opened = foreign()
    assert len(opened) == 3
    declare(daemon, stay("a", env={"X": "1"}), stay("b"))
    daemon.wait_for(lambda: pids(daemon)["a"] not in (None, before["a"]))
    settled(daemon, stay("a", env={"X": "1"}), stay("b"))
    assert foreign() == opened
    # Even where their agent goes: the session lives on with what is the operator's.
    declare(daemon)
    for name in ("a", "b"):
        daemon.wait_gone(name)
    wait_until_gone([before["b"]])
    assert foreign() == opened


@pytest.mark.thorough
def test_an_operators_own_settings_do_not_reach_this_server(daemon: Daemon) -> None:
    (daemon.home / ".tmux.conf").write_text("set -g base-index 1\nset -g pane-base-index 1\nset -g history-limit 10\n")
    start(daemon, script("a", "seq 1 500; exec sleep 600", env={"HOME": str(daemon.home)}))
    running(daemon, "a")
    daemon.wait_for(lambda: "500" in daemon.screen("a"))
    assert len(daemon.screen("a", history=True).splitlines()) > 400


def window_sizes(daemon: Daemon) -> dict[str, tuple[str, str]]:
    """Size of each session's window, and who decides on it."""
    shown = daemon.tmux("list-windows", "-a", "-F", "#{session_name} #{window_width}x#{window_height} #{window-size}")
    return {name: (size, mode) for name, size, mode in map(str.split, shown.splitlines())}


@pytest.mark.parametrize("way", everyday(["killed"], ["detached", "killed", "gone elsewhere"]))
def test_a_small_window_that_left_leaves_no_small_window_behind(daemon: Daemon, way: str) -> None:
    start(daemon, stay("a"))
    running(daemon, "a")
    daemon.tmux("new-session", "-d", "-s", "elsewhere", "sleep", "600")
    for _ in range(2):
        terminal = Terminal(daemon, "a", (12, 40))
        try:
            daemon.wait_for(lambda: window_sizes(daemon)["a"][0] == "40x11")
            if way == "detached":
                daemon.tmux("detach-client", "-s", "=a")
            elif way == "killed":
                terminal.process.kill()
            else:
                clients = daemon.tmux("list-clients", "-t", "=a", "-F", "#{client_name}").split()
                daemon.tmux("switch-client", "-c", clients[0], "-t", "=elsewhere")
            daemon.wait_for(lambda: window_sizes(daemon)["a"] == ("200x50", "latest"))
        finally:
            terminal.close()


@pytest.mark.thorough
def test_of_two_who_are_attached_the_one_who_stays_keeps_the_size(daemon: Daemon) -> None:
    start(daemon, stay("a"))
    running(daemon, "a")
    with attached(daemon, "a"):
        daemon.wait_for(lambda: window_sizes(daemon)["a"][0] == "101x32")
        other = Terminal(daemon, "a", (12, 40))
        daemon.wait_for(lambda: window_sizes(daemon)["a"][0] == "40x11")
        other.close()
        daemon.wait_for(lambda: window_sizes(daemon)["a"][0] == "101x32")
        settled(daemon, stay("a"))
        assert window_sizes(daemon)["a"][0] == "101x32"
    daemon.wait_for(lambda: window_sizes(daemon)["a"] == ("200x50", "latest"))


@pytest.mark.thorough
def test_who_left_while_there_was_no_daemon_leaves_no_size_either_and_operators_windows_stay(daemon: Daemon) -> None:
    start(daemon, stay("a"), stay("by-hand"))
    running(daemon, "a", "by-hand")
    daemon.tmux("resize-window", "-t", "=by-hand:", "-x", "90", "-y", "20")
    daemon.tmux("new-session", "-d", "-s", "own", "-x", "70", "-y", "30", "sleep", "600")
    with attached(daemon, "a"):
        daemon.wait_for(lambda: window_sizes(daemon)["a"][0] == "101x32")
        daemon.kill()
    daemon.start()
    daemon.wait_for(lambda: window_sizes(daemon)["a"] == ("200x50", "latest"))
    assert window_sizes(daemon)["own"][0] == "70x30"
    assert window_sizes(daemon)["by-hand"] == ("90x20", "manual")


@pytest.mark.parametrize("attached_at_the_restart", everyday([True], [False, True]))
def test_the_next_runs_have_the_default_size_whoever_was_attached(
    daemon: Daemon, attached_at_the_restart: bool
) -> None:
    told = daemon.folder / "size"
    text = f"while :; do stty size >{told}.part && mv {told}.part {told}; sleep 0.02; done"
    start(daemon, script("a", text))
    former = running(daemon, "a")["a"]
    terminal = Terminal(daemon, "a", (12, 40))
    try:
        daemon.wait_for(lambda: told.exists() and told.read_text() == "11 40\n")
        if attached_at_the_restart:
            declare(daemon, script("a", text, env={"RUN": "2"}))
            another_run(daemon, "a", former)
            assert window_sizes(daemon)["a"][0] == "40x11"
    finally:
        terminal.close()
    if not attached_at_the_restart:
        declare(daemon, script("a", text, env={"RUN": "2"}))
        another_run(daemon, "a", former)
    daemon.wait_for(lambda: told.read_text() == "50 200\n", what="the agent sees the default size")
    assert window_sizes(daemon)["a"] == ("200x50", "latest")

"""An administrator looks at agents whose tmux server is in the agents' hands, and gives nothing away by it."""

from __future__ import annotations

import os
import pty
import select
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentd.cli.agentctl.tmux_client import environment
from tests.security.users import AGENT_USER, account, run_as, start_guarded
from tests.support.daemon import Daemon, program
from tests.support.waiting import wait_for, wait_for_file


class Terminal:
    """A terminal in which root runs one command."""

    def __init__(self, argv: list[str], env: dict[str, str]) -> None:
        self.pid, self._descriptor = pty.fork()
        if self.pid == 0:
            os.execvpe(argv[0], argv, env)  # noqa: S606 (that is the point)
        self.shown = ""
        self.status: int | None = None

    def read(self) -> str:
        """Everything shown so far."""
        while self._descriptor >= 0 and select.select([self._descriptor], [], [], 0)[0]:
            try:
                self.shown += os.read(self._descriptor, 65536).decode("utf-8", "replace")
            except OSError:
                break
        return self.shown

    def type(self, text: bytes) -> None:
        os.write(self._descriptor, text)

    def ended(self) -> bool:
        """Whether the command has ended."""
        self.read()
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.status = os.waitstatus_to_exitcode(status) if pid else None
        return self.status is not None

    def close(self) -> None:
        if self.status is None:
            os.close(self._descriptor)
            self._descriptor = -1
            wait_for(self.ended, what="the command ended with its terminal")
        else:
            os.close(self._descriptor)


@pytest.fixture
def attached(guarded: Daemon) -> Iterator[Terminal]:
    """Root, attached to an agent of another user."""
    start_guarded(guarded, {"name": "a", "command": ["sh", "-c", "echo the-agent; exec cat"], "workdir": "work"})
    guarded.wait_state("a", "running")
    env = {
        **guarded.environment(),
        "AGENTD_API_SOCKET": str(guarded.api_socket),
        "AGENTD_TMUX_SOCKET": str(guarded.tmux_socket),
        "TERM": "xterm-256color",
        "TOKEN_OF_ROOT": "s3cret",
    }
    terminal = Terminal([program("agentctl"), "attach", "a"], env)
    try:
        wait_for(lambda: "the-agent" in terminal.read(), what="attached", explain=terminal.read)
        yield terminal
    finally:
        terminal.close()


def test_attaching_works_as_root_with_typing_and_detaching(attached: Terminal, guarded: Daemon) -> None:
    attached.type(b"typed by root\r")
    guarded.wait_for(lambda: "typed by root" in guarded.screen("a"))
    attached.type(b"\x02d")
    wait_for(attached.ended, what="agentctl ended")
    assert attached.status == 0
    assert "detached (from session a)" in attached.shown


@pytest.mark.usefixtures("attached")
def test_what_an_agent_makes_an_attached_client_run_does_not_run_as_root(guarded: Daemon) -> None:
    proof = guarded.workdir / "proof"
    evil = f"id -u > {proof}.part; (echo > /dev/tty; tty) > {proof}.tty 2>&1; mv {proof}.part {proof}"
    done = run_as(AGENT_USER, ["tmux", "-S", guarded.tmux_socket, "detach-client", "-s", "a", "-E", evil])
    assert "no current client" in done.stderr or done.returncode == 0
    wait_for_file(proof)
    assert proof.read_text() == f"{account(AGENT_USER).pw_uid}\n"


def test_the_client_has_a_terminal_of_its_own(attached: Terminal, guarded: Daemon) -> None:
    shown = guarded.tmux("list-clients", "-t", "=a", "-F", "#{client_tty} #{client_pid}").split()
    assert Path(shown[0]).exists()
    stat = Path(f"/proc/{attached.pid}/stat").read_text().rpartition(")")[2].split()
    clients = Path(f"/proc/{shown[1]}/stat").read_text().rpartition(")")[2].split()
    assert clients[4] != stat[4], "the agents' user could push input back into root's terminal"
    assert Path(f"/proc/{shown[1]}").stat().st_uid == account(AGENT_USER).pw_uid


@pytest.mark.usefixtures("attached")
def test_the_agents_server_learns_nothing_of_roots_environment(guarded: Daemon) -> None:
    (client,) = guarded.tmux("list-clients", "-t", "=a", "-F", "#{client_pid}").split()
    variables = Path(f"/proc/{client}/environ").read_bytes().split(b"\0")
    names = {variable.partition(b"=")[0].decode() for variable in variables if variable}
    measuring = {"COVERAGE_PROCESS_CONFIG"}  # what coverage adds to whatever is executed
    assert names - measuring <= {"PATH", "TERM", "COLORTERM", "LANG", "LC_ALL", "LC_CTYPE"}


RECORDING = """#!/bin/sh
{ id -u; id -G; env; } > "$0.seen.$$"
mv "$0.seen.$$" "$0.seen"
exit 1
"""


def test_reading_an_agents_terminal_as_root_is_done_by_the_agents_user(guarded: Daemon) -> None:
    start_guarded(guarded, {"name": "a", "command": ["sleep", "600"], "workdir": "work"})
    guarded.wait_state("a", "running")
    tmux = guarded.workdir / "tmux"
    tmux.write_text(RECORDING)
    tmux.chmod(0o755)
    env = {
        **guarded.environment(TOKEN_OF_ROOT="s3cret"),
        "AGENTD_API_SOCKET": str(guarded.api_socket),
        "AGENTD_TMUX_SOCKET": str(guarded.tmux_socket),
        "PATH": f"{guarded.workdir}{os.pathsep}{os.environ['PATH']}",
    }
    # Where no daemon answers, agentctl asks tmux itself.
    env["AGENTD_API_SOCKET"] = "gone.sock"
    subprocess.run([program("agentctl"), "screen", "a"], env=env, capture_output=True, timeout=30, check=False)
    uid, groups, *variables = Path(f"{tmux}.seen").read_text().splitlines()
    user = account(AGENT_USER)
    assert uid == str(user.pw_uid)
    assert set(groups.split()) == {str(gid) for gid in os.getgrouplist(AGENT_USER, user.pw_gid)}
    assert not any("s3cret" in variable for variable in variables)


def test_only_what_the_client_needs_is_kept_of_an_environment() -> None:
    assert environment({"PATH": "/bin", "LANG": "C", "SSH_AUTH_SOCK": "x", "TMUX": "y", "API_KEY": "z"}) == {
        "PATH": "/bin",
        "LANG": "C",
    }

"""One daemon on each socket, and sockets whose daemon is gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from agentd.files.path_lock import PathLock
from tests.daemon.support import declare, refused, running, stay
from tests.support.daemon import Daemon
from tests.support.processes import wait_until_gone


@pytest.fixture
def first(daemon: Daemon) -> Daemon:
    declare(daemon, stay("a"))
    daemon.start()
    running(daemon, "a")
    return daemon


def test_a_second_daemon_on_a_socket_is_refused_with_the_pid_of_the_first(
    first: Daemon, daemon_factory: Callable[[], Daemon]
) -> None:
    before = first.agents()
    for shared in (("tmux_socket",), ("api_socket",), ("tmux_socket", "api_socket")):
        second = daemon_factory()
        declare(second, stay("b"))
        for socket in shared:
            setattr(second, socket, getattr(first, socket))
        text = refused(second)
        assert f"pid {first.pid}" in text
        assert any(str(getattr(first, socket)) in text for socket in shared)
        # It leaves nothing of its own, and the first alone.
        assert list(second.runtime.iterdir()) == []
        assert second.tmux_pid() in (None, first.tmux_pid())
    assert {name: agent["pid"] for name, agent in first.agents().items()} == {"a": before["a"]["pid"]}
    assert first.sessions().count("a") == 1


def test_a_second_daemon_that_comes_by_another_path_is_refused(
    first: Daemon, daemon_factory: Callable[[], Daemon]
) -> None:
    second = daemon_factory()
    alias = second.folder / "alias"
    alias.symlink_to(first.runtime)
    second.tmux_socket = alias / first.tmux_socket.name
    assert f"pid {first.pid}" in refused(second)


LEAVES_A_CHILD = """
import os, signal, sys
from pathlib import Path
from agentd.files.path_lock import PathLock

taken = [PathLock.of_socket(Path(path)) for path in sys.argv[1:-1]]
taken.append(PathLock.of_folder(Path(sys.argv[-1]), "--state-dir", file=True))
if child := os.fork():
    print(child, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
signal.pause()
"""


def test_a_child_that_a_killed_daemon_was_about_to_start_keeps_no_daemon_from_starting(daemon: Daemon) -> None:
    daemon.state.mkdir()
    paths = [str(path) for path in (daemon.tmux_socket, daemon.api_socket, daemon.state)]
    command = [sys.executable, "-c", LEAVES_A_CHILD, *paths]
    with subprocess.Popen(command, env=daemon.environment(), stdout=subprocess.PIPE) as killed:
        assert killed.stdout is not None
        child = int(killed.stdout.readline())
        assert killed.wait() == -signal.SIGKILL
        try:
            declare(daemon, stay("a"))
            daemon.start(ready=False)
            daemon.wait_for(lambda: "waits_for_locks" in daemon.log_text(), what="it waits")
            assert daemon.running
        finally:
            os.kill(child, signal.SIGKILL)
    daemon.wait_answers()
    running(daemon, "a")


def test_many_daemons_at_once_leave_exactly_one(daemon_factory: Callable[[], Daemon]) -> None:
    daemons = [daemon_factory() for _ in range(4)]
    for each in daemons:
        each.tmux_socket, each.api_socket = daemons[0].tmux_socket, daemons[0].api_socket
        declare(each, stay("a"))
        each.start(ready=False)
    daemons[0].wait_for(lambda: sum(each.running for each in daemons) == 1, 30, what="one daemon is left")
    (winner,) = [each for each in daemons if each.running]
    # The others may be refused before its API is open.
    winner.wait_answers()
    running(winner, "a")
    assert {each.wait_exit() for each in daemons if each is not winner} == {1}
    for each in daemons:
        assert each is winner or f"pid {winner.pid}" in each.log_text()
    assert winner.stop() == 0


def test_sockets_left_by_a_crash_are_taken_over(first: Daemon) -> None:
    first.kill()
    assert first.api_socket.exists()
    server = first.tmux_pid()
    assert server is not None
    first.tmux("kill-server")
    wait_until_gone([server])
    first.start()
    running(first, "a")
    assert first.stop() == 0
    assert list(first.runtime.iterdir()) == []


def test_a_suspended_daemon_still_holds_its_sockets(first: Daemon, daemon_factory: Callable[[], Daemon]) -> None:
    second = daemon_factory()
    second.api_socket = first.api_socket
    first.signal(signal.SIGSTOP)
    try:
        assert f"pid {first.pid}" in refused(second)
    finally:
        first.signal(signal.SIGCONT)
    running(first, "a")


def test_a_lock_file_that_cannot_be_removed_does_no_harm(short_folder: Path) -> None:
    lock = PathLock.of_socket(short_folder / "s")
    file = short_folder / "s.pid"
    file.unlink()
    file.mkdir()  # as on a disk that became read-only
    lock.release()
    file.rmdir()
    PathLock.of_socket(short_folder / "s").release()
    assert not file.exists()

"""Paths of agentd's own that somebody removes, moves or replaces: nothing runs twice, and nothing is lost."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from agentd.files.held_names import name_of
from tests.daemon.support import declare, pids, refused, running, script, start, stay
from tests.recording.support import lines
from tests.support.daemon import Daemon
from tests.support.processes import alive, children_named, marked, wait_until_gone
from tests.support.thorough import everyday
from tests.support.waiting import wait_for_file
from tests.worktrees.repositories import make_repository

SOON = "--interval=200ms"
QUICKLY = {"restart_delay": "100ms", "restart_delay_max": "200ms"}
NOT_WAITED_FOR = 1.0
"""Seconds that the end of a run is given to be in its transcript; where there is none any more, nobody waits."""


def runtime_of(daemon: Daemon) -> Path:
    return daemon.tmux_socket.with_name(daemon.tmux_socket.name + ".runs")


def locks_of(daemon: Daemon) -> list[Path]:
    return [path.with_name(path.name + ".pid") for path in (daemon.tmux_socket, daemon.api_socket)]


def servers(daemon: Daemon) -> list[int]:
    """The tmux servers that were told to serve the daemon's socket, whatever stands at its path."""
    found = {}
    for process in marked(str(daemon.tmux_socket)):
        # It may end meanwhile.
        with contextlib.suppress(OSError):
            if Path(f"/proc/{process.pid}/comm").read_text() == "tmux: server\n":
                found[process.pid] = process.parent
    # A child that has not executed its program yet looks like the server.
    return [pid for pid, parent in found.items() if parent not in found]


def sleepers(daemon: Daemon) -> list[int]:
    """The agents' processes, by the process table alone."""
    return [each.pid for each in marked(str(daemon.bin)) if each.argv[:2] == ("sleep", "600")]


def remove(paths: Iterable[Path]) -> None:
    for path in paths:
        if path.is_dir():
            # At once: a daemon that sees the first file go makes the folder again.
            shutil.rmtree(path.rename(path.with_name(f"{path.name}.removed")))
        else:
            path.unlink()


LOST: dict[str, Callable[[Daemon], Iterable[Path]]] = {
    "tmux socket": lambda daemon: [daemon.tmux_socket],
    "API socket": lambda daemon: [daemon.api_socket],
    "both sockets": lambda daemon: [daemon.tmux_socket, daemon.api_socket],
    "locks": locks_of,
    "runtime directory": lambda daemon: [runtime_of(daemon)],
    "sockets, locks and runtime directory": lambda daemon: [
        daemon.tmux_socket,
        daemon.api_socket,
        *locks_of(daemon),
        runtime_of(daemon),
    ],
    "their folder": lambda daemon: [daemon.runtime],
    "state directory": lambda daemon: [daemon.state],
    "state directory and their folder": lambda daemon: [daemon.state, daemon.runtime],
}
"""What is removed."""
FURTHER = (
    *((lost, "kill") for lost in ("API socket", "tmux socket", "both sockets", "locks", "runtime directory")),
    *((lost, "kill") for lost in ("their folder", "sockets, locks and runtime directory")),
    ("state directory", "kill"),
    # What else there is holds nothing, or the tmux socket alone, once agentd has ended in order.
    *((lost, "keep") for lost in ("tmux socket", "runtime directory", "sockets, locks and runtime directory")),
    *((lost, "keep") for lost in ("state directory", "state directory and their folder")),
)


MOST = ("their folder", "state directory and their folder")
"""Each of the others is among these."""


@pytest.fixture
def first(daemon: Daemon) -> Daemon:
    # Neither what root's agentd makes nor what a user's does.
    daemon.runtime.chmod(0o710)
    start(daemon, stay("a"), stay("b", restart="always"), flags=[SOON])
    running(daemon, "a", "b")
    return daemon


# -- while agentd runs


@pytest.mark.parametrize("lost", everyday(MOST, LOST))
def test_what_is_removed_is_made_again_and_agents_notice_nothing(first: Daemon, lost: str) -> None:
    before, server = pids(first), servers(first)
    paths = list(LOST[lost](first))
    modes = {path: stat.S_IMODE(path.lstat().st_mode) for path in paths}
    remove(paths)
    for path in paths:
        first.wait_for(path.exists, what=f"{path} is there again")
    first.wait_answers()
    first.wait_for(lambda: first.tmux_pid() == server[0], what="tmux answers")
    first.wait_for(lambda: {path: stat.S_IMODE(path.lstat().st_mode) for path in paths} == modes, what="its mode")
    assert pids(first) == before
    assert servers(first) == server
    assert sorted(first.sessions()) == ["_agentd", "a", "b"]
    assert "own_path_restored" in first.log_text()
    for lock in locks_of(first):
        first.wait_for(lock.exists, what=f"{lock} is there again")
    # What follows works as before.
    declare(first, stay("a"), stay("c"))
    running(first, "c")
    first.wait_gone("b")
    assert first.stop() == 0
    wait_until_gone([pid for pid in before.values() if pid is not None])


def test_what_is_restored_is_an_event(first: Daemon) -> None:
    first.tmux_socket.unlink()

    def told() -> bool:
        answer = first.request("GET", "/v1/events?kinds=path_restored")
        return str(first.tmux_socket) in answer.body.decode()

    first.wait_for(first.tmux_socket.exists, what="the socket is there again")
    first.wait_for(told, what="an event tells of it")


@pytest.mark.thorough
def test_a_folder_moved_aside_is_not_followed(first: Daemon) -> None:
    before, aside = pids(first), first.folder / "aside"
    first.runtime.rename(aside)
    first.wait_for(lambda: first.api_socket.exists() and first.tmux_socket.exists(), what="the sockets")
    first.wait_answers()
    assert pids(first) == before
    running(first, "a")
    assert first.stop() == 0
    wait_until_gone([pid for pid in before.values() if pid is not None])
    shutil.rmtree(aside)


@pytest.mark.parametrize("kind", everyday(["link"], ["file", "folder", "link"]))
@pytest.mark.parametrize("what", ["tmux_socket", "api_socket"])
def test_what_a_stranger_put_there_stays_and_is_told(first: Daemon, what: str, kind: str) -> None:
    path: Path = getattr(first, what)
    before, server = pids(first), servers(first)
    first.signal(signal.SIGSTOP)  # so that it is not quicker
    path.unlink()
    if kind == "file":
        path.touch()
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("nowhere")
    first.signal(signal.SIGCONT)
    first.wait_for(lambda: "own_path_lost" in first.log_text(), what="it is told")
    assert not path.is_socket()
    path.rmdir() if kind == "folder" else path.unlink()
    first.wait_for(path.is_socket, what="the socket is back")
    first.wait_answers()
    assert pids(first) == before
    assert servers(first) == server


def test_another_program_at_the_sockets_place_is_named(first: Daemon) -> None:
    with socket.socket(socket.AF_UNIX) as stranger:
        first.signal(signal.SIGSTOP)  # so that it is not quicker
        first.tmux_socket.unlink()
        stranger.bind(str(first.tmux_socket))
        stranger.listen()
        first.signal(signal.SIGCONT)
        first.wait_for(lambda: "serves its socket" in first.log_text(), what="it is told")
        assert first.tmux_socket.is_socket()
    first.wait_for(lambda: first.tmux_pid() in servers(first), what="the socket is tmux' again")


@pytest.mark.thorough
def test_lost_records_are_written_again(first: Daemon) -> None:
    runtime = runtime_of(first)
    names = sorted(path.name for path in runtime.iterdir())
    remove(runtime.iterdir())
    first.wait_for(lambda: sorted(path.name for path in runtime.iterdir()) == names, what="all is there again")


# -- over the death of agentd


@pytest.mark.parametrize(
    ("lost", "end"),
    [
        ("state directory and their folder", "kill"),
        ("their folder", "keep"),
        *(pytest.param(lost, end, marks=pytest.mark.thorough) for lost, end in FURTHER),
    ],
)
def test_nothing_runs_twice_after_the_next_start(daemon: Daemon, lost: str, end: str) -> None:
    start(daemon, stay("a"), stay("b", restart="always"), flags=["--on-shutdown=keep", "--interval=1h"])
    before, server = running(daemon, "a", "b"), servers(daemon)
    paths = list(LOST[lost](daemon))
    if end == "kill":
        daemon.signal(signal.SIGSTOP)
        remove(paths)
        daemon.kill()
    else:
        assert daemon.stop() == 0
        remove(path for path in paths if path.exists())
    daemon.start(SOON)
    assert running(daemon, "a", "b") == before
    assert servers(daemon) == server
    assert sorted(sleepers(daemon)) == sorted(before.values())
    assert daemon.stop() == 0
    assert daemon.left_behind() == []


@pytest.mark.thorough
def test_a_run_whose_tmux_server_died_unseen_is_ended_before_the_next(daemon: Daemon) -> None:
    deaf = script("a", "trap '' HUP INT TERM; while :; do sleep 600; done", restart="always", grace_period="200ms")
    start(daemon, deaf, flags=["--interval=1h"])
    former = running(daemon, "a")["a"]
    (server,) = servers(daemon)
    daemon.kill()
    remove([daemon.tmux_socket, runtime_of(daemon), *locks_of(daemon)])
    os.kill(server, signal.SIGKILL)
    wait_until_gone([server])
    assert alive(former)
    daemon.start()
    again = running(daemon, "a")["a"]
    assert again != former
    assert not alive(former)


@pytest.mark.thorough
def test_a_lost_server_is_not_replaced_when_its_client_dies_too(first: Daemon) -> None:
    before, server = pids(first), servers(first)
    first.signal(signal.SIGSTOP)
    client = children_named(first.pid, "tmux")[0]
    first.tmux_socket.unlink()
    client.kill()
    first.signal(signal.SIGCONT)
    first.wait_for(lambda: "tmux_connection_lost" in first.log_text(), what="the connection is lost")
    first.wait_for(lambda: first.tmux_pid() == server[0], what="the server has its socket again")
    running(first, "a", "b")
    assert pids(first) == before
    assert servers(first) == server


def test_records_that_were_removed_make_no_stranger_of_a_run(daemon: Daemon) -> None:
    ended, b = script("ended", "exit 3"), stay("b", restart="always", restart_delay="10ms")
    start(daemon, stay("a", timeout="1h"), b, ended, flags=["--interval=1h"])
    before = running(daemon, "a", "b")
    daemon.wait_state("ended", "failed")
    daemon.signal(signal.SIGSTOP)
    remove(path for path in runtime_of(daemon).iterdir() if path.suffix in (".record", ".pid", ".exit"))
    remove(locks_of(daemon))
    daemon.kill()
    daemon.start(SOON)
    assert running(daemon, "a", "b") == before
    assert daemon.wait_state("ended", "failed")["exit_code"] is None
    daemon.wait_for(lambda: daemon.agents()["a"]["deadline"], what="its timeout counts")
    assert "session_not_adopted" not in daemon.log_text()
    assert daemon.log_text().count("agent_record_lost") == 3
    # It is supervised as any other.
    declare(daemon, b)
    daemon.wait_gone("a")
    wait_until_gone([before["a"]])
    os.kill(before["b"], signal.SIGKILL)
    daemon.wait_for(lambda: daemon.agents()["b"]["restarts"] == 1, what="b is restarted")


@pytest.mark.parametrize("change", everyday(["env"], ["env", "disabled", "nothing"]))
def test_what_changed_while_the_record_was_gone_is_acted_on(daemon: Daemon, change: str) -> None:
    start(daemon, stay("a", env={"GENERATION": "1"}, grace_period="1s"), flags=["--interval=1h"])
    former = running(daemon, "a")["a"]
    daemon.kill()
    remove(path for path in runtime_of(daemon).iterdir() if path.suffix == ".record")
    fields: dict[str, object] = {"enabled": False} if change == "disabled" else {}
    generation = "2" if change == "env" else "1"
    start(daemon, stay("a", env={"GENERATION": generation}, grace_period="1s", **fields))
    if change == "disabled":
        daemon.wait_state("a", "disabled")
    elif change == "env":
        daemon.wait_for(lambda: daemon.agents()["a"]["pid"] not in (None, former), what="another run")
    else:
        assert running(daemon, "a")["a"] == former
    assert alive(former) == (change == "nothing")


@pytest.mark.parametrize("kind", everyday(["link"], ["link", "file", "nothing"]))
def test_a_lost_folder_of_transcripts_fails_no_launch(first: Daemon, kind: str) -> None:
    folder = first.state / "agents"
    first.signal(signal.SIGSTOP)  # so that it is not quicker
    shutil.rmtree(folder)
    if kind == "link":
        folder.symlink_to("nowhere")
    elif kind == "file":
        folder.touch()
    first.signal(signal.SIGCONT)
    declare(first, stay("a"), stay("b", restart="always"), stay("c"))
    running(first, "c")


@pytest.mark.thorough
def test_runs_whose_transcripts_were_removed_are_not_waited_for(first: Daemon) -> None:
    names = ["a", "b"]
    took = []
    while names:
        shutil.rmtree(first.state / "agents" / names.pop())
        begun = time.monotonic()
        declare(first, *map(stay, names))
        first.wait_for(lambda: sorted(first.agents()) == names, what=f"only {names} are left")
        took.append(time.monotonic() - begun)
    # The best of several: the machine may be loaded.
    assert min(took) < NOT_WAITED_FOR, took


@pytest.mark.parametrize("how", everyday(["move"], ["remove", "move"]))
def test_the_journal_goes_on_where_it_belongs(first: Daemon, how: str) -> None:
    journal, aside = first.state / "journal", first.folder / "aside"
    wait_for_file(journal / "events.db")
    shutil.rmtree(journal) if how == "remove" else journal.rename(aside)
    declare(first, stay("a"), stay("b", restart="always"), stay("c"))
    running(first, "c")

    def kept() -> bool:
        return (journal / "events.db").exists() and any(line["agent"] == "c" for line in lines(journal))

    first.wait_for(kept, what="events of c are kept")


@pytest.mark.thorough
def test_daemons_that_share_nothing_leave_each_other_alone(daemon_factory: Callable[[], Daemon]) -> None:
    one, two = daemon_factory(), daemon_factory()
    start(one, stay("a"))
    first = running(one, "a")
    start(two, stay("a"))
    second = running(two, "a")
    one.kill()
    remove([one.tmux_socket, runtime_of(one)])
    two.kill()
    two.start()
    one.start()
    assert running(one, "a") == first
    assert running(two, "a") == second


# -- one state directory, one data directory


@pytest.mark.parametrize("alias", everyday([True], [False, True]))
def test_a_second_daemon_on_a_state_directory_is_refused_with_the_pid_of_the_first(
    first: Daemon, daemon_factory: Callable[[], Daemon], alias: bool
) -> None:
    second = daemon_factory()
    declare(second, stay("a"))
    second.state = first.state
    if alias:
        second.state = second.folder / "alias"
        second.state.symlink_to(first.state)
    text = refused(second)
    assert f"pid {first.pid}" in text
    assert "--state-dir" in text


@pytest.mark.parametrize("alias", everyday([True], [False, True]))
def test_only_one_daemon_makes_worktrees_in_a_data_directory(daemon_factory: Callable[[], Daemon], alias: bool) -> None:
    first, second, third = daemon_factory(), daemon_factory(), daemon_factory()
    first.data.mkdir()
    third.data = second.data = first.data
    if alias:
        second.data = second.folder / "alias"
        second.data.symlink_to(first.data)
    for each in (first, second):
        make_repository(each.folder / "shop")
        start(each, stay("a", repo="shop", isolation="worktree", restart="always", **QUICKLY))
        if each is first:
            running(first, "a")
    reason = second.wait_state("a", "backoff")["error"] or ""
    assert f"pid {first.pid}" in reason
    assert "--data-dir" in reason
    # Whoever makes none needs no right to it.
    start(third, stay("a"))
    running(third, "a")
    first.stop()
    running(second, "a")


@pytest.mark.parametrize("how", everyday(["replace"], ["remove", "replace", "move"]))
def test_locks_hold_when_their_files_go(first: Daemon, daemon_factory: Callable[[], Daemon], how: str) -> None:
    first.signal(signal.SIGSTOP)  # so that it puts nothing right
    try:
        files = [*locks_of(first), first.state / "agentd.pid"]
        for file in files:
            file.rename(file.with_name("aside")) if how == "move" else file.unlink()
            if how == "replace":
                file.touch()
        for shared in ("tmux_socket", "api_socket", "state"):
            second = daemon_factory()
            declare(second, stay("a"))
            setattr(second, shared, getattr(first, shared))
            assert f"pid {first.pid}" in refused(second)
    finally:
        first.signal(signal.SIGCONT)


def test_the_state_directory_is_locked_although_it_was_removed(
    first: Daemon, daemon_factory: Callable[[], Daemon]
) -> None:
    second = daemon_factory()
    declare(second, stay("a"))
    second.state = first.state
    first.signal(signal.SIGSTOP)
    try:
        shutil.rmtree(first.state)
        assert f"pid {first.pid}" in refused(second)
    finally:
        first.signal(signal.SIGCONT)


@pytest.mark.thorough
def test_agents_of_a_state_directory_that_live_under_another_socket_are_named(
    daemon: Daemon, daemon_factory: Callable[[], Daemon]
) -> None:
    start(daemon, stay("a"))
    running(daemon, "a")
    (server,) = servers(daemon)
    daemon.kill()
    second = daemon_factory()
    declare(second, stay("a"))
    second.state = daemon.state
    text = refused(second)
    assert f"pid {server}" in text
    assert str(daemon.tmux_socket) in text
    # With that socket it goes on.
    daemon.start()
    running(daemon, "a")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")
def test_a_name_that_another_user_holds_keeps_nobody_from_starting(daemon: Daemon) -> None:
    take = (
        "import os, socket, sys; os.setgid(65534); os.setuid(65534); s = socket.socket(socket.AF_UNIX);"
        "s.bind(b'\\0' + sys.argv[1].encode()); s.listen(); print(flush=True); input()"
    )
    names = [name_of(path, 0).decode()[1:] for path in (daemon.state, daemon.tmux_socket, daemon.api_socket)]
    strangers = [
        subprocess.Popen([sys.executable, "-c", take, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for name in names
    ]
    try:
        for stranger in strangers:
            assert stranger.stdout is not None
            assert stranger.stdout.readline() == b"\n"
        start(daemon, stay("a"))
        running(daemon, "a")
        assert daemon.log_text().count("name_taken_by_another_user") == len(names)
    finally:
        for stranger in strangers:
            stranger.communicate(b"\n")

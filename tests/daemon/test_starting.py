"""Starting: whatever the jcard is, and one clear line where it is impossible."""

from __future__ import annotations

import grp
import os
import shutil
import socket
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.daemon.support import declare, refused, running, stay
from tests.support.agents import jcard
from tests.support.daemon import Daemon, program


def test_without_a_usable_jcard_it_runs_and_says_so_and_takes_the_first_good_one(daemon: Daemon) -> None:
    daemon.start()
    unusable = [
        (None, "there is no such file"),
        (b"", "empty"),
        (b"[[agents]\n", "jcard.toml:1:"),
        (b'[[agents]]\nharness = "custom"\nrestart = "sometimes"\n', "jcard.toml:3:"),
        (b"\xff\xfe", "UTF-8"),
    ]
    for content, said in unusable:
        if content is not None:
            daemon.jcard.write_bytes(content)
        says(daemon, said)
        config = daemon.health()["config"]
        assert (config["valid"], config["loaded_at"]) == (False, None)
        assert str(daemon.jcard) in (config["error"] or "")
        assert daemon.agents() == {}

    declare(daemon, stay("a"))
    running(daemon, "a")
    config = daemon.health()["config"]
    assert (config["valid"], config["error"]) == (True, None)
    assert config["loaded_at"] is not None


def says(daemon: Daemon, text: str) -> None:
    daemon.wait_for(lambda: text in (daemon.health()["config"]["error"] or ""), what=f"health says {text!r}")


def test_it_starts_with_an_invalid_jcard(daemon: Daemon) -> None:
    daemon.jcard.write_text("garbage")
    daemon.start()
    says(daemon, f"{daemon.jcard}:1:")
    declare(daemon, stay("a"))
    running(daemon, "a")


def test_a_jcard_that_is_a_folder_is_no_reason_not_to_run(daemon: Daemon) -> None:
    daemon.jcard.mkdir()
    daemon.start()
    assert daemon.wait_for(lambda: daemon.health()["config"]["error"])


def test_other_programs_tables_are_no_concern_of_agentd(daemon: Daemon) -> None:
    other = {"mixtape": "x", "resources": {"cpus": 2}, "shared": [{"host": "/"}], "secrets": {"A": "b"}}
    daemon.write_jcard(jcard(stay("a"), **other))
    daemon.start()
    running(daemon, "a")
    assert daemon.health()["config"]["warnings"] == []


def test_a_misspelt_key_is_a_warning_and_the_agent_runs(daemon: Daemon) -> None:
    declare(daemon, stay("a", restrat="always"))
    daemon.start()
    running(daemon, "a")
    (warning,) = daemon.health()["config"]["warnings"]
    assert "restrat" in warning
    assert 'did you mean "restart"' in warning
    assert "restrat" in daemon.log_text()


@pytest.mark.program
def test_everything_can_be_told_by_the_environment(daemon: Daemon) -> None:
    declare(daemon, stay("a"))
    names = {"CONFIG": daemon.jcard, "SECRET_DIR": daemon.secrets, "STATE_DIR": daemon.state}
    sockets = {"TMUX_SOCKET": daemon.tmux_socket, "API_SOCKET": daemon.api_socket}
    env = {f"AGENTD_{name}": str(path) for name, path in {**names, **sockets}.items()}
    with daemon.log.open("ab") as log:
        daemon.process = subprocess.Popen([program("agentd")], env=daemon.environment(**env), stderr=log)
    daemon.wait_for(daemon.api_socket.exists)
    running(daemon, "a")


@pytest.mark.program
def test_flags_with_one_dash_are_taken(daemon: Daemon) -> None:
    declare(daemon, stay("a"))
    command = [word.removeprefix("-") for word in daemon.command()]
    with daemon.log.open("ab") as log:
        daemon.process = subprocess.Popen(command, env=daemon.environment(), stderr=log)
    daemon.wait_for(daemon.api_socket.exists)
    running(daemon, "a")


def test_missing_folders_of_sockets_and_state_are_made(daemon: Daemon) -> None:
    daemon.tmux_socket = daemon.runtime / "t/x/tmux.sock"
    daemon.api_socket = daemon.runtime / "a/agentd.sock"
    daemon.state = daemon.folder / "s/t"
    declare(daemon, stay("a"))
    daemon.start()
    running(daemon, "a")
    assert stat.S_IMODE(daemon.state.stat().st_mode) == 0o700


def test_without_tmux_it_says_what_to_install(daemon: Daemon) -> None:
    assert "install" in refused(daemon, env={"PATH": str(daemon.bin)})


def test_a_tmux_server_on_its_way_out_hangs_up_and_another_is_started(daemon: Daemon) -> None:
    tmux, came = shutil.which("tmux"), daemon.folder / "came"
    stand_in = daemon.bin / "tmux"
    stand_in.write_text(
        f"#!/bin/sh\n[ -e {came} ] && exec {tmux} \"$@\"\ntouch {came}\necho 'server exited unexpectedly' >&2\nexit 1\n"
    )
    stand_in.chmod(0o755)
    declare(daemon, stay("a"))
    daemon.start()
    running(daemon, "a")
    assert came.exists()


@pytest.mark.parametrize("flag", ["--admin-group", "--agent-user"])
def test_an_unknown_account_is_named(daemon: Daemon, flag: str) -> None:
    text = refused(daemon, f"{flag}=no-such-one")
    assert flag in text
    assert "no-such-one" in text


def test_a_socket_path_that_the_kernel_would_not_take_is_bad_usage(daemon: Daemon) -> None:
    daemon.tmux_socket = daemon.folder / ("x" * 120)
    daemon.start(ready=False)
    assert daemon.wait_exit() == 2
    assert "107 bytes" in daemon.log_text()


@pytest.mark.parametrize("arguments", [["--no-such-flag"], ["--interval=3"], ["--on-shutdown=maybe"], ["--debug=x"]])
def test_bad_usage_is_exit_status_2(daemon: Daemon, arguments: list[str]) -> None:
    daemon.start(*arguments, ready=False)
    assert daemon.wait_exit() == 2


@pytest.mark.parametrize("which", ["api_socket", "tmux_socket"])
def test_a_foreign_file_at_a_sockets_path_is_named_and_left_alone(daemon: Daemon, which: str) -> None:
    path: Path = getattr(daemon, which)
    path.write_text("precious")
    assert str(path) in refused(daemon)
    assert path.read_text() == "precious"
    path.unlink()
    assert list(daemon.runtime.iterdir()) == []


@pytest.fixture
def foreign_server() -> Iterator[Callable[[Path], socket.socket]]:
    """Make sockets that some other program listens on, and never answers."""
    sockets: list[socket.socket] = []

    def listen(path: Path) -> socket.socket:
        server = socket.socket(socket.AF_UNIX)
        sockets.append(server)
        server.bind(str(path))
        server.listen()
        return server

    yield listen
    for server in sockets:
        server.close()


@pytest.mark.parametrize("which", ["api_socket", pytest.param("tmux_socket", marks=pytest.mark.thorough)])
def test_another_program_at_a_sockets_path_is_left_alone(
    daemon: Daemon, which: str, foreign_server: Callable[[Path], socket.socket]
) -> None:
    path: Path = getattr(daemon, which)
    server = foreign_server(path)
    inode = path.stat().st_ino
    assert str(path) in refused(daemon)
    assert path.stat().st_ino == inode
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    server.close()
    path.unlink()


def test_a_state_folder_that_cannot_be_made_is_named(daemon: Daemon) -> None:
    daemon.state = daemon.log / "x"
    assert str(daemon.log) in refused(daemon)


def test_sockets_have_their_modes_and_the_admin_group_whatever_the_umask(daemon: Daemon) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files to any group")
    declare(daemon, stay("a"))
    former = os.umask(0o077)
    try:
        daemon.start("--admin-group=daemon")
    finally:
        os.umask(former)
    api, tmux = daemon.api_socket.stat(), daemon.tmux_socket.stat()
    assert [stat.S_IMODE(found.st_mode) for found in (api, tmux)] == [0o660, 0o770]
    assert {api.st_gid, tmux.st_gid} == {grp.getgrnam("daemon").gr_gid}


def test_what_holds_launch_scripts_is_closed_to_others(daemon: Daemon) -> None:
    declare(daemon, stay("a"))
    former = os.umask(0)
    try:
        daemon.start()
        running(daemon, "a")
    finally:
        os.umask(former)
    for folder in [path for path in daemon.runtime.iterdir() if path.is_dir()]:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700, folder


def test_the_command_line_of_a_go_unit_is_taken_and_what_it_says_in_vain_is_said_once(daemon: Daemon) -> None:
    declare(daemon, stay("a"))
    daemon.start("-debug=false", "-runsc-path", "/bin/runsc", "-sandbox-state-dir=/run/x", "-log-format", "json", "up")
    running(daemon, "a")
    said = [line for line in daemon.log_text().splitlines() if '"event":"flags"' in line.replace(" ", "")]
    assert len(said) == 1
    assert "up: no flag" in said[0]

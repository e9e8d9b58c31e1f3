"""As root, agents and their tmux server run as another user."""

from __future__ import annotations

import grp
import os
import pwd
import re
import shutil
import signal
import stat
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.daemon.support import (
    another_run,
    counting,
    declare,
    environment_of,
    folder_of,
    pids,
    refused,
    running,
    runs,
    stay,
)
from tests.support.daemon import Daemon
from tests.support.processes import wait_until_gone
from tests.support.thorough import everyday
from tests.support.user_database import alone_with_users

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can run agents as another user")

OTHER = "daemon"
"""A user that every system has, and nobody logs in as."""


@pytest.fixture
def account() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(OTHER)
    except KeyError:
        pytest.skip(f"there is no user {OTHER}")


@pytest.fixture
def as_other(daemon: Daemon, account: pwd.struct_passwd) -> Daemon:
    """A daemon in folders as packages make them: the tmux socket's folder is the agent user's, the API's is root's."""
    tmux_folder = daemon.runtime / "tmux"
    tmux_folder.mkdir(mode=0o750)
    os.chown(tmux_folder, account.pw_uid, account.pw_gid)
    daemon.tmux_socket = tmux_folder / "tmux.sock"
    os.chown(daemon.workdir, account.pw_uid, account.pw_gid)
    return daemon


def start(daemon: Daemon, *agents: dict[str, object], flags: tuple[str, ...] = ()) -> None:
    declare(daemon, *agents)
    daemon.start(f"--agent-user={OTHER}", *flags, env={"LANG": "C.UTF-8", "SECRET_OF_ROOT": "x"})


def test_agents_and_tmux_are_the_other_users_with_a_clean_environment_behind_closed_doors(
    as_other: Daemon, account: pwd.struct_passwd
) -> None:
    as_other.write_secret("TOKEN", "s3cret")
    start(as_other, stay("a", workdir="work"), flags=("--admin-group=adm",))
    pid = running(as_other, "a")["a"]
    server = as_other.tmux_pid()
    assert server is not None
    for each in (pid, server, psutil.Process(pid).ppid()):
        process = psutil.Process(each)
        assert set(process.uids()) == {account.pw_uid}
        assert set(process.gids()) == {account.pw_gid}
    status = Path(f"/proc/{pid}/status").read_text()
    groups = next(line for line in status.splitlines() if line.startswith("Groups:")).split()[1:]
    assert set(map(int, groups)) == set(os.getgrouplist(OTHER, account.pw_gid))
    assert "CapEff:\t0000000000000000" in status
    environment = environment_of(pid)
    expected = {
        "HOME": account.pw_dir,
        "USER": OTHER,
        "LOGNAME": OTHER,
        "SHELL": account.pw_shell,
        "LANG": "C.UTF-8",
        "PATH": as_other.environment()["PATH"],
        "TOKEN": "s3cret",
        "AGENTD_AGENT": "a",
    }
    assert {name: environment[name] for name in expected} == expected
    assert set(environment) - set(expected) <= {"TERM", "PWD", "AGENTD_RUN_ID", "AGENTD_HOOK"}
    assert "SECRET_OF_ROOT" not in psutil.Process(server).environ()

    (folder,) = [path for path in as_other.tmux_socket.parent.iterdir() if path.is_dir()]
    assert (stat.S_IMODE(folder.stat().st_mode), folder.stat().st_uid) == (0o700, account.pw_uid)
    admins = grp.getgrnam("adm").gr_gid
    tmux, api = as_other.tmux_socket.stat(), as_other.api_socket.stat()
    assert (stat.S_IMODE(tmux.st_mode), tmux.st_uid, tmux.st_gid) == (0o770, account.pw_uid, admins)
    assert (stat.S_IMODE(api.st_mode), api.st_uid, api.st_gid) == (0o660, 0, admins)


def test_a_whole_life_as_another_user(as_other: Daemon) -> None:
    again = counting("again", as_other.workdir, "exit 3", restart="on-failure", max_restarts=2)
    deaf = stay(
        "deaf", command=["sh", "-c", "trap '' INT TERM; setsid sleep 600 & sleep 600; wait"], grace_period="400ms"
    )
    start(as_other, stay("a"), again, deaf)
    before = running(as_other, "a", "deaf")
    assert as_other.wait_state("again", "failed")["exit_code"] == 3
    assert len(runs(as_other.workdir, "again")) == 3, as_other.log_text()
    as_other.kill()
    as_other.start(f"--agent-user={OTHER}")
    as_other.wait_for(lambda: as_other.health()["config"]["valid"])
    assert running(as_other, "a", "deaf") == before
    children = [child.pid for child in psutil.Process(before["deaf"]).children(recursive=True)]
    declare(as_other, stay("a", env={"X": "1"}), again)
    another_run(as_other, "a", before["a"])
    as_other.wait_gone("deaf")
    wait_until_gone([before["deaf"], *children])
    assert as_other.stop() == 0
    assert as_other.left_behind() == []


def test_a_change_of_the_agent_user_restarts_the_agents(as_other: Daemon, account: pwd.struct_passwd) -> None:
    """The former user's tmux server has to go: only its agents' user may use it."""
    start(as_other, stay("a"))
    before = running(as_other, "a")
    assert as_other.stop() == 0
    os.chown(as_other.tmux_socket.parent, 65534, account.pw_gid)
    as_other.start("--agent-user=nobody")
    after = running(as_other, "a")
    assert after != before
    assert psutil.Process(after["a"]).uids().real == 65534


def test_a_socket_folder_that_the_user_cannot_write_is_a_clear_error(daemon: Daemon) -> None:
    declare(daemon, stay("a"))
    daemon.runtime.chmod(0o755)
    text = refused(daemon, f"--agent-user={OTHER}")
    assert OTHER in text
    assert str(daemon.runtime) in text
    assert "--tmux-socket" in text


def test_a_socket_folder_behind_a_closed_one_is_a_clear_error(as_other: Daemon) -> None:
    declare(as_other, stay("a"))
    as_other.runtime.chmod(0o700)
    text = refused(as_other, f"--agent-user={OTHER}")
    assert str(as_other.runtime) in text
    as_other.runtime.chmod(0o755)


def test_missing_socket_folders_are_made_for_the_user(daemon: Daemon, account: pwd.struct_passwd) -> None:
    daemon.tmux_socket = daemon.runtime / "made" / "tmux.sock"
    start(daemon, stay("a"))
    running(daemon, "a")
    found = daemon.tmux_socket.parent.stat()
    assert (found.st_uid, stat.S_IMODE(found.st_mode)) == (account.pw_uid, 0o750)


@pytest.mark.parametrize("what", everyday(["folder"], ["socket", "folder"]))
def test_what_is_removed_is_made_again_for_the_user(daemon: Daemon, account: pwd.struct_passwd, what: str) -> None:
    daemon.tmux_socket = daemon.runtime / "made" / "tmux.sock"
    start(daemon, stay("a", workdir="/"), flags=("--admin-group=adm", "--interval=200ms"))
    before, server = running(daemon, "a"), daemon.tmux_pid()
    folder, runs_folder = daemon.tmux_socket.parent, daemon.tmux_socket.with_name("tmux.sock.runs")

    def looks() -> list[tuple[int, int, int]]:
        found = [path.lstat() for path in (folder, daemon.tmux_socket, runs_folder, runs_folder / "hints")]
        return [(each.st_uid, each.st_gid, each.st_mode) for each in found]

    def restored() -> bool:
        try:
            return looks() == was and daemon.tmux_pid() == server
        except FileNotFoundError:
            return False

    was = looks()
    if what == "folder":
        shutil.rmtree(folder)
    else:
        daemon.tmux_socket.unlink()
    daemon.wait_for(restored, what="all is as it was")
    assert running(daemon, "a") == before
    assert was[1][:2] == (account.pw_uid, grp.getgrnam("adm").gr_gid)


def test_what_the_user_may_not_use_is_the_agents_error(as_other: Daemon) -> None:
    closed = as_other.folder / "closed"
    closed.mkdir(mode=0o700)
    (closed / "program").write_text("#!/bin/sh\nexec sleep 600\n")
    (closed / "program").chmod(0o755)
    mine = as_other.bin / "mine"
    mine.write_text("#!/bin/sh\nexec sleep 600\n")
    mine.chmod(0o700)
    start(
        as_other,
        stay("workdir", workdir="closed"),
        stay("below", command=[str(closed / "program")]),
        stay("mine", command=["mine"]),
        stay("good", workdir="work"),
    )
    running(as_other, "good")
    for name in ("workdir", "below", "mine"):
        agent = as_other.wait_state(name, "failed")
        assert agent["error"]
    assert OTHER in (as_other.agents()["workdir"]["error"] or "")


def test_the_shell_of_an_ended_agent_works_where_the_user_has_no_login_shell(as_other: Daemon) -> None:
    env = {"HOME": str(as_other.workdir)}
    start(as_other, stay("a", command=["true"], workdir="work", env=env))
    as_other.wait_state("a", "exited")
    as_other.wait_for(lambda: "exit status 0" in as_other.screen("a"))
    as_other.type("a", "echo $((6*7)) $(id -un)")
    as_other.wait_for(lambda: f"42 {OTHER}" in as_other.screen("a"))


def test_an_agent_cannot_make_root_kill_or_read_what_it_may_not(as_other: Daemon, account: pwd.struct_passwd) -> None:
    """What the agent user writes into its runtime folder is taken with suspicion."""
    precious = as_other.folder / "precious"
    precious.write_text("precious")
    precious.chmod(0o600)
    with subprocess.Popen(["sleep", "600"]) as bystander:
        try:
            start(as_other, stay("a", grace_period="300ms"), stay("b"))
            before = running(as_other, "a", "b")
            run = environment_of(before["a"])["AGENTD_RUN_ID"]
            (folder,) = [path for path in as_other.tmux_socket.parent.iterdir() if path.is_dir()]
            other_start = Path(f"/proc/{bystander.pid}/stat").read_text()
            for name in (f"{run}.pid", f"{run}.exit"):
                (folder / name).unlink(missing_ok=True)
            (folder / f"{run}.pid").write_text(other_start)
            (folder / f"{run}.exit").symlink_to(precious)
            os.chown(folder / f"{run}.pid", account.pw_uid, account.pw_gid)
            as_other.kill()
            as_other.start(f"--agent-user={OTHER}")
            as_other.wait_for(lambda: as_other.health()["config"]["valid"])
            declare(as_other, stay("b"))
            as_other.wait_gone("a", timeout=30)
            assert bystander.poll() is None
            assert pids(as_other)["b"] == before["b"]
            assert precious.read_text() == "precious"
            assert precious.stat().st_uid == 0
        finally:
            bystander.kill()


@pytest.fixture
def system_user(session_folder: Path) -> Iterator[str]:
    """A new user with a home of its own."""
    if shutil.which("useradd") is None:
        pytest.skip("no useradd")
    name = f"agentd-{uuid.uuid4().hex[:8]}"
    home = session_folder / name
    with alone_with_users():
        done = subprocess.run(
            ["useradd", "--system", "--create-home", "--home-dir", home, "--shell", "/bin/bash", name],
            capture_output=True,
            check=False,
        )
        if done.returncode != 0:
            pytest.skip(f"useradd: {done.stderr.decode().strip()}")
        yield name
        subprocess.run(["userdel", "--force", name], capture_output=True, check=True)
    shutil.rmtree(home, ignore_errors=True)


def test_a_user_made_for_agents_has_home_and_shell_of_its_own(
    daemon: Daemon, system_user: str, session_folder: Path
) -> None:
    declare(daemon, stay("a", workdir="~"))
    daemon.tmux_socket = daemon.runtime / "made" / "tmux.sock"
    daemon.start(f"--agent-user={system_user}")
    pid = running(daemon, "a")["a"]
    environment = environment_of(pid)
    home = session_folder / system_user
    assert (environment["HOME"], environment["SHELL"], environment["USER"]) == (str(home), "/bin/bash", system_user)
    assert folder_of(pid) == home.resolve()
    assert daemon.stop(number=signal.SIGINT) == 0


def test_the_renderer_of_a_protocol_is_run_by_the_other_user_or_says_what_hides_it(as_other: Daemon) -> None:
    start(as_other, stay("a", harness="acp", command=["sh", "-c", "id -u; exit 3"], workdir="work"))
    shown = as_other.wait_state("a", "failed", timeout=60)
    closed = None if shown["exit_code"] is not None else shown["error"]
    if closed is None:
        assert shown["exit_code"] == 3
        uid = str(pwd.getpwnam(OTHER).pw_uid)
        as_other.wait_for(lambda: uid in as_other.screen("a"), what="tmux shows whose it is")
    else:
        assert re.search(rf"user {OTHER} may not enter /\S+, so it cannot run agentd\.acp", closed)

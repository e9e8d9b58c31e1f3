"""What a login gives the agents' user, and that no login shell can do harm."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from agentd.launch.identity import base_environment, path_origin
from agentd.launch.login import Login, merge_paths, read_login
from agentd.launch.preflight import PreflightError, find_program
from agentd.model.user import AgentUser
from tests.security.users import AGENT_USER, account
from tests.support.processes import wait_until_gone

DAEMON = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "SECRET_OF_ROOT": "x"}


def user_with(shell: str | Path, home: Path) -> AgentUser:
    entry = account(AGENT_USER)
    return AgentUser(AGENT_USER, entry.pw_uid, entry.pw_gid, (), home, str(shell), switch=True)


@pytest.fixture
def home(short_folder: Path) -> Path:
    short_folder.chmod(0o755)
    return short_folder


def shell_that(home: Path, script: str) -> Path:
    """A login shell of its own kind, which may do something before it does what it is asked for."""
    shell = home / "shell"
    shell.write_text(f"#!/bin/sh\n{script}\n")
    shell.chmod(0o755)
    return shell


def profile(home: Path, text: str) -> AgentUser:
    (home / ".profile").write_text(text)
    return user_with("/bin/sh", home)


def test_what_the_profile_sets_reaches_agents_after_the_daemons_own_path(home: Path) -> None:
    user = profile(
        home, 'PATH="$HOME/.local/bin:$PATH"\nexport PATH SSL_CERT_FILE=/etc/ca.crt SECRET=1 HOME=/elsewhere\n'
    )
    login = read_login(user, DAEMON)
    environment = base_environment(user, DAEMON, login, root=True)
    assert login.problem is None
    first, second, third, *_ = environment["PATH"].split(":")
    assert [first, second, third] == ["/usr/bin", "/bin", f"{home}/.local/bin"]
    assert environment["SSL_CERT_FILE"] == "/etc/ca.crt"
    assert environment["HOME"] == str(home)
    assert not environment.keys() & {"SECRET", "SECRET_OF_ROOT"}


def test_a_program_only_on_the_login_path_is_found(home: Path) -> None:
    folder = home / "tools"
    folder.mkdir()
    (folder / "claude").write_text("#!/bin/sh\n")
    (folder / "claude").chmod(0o755)
    user = profile(home, f"export PATH={folder}:$PATH\n")
    environment = base_environment(user, DAEMON, read_login(user, DAEMON), root=True)
    assert find_program("claude", environment, home, user) == str(folder / "claude")


@pytest.mark.parametrize(
    "noise",
    [
        pytest.param("echo Welcome; echo PATH=/motd", id="motd"),
        pytest.param("printf 'PATH=/motd\\0'", id="looks-like-an-environment"),
        pytest.param("echo problem >&2; cat", id="reads-its-input"),
    ],
)
def test_what_a_profile_prints_is_passed_over(home: Path, noise: str) -> None:
    login = read_login(profile(home, f"{noise}\nexport PATH=/mine:$PATH\n"), DAEMON)
    assert login.variables["PATH"].startswith("/mine:")
    assert "/motd" not in login.variables["PATH"]


@pytest.mark.parametrize(
    ("script", "said"),
    [
        pytest.param("exec sleep 600", "did not come to its end within", id="hangs"),
        pytest.param("trap '' TERM HUP INT; sleep 600 & sleep 600", "did not come to its end", id="ignores-signals"),
        pytest.param("exec cat /dev/zero", "did not come to its end", id="floods"),
        pytest.param("echo not allowed here; exit 1", "said nothing of its environment", id="restricted"),
        pytest.param('exec /bin/sh "$@" >/dev/null', "said nothing of its environment", id="silent"),
    ],
)
def test_a_login_shell_that_says_nothing_costs_a_moment_and_a_sentence(home: Path, script: str, said: str) -> None:
    began = time.monotonic()
    user = user_with(shell_that(home, f"echo $$ >{home}/pid 2>/dev/null; {script}"), home)
    os.chown(home, user.uid, user.gid)
    login = read_login(user, DAEMON, limit=0.3)
    assert time.monotonic() - began < 30
    assert said in (login.problem or "")
    assert not login.variables
    wait_until_gone([int((home / "pid").read_text())])
    assert path_origin(user, login) == f"agentd's own alone, as {login.problem}"
    with pytest.raises(PreflightError, match="which is agentd's own alone, as the login shell"):
        find_program("missing", DAEMON, home, user, path_origin(user, login))


@pytest.mark.parametrize("shell", ["/nonexistent/shell", "/etc/passwd"])
def test_a_login_shell_that_cannot_be_run_is_a_sentence(home: Path, shell: str) -> None:
    assert f"the login shell {shell} of {AGENT_USER} cannot be run" in (
        read_login(user_with(shell, home), DAEMON).problem or ""
    )


@pytest.mark.parametrize("shell", ["/usr/sbin/nologin", "/bin/false"])
def test_who_does_not_log_in_is_not_asked(home: Path, shell: str) -> None:
    assert read_login(user_with(shell, home), DAEMON) == Login()


def test_agentds_own_user_is_not_asked(home: Path) -> None:
    shell = shell_that(home, "exit 1")
    assert (
        read_login(AgentUser("me", os.geteuid(), os.getegid(), (), home, str(shell), switch=False), DAEMON) == Login()
    )


def test_the_shell_runs_as_the_agents_user_without_what_root_has(home: Path) -> None:
    user = user_with(
        shell_that(home, f'id -u >{home}/who; id -G >>{home}/who; env >>{home}/who; exec /bin/sh "$@"'), home
    )
    os.chown(home, user.uid, user.gid)
    read_login(user, DAEMON)
    uid, groups, *environment = (home / "who").read_text().splitlines()
    assert uid == str(user.uid)
    assert groups == str(user.gid)
    assert not [line for line in environment if line.startswith("SECRET")]


@pytest.mark.parametrize(
    ("first", "second", "merged"),
    [
        ("/a:/b", "/c:/a", "/a:/b:/c"),
        ("/a", "bin::./x:/b", "/a:/b"),
        ("", "/a:/b", "/a:/b"),
        ("/a::bin", "", "/a::bin"),
    ],
)
def test_paths_are_joined_in_order_without_what_depends_on_the_workdir(first: str, second: str, merged: str) -> None:
    assert merge_paths(first, second) == merged

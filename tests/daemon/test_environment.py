"""What an agent's process finds: environment, folder, terminal, identity."""

from __future__ import annotations

import json
import os
import pwd
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from agentd.launch.inheritance import inherited
from tests.daemon.conftest import MakeDaemon
from tests.daemon.support import RUN_ID, bad, declare, environment_of, folder_of, own_home, pids, running, start, stay
from tests.support.agents import Recorded
from tests.support.daemon import Daemon, program
from tests.support.waiting import wait_for_file

ANY_UID = 4242
"""A user without an entry in the user database."""

NOT_FOR_AGENTS = {
    "AGENTD_DEBUG_ME": "1",
    "TMUX": "/tmp/other,1,0",
    "TMUX_PANE": "%9",
    "TMUX_TMPDIR": "/tmp",
    "NOTIFY_SOCKET": "/nowhere/notify",
    "LISTEN_FDS": "1",
    "LISTEN_PID": "1",
    "INVOCATION_ID": "x",
    "JOURNAL_STREAM": "8:1",
    # Of the terminal, the login, the editor, the git hook and the coding agent that it is started from.
    "COLUMNS": "40",
    "LINES": "11",
    "COLORTERM": "truecolor",
    "XTERM_VERSION": "XTerm(379)",
    "CLAUDE_AGENT_SDK_VERSION": "0.1",
    "TERM_PROGRAM": "vscode",
    "TERM_PROGRAM_VERSION": "1",
    "TERM_SESSION_ID": "1",
    "STY": "1.pts-0.host",
    "ZELLIJ": "0",
    "ZELLIJ_SESSION_NAME": "x",
    "VSCODE_IPC_HOOK_CLI": "/x",
    "SSH_CONNECTION": "::1 1 ::1 22",
    "SSH_CLIENT": "::1 1 22",
    "SSH_TTY": "/dev/pts/9",
    "GIT_DIR": "/elsewhere/.git",
    "GIT_WORK_TREE": "/elsewhere",
    "GIT_INDEX_FILE": "/elsewhere/index",
    "GIT_PREFIX": "",
    "GIT_EXEC_PATH": "/usr/lib/git-core",
    "GIT_CONFIG_PARAMETERS": "'user.name'='x'",
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "user.name",
    "GIT_CONFIG_VALUE_0": "x",
    "GIT_AUTHOR_DATE": "@1 +0000",
    "CLAUDECODE": "1",
    "CLAUDE_CODE_ENTRYPOINT": "cli",
    "CLAUDE_CODE_SSE_PORT": "1",
    "CODEX_SANDBOX": "seatbelt",
    "CODEX_THREAD_ID": "x",
    "GEMINI_CLI": "1",
    "OPENCODE": "1",
    "MAKEFLAGS": " -j --jobserver-auth=3,4",
    "MAKELEVEL": "1",
    "OLDPWD": "/elsewhere",
    "SHLVL": "7",
}

FOR_AGENTS = {
    "SSH_AUTH_SOCK": "/run/keys",
    "GIT_SSH_COMMAND": "ssh -i key",
    "GIT_AUTHOR_NAME": "Somebody",
    "GIT_CONFIG_GLOBAL": "/own/gitconfig",
    "CLAUDE_CODE_OAUTH_TOKEN": "token",
    "CLAUDE_CODE_USE_BEDROCK": "1",
    "CODEX_HOME": "/own/codex",
    "GEMINI_CLI_TRUST_WORKSPACE": "true",
    "OPENCODE_CONFIG": "/own/opencode.json",
    "EDITOR": "vim",
    "VIRTUAL_ENV": "/own/venv",
}
"""Settings of the user, some of whose names begin like those above."""


class AsUser(Daemon):
    """A daemon of a user other than root, who has no entry in the user database."""

    uid = ANY_UID

    def command(self, *arguments: str) -> list[str]:
        become = [f"--reuid={self.uid}", f"--regid={self.uid}", "--clear-groups"]
        return ["setpriv", *become, "--", *super().command(*arguments)]

    def hand_over(self) -> None:
        """Give the folders to the user."""
        for path in (self.folder, *self.folder.rglob("*")):
            os.chown(path, self.uid, self.uid, follow_symlinks=False)


@pytest.fixture
def of_a_user(daemon_of: MakeDaemon) -> AsUser:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    daemon = daemon_of(AsUser)
    daemon.hand_over()
    attempt = subprocess.run([*daemon.command()[:5], program("agentd"), "--version"], check=False, capture_output=True)
    if attempt.returncode != 0:
        pytest.skip(f"uid {ANY_UID} cannot run {program('agentd')}")
    return daemon


def without_what_each_run_has(environment: dict[str, str], workdir: Path) -> dict[str, str]:
    """Take out the run's id, the terminal's type and the workdir, having seen that they are right."""
    assert environment["TERM"].startswith(("tmux", "screen"))
    assert environment[RUN_ID]
    assert environment["AGENTD_HOOK"].endswith(".turns")
    assert environment.get("PWD") in (None, str(workdir))
    return {name: value for name, value in environment.items() if name not in ("TERM", "PWD", RUN_ID, "AGENTD_HOOK")}


@pytest.mark.program
def test_from_root_agents_get_a_clean_environment(daemon: Daemon) -> None:
    if os.geteuid() != 0:
        pytest.skip("not root")
    daemon.write_secret("TOKEN", "s3cret\n")
    daemon.write_secret("BOTH", "of the secret")
    declare(
        daemon, stay("a", env={"OWN": "1", "BOTH": "of env"}), stay("b", env={"LANG": "de_DE.UTF-8", "PATH": "/bin"})
    )
    daemon.start(env={"LANG": "C.UTF-8", "LC_ALL": "C", "STRAY": "x", **NOT_FOR_AGENTS})
    found = running(daemon, "a", "b")
    root = pwd.getpwuid(0)
    inherited = {
        "PATH": daemon.environment()["PATH"],
        "LANG": "C.UTF-8",
        "HOME": root.pw_dir,
        "USER": root.pw_name,
        "LOGNAME": root.pw_name,
        "SHELL": root.pw_shell,
        "TOKEN": "s3cret",
    }
    assert without_what_each_run_has(environment_of(found["a"]), daemon.folder) == {
        **inherited,
        "AGENTD_AGENT": "a",
        "OWN": "1",
        "BOTH": "of env",
    }
    assert without_what_each_run_has(environment_of(found["b"]), daemon.folder) == {
        **inherited,
        "AGENTD_AGENT": "b",
        "BOTH": "of the secret",
        "LANG": "de_DE.UTF-8",
        "PATH": "/bin",
    }


@pytest.mark.program
def test_from_a_user_agents_get_the_daemons_environment_but_for_what_is_the_daemons_own(of_a_user: AsUser) -> None:
    daemon = of_a_user
    inside = daemon.home / "inside"
    inside.mkdir()
    daemon.write_secret("CLOSED", "hidden-value")
    daemon.hand_over()
    (daemon.secrets / "CLOSED").chmod(0)
    declare(daemon, stay("a", env={"OWN": "1"}), stay("at-home", workdir="~/inside"))
    odd = {"MULTI": "line one\nline 'two' $(x) `y` \\", "EMPTY": "", "UTF": "grüße", "bash_style%%": "() { :; }"}
    odd["SSL_CERT_FILE"] = "/own/certificates.pem"
    odd |= FOR_AGENTS
    daemon.start(env={**NOT_FOR_AGENTS, **odd})
    pid = running(daemon, "a")["a"]
    given = {**daemon.environment(), **odd}
    assert not (NOT_FOR_AGENTS.keys() - {"OLDPWD", "SHLVL"}) & environment_of(pid).keys()
    # What a shell sets or would refuse to set is no promise either way.
    shells = {"PWD", "OLDPWD", "SHLVL", "_", "TERM", "bash_style%%"}
    expected = {name: value for name, value in inherited(given).items() if name not in shells}
    assert FOR_AGENTS.items() <= expected.items()
    found = without_what_each_run_has(environment_of(pid), daemon.folder)
    assert {name: value for name, value in found.items() if name not in shells} == {
        **expected,
        "AGENTD_AGENT": "a",
        "OWN": "1",
    }
    process = psutil.Process(pid)
    assert set(process.uids()) == {ANY_UID}
    assert psutil.Process(daemon.tmux_pid() or 0).uids().real == ANY_UID
    assert folder_of(running(daemon, "at-home")["at-home"]) == inside.resolve()
    # A secret that this user may not read is named, and no reason not to run.
    (warning,) = daemon.health()["config"]["warnings"]
    assert str(daemon.secrets / "CLOSED") in warning


@pytest.mark.program
def test_a_user_cannot_run_agents_as_another(of_a_user: AsUser) -> None:
    of_a_user.start("--agent-user=root", ready=False)
    assert of_a_user.wait_exit() == 1
    assert "only root can run agents as root" in of_a_user.log_text()


@pytest.mark.program
def test_a_users_daemon_stops_kills_and_adopts_like_roots(of_a_user: AsUser) -> None:
    daemon = of_a_user
    declare(daemon, stay("a"), stay("b", restart="always", restart_delay="10ms"))
    daemon.start()
    before = running(daemon, "a", "b")
    daemon.kill()
    os.kill(before["b"], signal.SIGKILL)
    daemon.start()
    daemon.wait_for(lambda: daemon.agents()["b"]["restarts"] == 1)
    assert pids(daemon)["a"] == before["a"]
    assert daemon.stop() == 0
    assert daemon.left_behind() == []


def test_the_variables_that_find_an_agents_processes_are_not_for_others_to_set(daemon: Daemon) -> None:
    names = (RUN_ID, "AGENTD_AGENT")
    for name in names:
        daemon.write_secret(name, "of a secret")
    start(daemon, stay("a"))
    pid = running(daemon, "a")["a"]
    for name in names:
        assert environment_of(pid)[name] != "of a secret"
        assert str(daemon.secrets / name) in str(daemon.health()["config"]["warnings"])
        declare(daemon, stay("a", env={name: "of env"}))
        daemon.wait_for(lambda: not daemon.health()["config"]["valid"])
        assert name in (daemon.health()["config"]["error"] or "")
        assert pids(daemon)["a"] == pid
        declare(daemon, stay("a"))
        daemon.wait_for(lambda: daemon.health()["config"]["valid"])


def test_the_agent_has_a_terminal_and_nothing_of_the_daemons(daemon: Daemon) -> None:
    record = daemon.folder / "record"
    start(daemon, bad("a", "--record", record, "--forever", workdir="work", **own_home(daemon)))
    running(daemon, "a")
    wait_for_file(record)
    found: Recorded = json.loads(record.read_text())
    assert found["cwd"] == os.path.realpath(daemon.workdir)
    assert found["terminals"] == [True, True, True]
    assert found["foreground"]
    assert found["size"] is not None
    assert min(found["size"]) > 20
    # tmux ignores these two and leaves it so in all it runs (3.3a, proc_clear_signals).
    assert set(found["ignored_signals"]) <= {signal.SIGTTIN, signal.SIGTTOU}
    assert set(found["open_files"]) <= {0, 1, 2, 3}
    assert daemon.agents()["a"]["pid"] == found["pid"]


def test_the_workdir_is_relative_to_the_jcards_folder(daemon: Daemon) -> None:
    (daemon.folder / "with space").mkdir()
    expected = {"below": "work", "around": "home", "none": ".", "spaced": "with space", "absolute": "work"}
    start(
        daemon,
        stay("below", workdir="work"),
        stay("around", workdir="./work/../home"),
        stay("none"),
        stay("spaced", workdir="with space"),
        stay("absolute", workdir=str(daemon.workdir)),
    )
    for name, pid in running(daemon, *expected).items():
        assert folder_of(pid) == (daemon.folder / expected[name]).resolve()

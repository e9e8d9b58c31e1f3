"""What agentd is handed by whoever starts it: signals, limits, standard streams, a working folder."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.daemon.conftest import MakeDaemon
from tests.daemon.support import declare, running, stay
from tests.support.daemon import Daemon, program
from tests.support.waiting import wait_for

pytestmark = pytest.mark.program

_TTY_STOPS = {signal.SIGTTIN, signal.SIGTTOU}
"""Ignored by tmux, and so in all it runs (3.3a, proc_clear_signals)."""

_IGNORED = (
    *(signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGQUIT, signal.SIGTSTP),
    *(signal.SIGUSR1, signal.SIGALRM),
)
_BLOCKED = (*_IGNORED, signal.SIGWINCH, signal.SIGUSR2, signal.SIGCONT)


def handing(code: str, argv: list[str]) -> list[str]:
    """Run a command after some Python, which changes what it is handed."""
    program = f"import os, resource, signal, sys\n{code}\nos.execvp(sys.argv[1], sys.argv[1:])"
    return [sys.executable, "-I", "-S", "-c", program, *argv]


def ignoring(numbers: tuple[signal.Signals, ...]) -> str:
    return f"for number in {tuple(map(int, numbers))}: signal.signal(number, signal.SIG_IGN)"


def blocking(numbers: tuple[signal.Signals, ...]) -> str:
    return f"signal.pthread_sigmask(signal.SIG_BLOCK, {tuple(map(int, numbers))})"


class Handed(Daemon):
    """A daemon that is started by a parent of this kind."""

    code = ""

    def command(self, *arguments: str) -> list[str]:
        return handing(self.code, super().command(*arguments))


def handed(code: str) -> type[Handed]:
    return type("Handed", (Handed,), {"code": code})


def signals_of(pid: int, field: str) -> set[int]:
    status = Path(f"/proc/{pid}/status").read_text()
    mask = int(next(line for line in status.splitlines() if line.startswith(f"{field}:")).split()[1], 16)
    return {number for number in range(1, 32) if mask & 1 << (number - 1)}


def repository(folder: Path) -> Path:
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    commit = ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "x"]
    subprocess.run(["git", "-C", str(folder), *commit], check=True)
    return folder


@pytest.mark.parametrize(
    "code",
    [ignoring(_IGNORED), blocking(_BLOCKED)],
    ids=["ignored", "blocked"],
)
def test_signals_that_the_parent_ignores_or_blocks_reach_neither_agentd_nor_agents(
    daemon_of: MakeDaemon, code: str
) -> None:
    daemon = daemon_of(handed(code))
    repo = repository(daemon.folder / "repository")
    declare(daemon, stay("a"), stay("b", repo=str(repo), isolation="worktree"))
    daemon.start()
    pids = running(daemon, "a", "b")
    server = daemon.tmux_pid()
    assert server is not None
    assert signals_of(server, "SigBlk") == set()
    for pid in pids.values():
        assert signals_of(pid, "SigIgn") <= _TTY_STOPS
        assert signals_of(pid, "SigBlk") == set()
    # Made by git, whose answers nobody invented.
    worktree = Path(daemon.agents()["b"]["workdir"])
    assert subprocess.run(["git", "-C", str(worktree), "status"], check=False, capture_output=True).returncode == 0
    daemon.signal(signal.SIGHUP)
    assert daemon.stop() == 0


def test_a_hangup_while_agentd_starts_does_not_end_it(daemon_of: MakeDaemon) -> None:
    daemon = daemon_of(handed(f"{blocking((signal.SIGHUP,))}; os.kill(os.getpid(), signal.SIGHUP)"))
    declare(daemon, stay("a"))
    daemon.start()
    running(daemon, "a")


def test_agentctl_invents_no_exit_status_where_children_are_ignored(daemon: Daemon) -> None:
    folder = daemon.folder / "no-repository"
    folder.mkdir()
    argv = [program("agentctl"), "--config", str(daemon.jcard), "hire", "reviewer", "--repo", str(folder), "--dry-run"]
    codes = [""], [ignoring((signal.SIGCHLD,))], [blocking(_BLOCKED)]
    done = [
        subprocess.run(handing(code, argv), env=daemon.environment(), capture_output=True, text=True, check=False)
        for (code,) in codes
    ]
    assert len({(each.returncode, each.stderr) for each in done}) == 1, done


def test_agents_and_git_get_the_limit_of_open_files_that_was_there_before(daemon_of: MakeDaemon) -> None:
    hard = min(4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    daemon = daemon_of(handed(f"resource.setrlimit(resource.RLIMIT_NOFILE, (777, {hard}))"))
    repo = repository(daemon.folder / "repository")
    noted = daemon.folder / "limits"
    git = daemon.bin / "git"
    git.write_text(f'#!/bin/sh\necho "$(ulimit -S -n) $(ulimit -H -n)" >>{noted}\nexec {shutil.which("git")} "$@"\n')
    git.chmod(0o755)
    declare(daemon, stay("a"), stay("b", repo=str(repo), isolation="worktree"))
    daemon.start()
    pids = running(daemon, "a", "b")
    for pid in pids.values():
        assert resource.prlimit(pid, resource.RLIMIT_NOFILE) == (777, hard)
    assert resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE) == (hard, hard)
    # With a descriptor or two for each agent, tmux needs it as well.
    assert resource.prlimit(daemon.tmux_pid() or 0, resource.RLIMIT_NOFILE) == (hard, hard)
    assert set(noted.read_text().splitlines()) == {f"777 {hard}"}


@pytest.mark.parametrize("closed", [(2,), (0,), (0, 1, 2)], ids=str)
def test_agentd_runs_with_its_streams_closed(daemon_of: MakeDaemon, closed: tuple[int, ...]) -> None:
    daemon = daemon_of(handed(f"for each in {closed}: os.close(each)"))
    declare(daemon, stay("a"))
    daemon.start()
    running(daemon, "a")
    for descriptor in closed:
        assert Path(f"/proc/{daemon.pid}/fd/{descriptor}").readlink() == Path(os.devnull)
    daemon.write_jcard("x = [")
    daemon.wait_for(lambda: not daemon.health()["config"]["valid"])
    assert daemon.stop() == 0


def test_agentd_goes_on_when_nobody_reads_its_log_any_more(daemon_of: MakeDaemon) -> None:
    code = "read, write = os.pipe(); os.dup2(write, 2); os.dup2(write, 1); os.close(read); os.close(write)"
    daemon = daemon_of(handed(code))
    declare(daemon, stay("a"))
    daemon.start()
    running(daemon, "a")
    assert daemon.stop() == 0


@pytest.mark.parametrize("name", ["agentd", "agentctl"])
@pytest.mark.parametrize("flags", [["--help"], ["--version"]], ids=str)
def test_output_that_nobody_reads_ends_a_program_without_a_word(name: str, flags: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([program(name), *flags], stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    # Unbuffered, argparse sees the error itself, and takes no notice of it.
    assert done.returncode in (0, 141)
    assert done.stderr == ""


@pytest.mark.parametrize("name", ["agentd", "agentctl"])
def test_a_usage_error_with_closed_streams_is_no_traceback(name: str) -> None:
    argv = handing("os.close(1); os.close(2)", [program(name), "--unknown"])
    assert subprocess.run(argv, check=False, stdin=subprocess.DEVNULL).returncode == 2


@pytest.mark.parametrize(
    "argv",
    [
        ["agentd", "--check", "--config", "jcard.toml"],
        ["agentd", "--config", "jcard.toml"],
        ["agentctl", "validate", "jcard.toml"],
        ["agentctl", "validate", "-"],
        ["agentctl", "--config", "jcard.toml", "list"],
        ["agentctl", "add", "x", "--harness", "custom", "--workdir", "here"],
    ],
    ids=" ".join,
)
def test_a_relative_path_in_a_removed_folder_is_one_line(daemon: Daemon, argv: list[str]) -> None:
    gone = daemon.folder / "gone"
    gone.mkdir()
    command = handing(f"os.rmdir({str(gone)!r})", [program(argv[0]), *argv[1:]])
    done = subprocess.run(
        command, cwd=gone, env=daemon.environment(), input="", capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done
    *usage, error = done.stderr.splitlines()
    assert all(line.startswith("usage: ") for line in usage)
    assert "the current folder was removed" in error


def test_agentd_starts_in_a_removed_folder_and_without_a_home(daemon_of: MakeDaemon) -> None:
    daemon = daemon_of(handed("os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone')"))
    shutil.rmtree(daemon.home)
    declare(daemon, stay("a"))
    daemon.start()
    running(daemon, "a")
    wait_for(lambda: daemon.health()["config"]["valid"])


def test_unset_home_is_what_the_user_database_says(daemon_of: MakeDaemon) -> None:
    daemon = daemon_of(handed("os.environ.pop('HOME')"))
    declare(daemon, stay("a"))
    daemon.start()
    running(daemon, "a")

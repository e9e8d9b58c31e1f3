"""A fork stands for the program only as long as nobody can tell them apart."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.daemon.support import declare, running, stay
from tests.support.daemon import Daemon, launch_program, program
from tests.support.forked import AGENTCTL, ONLY_PROGRAMS, launch_fork, run_agentctl
from tests.support.thorough import everyday

pytestmark = pytest.mark.thorough  # of what the tests stand on, which every other shows too


@pytest.fixture
def forked(daemon_factory: Callable[[], Daemon]) -> Daemon:
    daemon = daemon_factory()
    daemon._launch = launch_fork
    return daemon


def seen(daemon: Daemon) -> dict[str, object]:
    """What others see of a daemon once it has its agents."""
    daemon.start(env={"ODD": "a=b\n\udcff"})
    running(daemon, "a")
    process = psutil.Process(daemon.pid)
    files = Path(f"/proc/{daemon.pid}/fd")
    status = Path(f"/proc/{daemon.pid}/status").read_text().splitlines()
    found = {
        "name": process.name(),
        "environment": process.environ(),
        "folder": process.cwd(),
        "session": os.getsid(daemon.pid) == os.getpgid(daemon.pid) == daemon.pid,
        "files": {os.path.realpath(files / str(number)) for number in range(3)},
        "pipes": sum(os.path.realpath(path).startswith(f"/proc/{daemon.pid}/fd/pipe:") for path in files.iterdir()),
        "signals": [line for line in status if line.startswith(("SigBlk", "SigIgn", "SigCgt"))],
    }
    assert daemon.pid in {each.pid for each in daemon.processes()}, "left-overs are found"
    assert daemon.stop() == 0
    return found


def test_a_fork_looks_like_the_program_to_others(forked: Daemon) -> None:
    declare(forked, stay("a"))
    fork = seen(forked)
    forked._launch = launch_program
    assert fork == seen(forked)


def test_the_end_of_a_fork_is_told_as_of_any_child_and_leaves_no_zombie(forked: Daemon) -> None:
    forked.start()
    assert forked.process is not None
    assert forked.process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        forked.process.wait(0.01)
    pid = forked.pid
    forked.process.send_signal(signal.SIGKILL)
    assert forked.process.wait(30) == -signal.SIGKILL == forked.process.poll() == forked.process.returncode
    assert not psutil.pid_exists(pid)
    forked.process.kill()
    forked.start("--no-such-flag", ready=False)
    assert forked.wait_exit() == 2
    assert "unrecognized arguments: --no-such-flag" in forked.log_text()


@pytest.mark.skipif(ONLY_PROGRAMS, reason="there are to be none")
@pytest.mark.parametrize(
    "arguments", everyday([["status"], []], [["--version"], ["status", "--no-such-flag"], ["status"], ["explain"], []])
)
def test_agentctl_says_the_same_as_a_fork(short_folder: Path, arguments: list[str]) -> None:
    argv = [program("agentctl"), *arguments]
    environment = {**os.environ, "AGENTD_API_SOCKET": str(short_folder / "s")}
    fork = run_agentctl(argv, env=environment, cwd=short_folder, timeout=30)
    own = subprocess.run(
        argv, env=environment, cwd=short_folder, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    assert (fork.returncode, fork.stdout, fork.stderr) == (own.returncode, own.stdout, own.stderr)


def test_what_the_interpreter_reads_at_its_start_is_for_the_program() -> None:
    assert AGENTCTL.can_start({**os.environ, "NO_COLOR": "1"})
    assert not AGENTCTL.can_start({**os.environ, "LC_ALL": "C"})
    assert not AGENTCTL.can_start({**os.environ, "PYTHONPROFILEIMPORTTIME": "1"})

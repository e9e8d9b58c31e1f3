"""Only one of agentd's changes the worktrees of a repository at a time, or a git that it left at work."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread, Timer

import pytest

from agentd.process.runner import Runner, RunnerError
from agentd.worktrees.repository_lock import repository_lock
from tests.support.processes import alive
from tests.support.waiting import wait_for
from tests.worktrees.repositories import World, invoking_user

KILLED = """
import os, signal, subprocess, sys
from pathlib import Path
from agentd.process.runner import Runner
from agentd.worktrees.repository_lock import repository_lock
from tests.worktrees.repositories import invoking_user
runner = Runner(invoking_user(Path(sys.argv[2])), os.environ)
with repository_lock(runner, Path(sys.argv[1])):
    print(runner._start(["sleep", "600"], os.environ).pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def taken(repo: Path) -> bool:
    folder = os.open(repo, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(folder)
    return False


def runner_of(world: World) -> Runner:
    return Runner(invoking_user(world.folder), os.environ)


def test_another_waits_until_the_first_is_done(world: World) -> None:
    path = world.checkout().path
    with repository_lock(runner_of(world), world.repo):
        assert taken(world.repo)
        other = Thread(target=world.make)
        other.start()
        other.join(0.3)
        assert other.is_alive()
        assert not path.exists()
    other.join(30)
    assert path.exists()
    assert not taken(world.repo)


def test_a_program_that_outlives_whoever_started_it_keeps_the_lock(world: World) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, world.repo, world.folder], check=False, stdout=subprocess.PIPE, text=True
    )
    assert done.returncode == -signal.SIGKILL
    left = int(done.stdout)
    assert taken(world.repo)
    with repository_lock(runner_of(world), world.repo, lambda: os.kill(left, signal.SIGKILL)):
        pass
    wait_for(lambda: not alive(left))


def test_what_was_left_in_the_background_does_not_hold_it(world: World) -> None:
    runner = runner_of(world)
    with repository_lock(runner, world.repo):
        left = runner._start(["sleep", "600"], os.environ)
    assert not taken(world.repo)
    left.kill()
    left.communicate()


def test_the_agents_user_gets_no_descriptor_of_what_it_may_not_open(world: World) -> None:
    runner = runner_of(world)
    runner.user = replace(invoking_user(world.folder), uid=65534, gid=65534, groups=(), switch=True)
    with TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        repo = folder / "repo"
        repo.mkdir(mode=0o755)
        for mode, given in ((0o755, True), (0o700, False)):
            folder.chmod(mode)
            with repository_lock(runner, repo):
                assert taken(repo)
                assert (runner.kept is not None) == given


def test_who_waits_can_be_told_not_to(world: World) -> None:
    waiting = runner_of(world)
    timer = Timer(0.1, waiting.cancel)
    with repository_lock(runner_of(world), world.repo):
        timer.start()
        with pytest.raises(RunnerError, match="no longer wanted"), repository_lock(waiting, world.repo):
            raise AssertionError
    timer.join()
    wait_for(lambda: not taken(world.repo))


def test_what_is_no_folder_is_for_git_to_complain_of(world: World) -> None:
    reached = False
    with repository_lock(runner_of(world), world.folder / "none"):
        reached = True
    assert reached

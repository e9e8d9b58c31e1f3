"""Only one of agentd's changes the worktrees of a repository at a time, or a git that it left at work."""

from __future__ import annotations

import fcntl
import os
import subprocess
from pathlib import Path
from threading import Thread, Timer

import pytest

from agentd.workspaces.runner import Runner, RunnerError
from agentd.workspaces.turns import alone_in
from tests.support.waiting import wait_for
from tests.workspaces.repositories import World, invoking_user


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
    with alone_in(runner_of(world), world.repo):
        assert taken(world.repo)
        other = Thread(target=world.make)
        other.start()
        other.join(0.3)
        assert other.is_alive()
        assert not path.exists()
    other.join(10)
    assert path.exists()
    assert not taken(world.repo)


def test_what_was_run_meanwhile_holds_the_turn_when_whoever_ran_it_is_gone(world: World) -> None:
    runner = runner_of(world)
    with alone_in(runner, world.repo):
        left = runner._start(["sleep", "600"], subprocess.DEVNULL, os.environ)  # type: ignore[arg-type]
    assert taken(world.repo)
    with alone_in(runner_of(world), world.repo, left.kill):
        assert left.wait() != 0
    left.communicate()


def test_who_waits_can_be_told_not_to(world: World) -> None:
    waiting = runner_of(world)
    timer = Timer(0.1, waiting.cancel)
    with alone_in(runner_of(world), world.repo):
        timer.start()
        with pytest.raises(RunnerError, match="no longer wanted"), alone_in(waiting, world.repo):
            raise AssertionError
    timer.join()
    wait_for(lambda: not taken(world.repo))


def test_what_is_no_folder_is_for_git_to_complain_of(world: World) -> None:
    reached = False
    with alone_in(runner_of(world), world.folder / "none"):
        reached = True
    assert reached

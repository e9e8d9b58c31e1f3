from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.security.users import AGENT_USER, account
from tests.support.daemon import Daemon
from tests.worktrees.repositories import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A repository and a folder of worktrees."""
    folder = tmp_path / "w"
    folder.mkdir()
    world = World(folder)
    yield world
    world.close()


@pytest.fixture
def guarded(daemon: Daemon) -> Daemon:
    """A daemon in folders as packages make them, tmux' the agent user's, the API's root's; not started yet."""
    user = account(AGENT_USER)
    folder = daemon.runtime / "tmux"
    folder.mkdir(mode=0o750)
    os.chown(folder, user.pw_uid, user.pw_gid)
    daemon.tmux_socket = folder / "tmux.sock"
    os.chown(daemon.workdir, user.pw_uid, user.pw_gid)
    return daemon

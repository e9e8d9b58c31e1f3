"""What agentd says where it cannot start: each names what stands in the way, and what to do."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentd.daemon.folders import FolderError, Folders
from agentd.daemon.single_instance import StartError, choose_server, take_locks
from agentd.files.looks import Looks
from agentd.launch.census import Census, LivingRun
from agentd.launch.owned_folder import OwnedFolder, RuntimeDirectoryError
from agentd.model.user import AgentUser
from agentd.process.identity import ProcessIdentity
from agentd.settings.settings import Settings, resolve_settings

NOBODY = AgentUser("nobody", 65534, 65534, (), Path("/nonexistent"), "/bin/sh", switch=True)
A_SERVER_AND_ITS_AGENT = "import subprocess as s; p = s.Popen(['sleep', '1000']); print(p.pid, flush=True); p.wait()"


def settings_in(folder: Path, **places: Path) -> Settings:
    paths = {"api_socket": folder / "run/api", "tmux_socket": folder / "run/tmux", "state_dir": folder / "state"}
    return resolve_settings({name: str(path) for name, path in (paths | places).items()}, {}, root=False)


def test_a_file_where_a_folder_is_to_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    folders = Folders(settings_in(tmp_path, state_dir=tmp_path / "file/state"), NOBODY, None)
    with pytest.raises(FolderError, match=re.escape(f"cannot make the folder {tmp_path}/file/state: Not a directory")):
        folders.make()


def test_a_folder_in_which_the_agents_user_cannot_make_the_tmux_socket_is_named(short_folder: Path) -> None:
    short_folder.chmod(0o755)
    tmux = short_folder / "own"
    tmux.mkdir(mode=0o755)
    folders = Folders(settings_in(short_folder, tmux_socket=tmux / "tmux"), NOBODY, None)
    with pytest.raises(FolderError, match=rf"nobody cannot make the tmux socket in {tmux}: chown it to nobody, or "):
        folders.make()
    assert not folders.stand()


async def test_a_socket_whose_folder_is_missing_cannot_be_locked(tmp_path: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        looks = Looks(lambda: None)
        stack.callback(looks.close)
        with pytest.raises(StartError, match=re.escape(f"cannot lock {tmp_path}/run/tmux: No such file or directory")):
            await take_locks(settings_in(tmp_path), stack, looks)


@pytest.fixture
def two_servers() -> Iterator[list[tuple[ProcessIdentity, LivingRun]]]:
    """Two processes, each with a child of its own."""
    with contextlib.ExitStack() as stack:
        found = []
        for name in ("one", "other"):
            argv = [sys.executable, "-S", "-c", A_SERVER_AND_ITS_AGENT]
            server = stack.enter_context(subprocess.Popen(argv, stdout=subprocess.PIPE, start_new_session=True))
            stack.callback(server.kill)
            assert server.stdout is not None
            agent = ProcessIdentity.of(int(server.stdout.readline()))
            identity = ProcessIdentity.of(server.pid)
            assert agent is not None
            assert identity is not None
            stack.callback(os.kill, agent.pid, signal.SIGKILL)
            found.append((identity, LivingRun(name, name, None, frozenset({agent}))))
        yield found


def test_of_two_tmux_servers_the_one_that_holds_agents_is_taken_over(
    two_servers: list[tuple[ProcessIdentity, LivingRun]], tmp_path: Path
) -> None:
    (one, _), (other, run) = two_servers
    assert choose_server(Census({"other": run}, (one, other)), tmp_path / "tmux") == other


def test_two_tmux_servers_that_both_hold_agents_are_named(
    two_servers: list[tuple[ProcessIdentity, LivingRun]], tmp_path: Path
) -> None:
    (one, first), (other, second) = two_servers
    both = Census({"one": first, "other": second}, (one, other))
    with pytest.raises(
        StartError, match=rf"tmux servers {one.pid} and {other.pid} both hold agents of {tmp_path}/tmux"
    ):
        choose_server(both, tmp_path / "tmux")


@pytest.mark.parametrize("what", ["file", "link", "below a file", "open to others"])
def test_a_runtime_directory_that_is_none_is_refused(tmp_path: Path, what: str) -> None:
    path = tmp_path / "there"
    if what == "link":
        path.symlink_to(tmp_path / "nowhere")
    elif what == "open to others":
        path.mkdir()
        path.chmod(0o755)
    else:
        path.touch()
    wanted = path / "run" if what == "below a file" else path
    uid, gid = tmp_path.stat().st_uid, tmp_path.stat().st_gid
    with pytest.raises(RuntimeDirectoryError, match=f"{wanted}.*; remove "):
        OwnedFolder(wanted, uid, gid).open()
    assert what != "open to others" or stat.S_IMODE(path.stat().st_mode) == 0o755, "and nothing was changed"

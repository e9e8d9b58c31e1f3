"""The folders of the sockets and of the state: a lost one comes back as it was."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from agentd.daemon.folders import FolderError, Folders
from agentd.settings.context import resolve_agent_user
from agentd.settings.settings import resolve_settings


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of both sockets."""
    return tmp_path / "run"


@pytest.fixture
def folders(tmp_path: Path, run: Path) -> Folders:
    flags = {"api_socket": run / "api", "tmux_socket": run / "tmux", "state_dir": tmp_path / "state"}
    settings = resolve_settings({name: str(path) for name, path in flags.items()}, {}, root=False)
    return Folders(settings, resolve_agent_user(None, {})[0], None)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("mode", [0o700, 0o710, 0o750, 0o2770, 0o755])
def test_a_lost_folder_comes_back_with_the_mode_that_it_had(folders: Folders, run: Path, mode: int) -> None:
    run.mkdir()
    run.chmod(mode)
    folders.make()
    run.rmdir()
    assert folders.make() == [run]
    assert mode_of(run) == mode


def test_what_was_changed_since_the_start_counts(folders: Folders, run: Path) -> None:
    folders.make()
    run.chmod(0o711)
    assert folders.stand()
    run.rmdir()
    assert not folders.stand()
    folders.make()
    assert mode_of(run) == 0o711


def test_a_folder_that_somebody_put_in_its_place_says_nothing_of_it(folders: Folders, run: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give folders to others")
    run.mkdir(mode=0o700)
    folders.make()
    run.chmod(0o777)
    os.chown(run, 65534, 65534)
    assert folders.stand()
    run.rmdir()
    folders.make()
    assert (mode_of(run), run.stat().st_uid) == (0o700, 0)


def test_a_link_to_nowhere_is_not_followed(folders: Folders, run: Path, tmp_path: Path) -> None:
    folders.make()
    run.rmdir()
    run.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FolderError):
        folders.make()
    assert not (tmp_path / "elsewhere").exists()

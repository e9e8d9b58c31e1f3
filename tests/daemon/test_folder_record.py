"""Which folders held drop-ins, as it is read of tmux, where the agents' user may have written anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentd.daemon.folder_record import OPTION, read_folders
from agentd.jcard.drop_in_folder import FolderIdentity
from tests.daemon.support import declare, running, stay
from tests.support.daemon import Daemon

NESTED = "[" * 10_000


@pytest.mark.parametrize("written", ["", "{", "[]", "null", "1", '"x"', NESTED, '{"a": ' + NESTED, "1" * 10_000])
def test_what_is_no_record_says_nothing(written: str) -> None:
    assert read_folders(written) == {}


def test_what_is_no_folder_is_left_out(tmp_path: Path) -> None:
    written = f'{{"{tmp_path}": [1, 2], "/a": [1], "/b": "x", "/c": ["1", 2], "/d": [1, 2, 3]}}'
    assert read_folders(written) == {tmp_path: FolderIdentity(1, 2)}


@pytest.mark.thorough
def test_an_agentd_starts_whatever_stands_there(daemon: Daemon) -> None:
    declare(daemon, stay("a"))
    daemon.start()
    running(daemon, "a")
    daemon.tmux("set-option", "-s", OPTION, NESTED)
    daemon.kill()
    daemon.start()
    running(daemon, "a")
